// What the page knows: results and the connection go in, the state changes.
// No DOM, clock or socket: wall time comes in as seconds of any steady clock.
import { DISPLAY } from "./display.js";
import { joinedPoints } from "./past.js";
import { Sensor, drawnEvents, isNumber } from "./sensor.js";

const SETTLE_S = 5; // wall time after connecting in which results may repeat the past
const RETRY_MAX_S = 5;
const RISKS = ["low", "medium", "high", "critical"];
const TEXTS_MAX = 5;
const TEXT_MAX_CHARS = 200; // of what others say

// Return a result as the page uses it; throw a TypeError or SyntaxError where it is none.
export function decode(text) {
  const result = JSON.parse(text);
  const t_s = result.secFromStart;
  if (typeof result.sensorID !== "string" || !result.sensorID) throw new TypeError("no sensor id");
  if (!(isNumber(t_s) && t_s >= 0 && t_s <= DISPLAY.sec_from_start_max_s)) {
    throw new TypeError("impossible time");
  }
  const data = result.data ?? {};
  return {
    id: result.sensorID,
    t_s,
    fhr_bpm: within(data.BPMChild, DISPLAY.fhr_limits_bpm),
    toco: within(data.uterus, DISPLAY.toco_limits) ?? within(data.spasms, DISPLAY.toco_limits),
    status: excerpt(result.status),
    prediction: readPrediction(result.prediction),
    figo: result.figo || result.features ? excerpt(result.figo?.class ?? result.features?.figo_class) : null,
    baseline_bpm: result.features ? within(result.features.baseline_bpm, DISPLAY.fhr_limits_bpm) : null,
    explained: Boolean(result.figo || result.features), // what isn't said again still holds
    events: drawnEvents(result.events),
  };
}

function excerpt(text) {
  return String(text ?? "").slice(0, TEXT_MAX_CHARS);
}

// Values beyond their physical limits are shown as no signal.
function within(value, [lo, hi]) {
  return isNumber(value) && lo <= value && value <= hi ? value : null;
}

function readPrediction(said) {
  if (!said || !isNumber(said.hypoxia_probability) || !RISKS.includes(said.hypoxia_risk)) {
    return null;
  }
  const texts = (list) => (Array.isArray(list) ? list.slice(0, TEXTS_MAX).map(excerpt) : []);
  return {
    probability: said.hypoxia_probability,
    risk: said.hypoxia_risk,
    confidence: isNumber(said.confidence) ? said.confidence : null,
    alerts: texts(said.alerts),
    recommendations: texts(said.recommendations),
  };
}

export class State {
  sensors = new Map();
  link = "connecting"; // connecting, live, lost, or refused: the access token is missing or wrong
  reason = "";
  attempts = 0; // failed ones since the last connection
  connected_s = -Infinity;
  unreadable = 0;
  beyond = 0; // results of sensors that are too many to show
  loading = false; // the past is asked for beside the socket
  ward = new Map(); // id -> {name, bed, control}, as the backend's configuration says

  // Take in one result at wall time now_s; return its sensor, or null when it isn't shown.
  fold(result, now_s) {
    const sensor = this.sensor(result.id);
    if (!sensor) {
      this.beyond += 1;
      return null;
    }
    sensor.received_s = now_s;
    if (this.#makePlace(sensor, result.t_s, now_s)) {
      sensor.append(result);
      if (sensor.filled) {
        sensor.alarms.judge(result.t_s, result.fhr_bpm, result.status === "critical");
      }
    }
    if (result.prediction || result.t_s >= sensor.last_s) {
      sensor.status = result.status;
      sensor.prediction = result.prediction;
      if (result.explained || !result.prediction) {
        sensor.figo = result.figo ?? "";
        sensor.baseline_bpm = result.baseline_bpm;
      }
    }
    sensor.keepEvents(result.events);
    return sensor;
  }

  // Return a sensor, made when it is new; null when there are too many.
  sensor(id) {
    const known = this.sensors.get(id);
    if (known || this.sensors.size >= DISPLAY.max_sensors) return known ?? null;
    const sensor = new Sensor(id);
    sensor.filled = !this.loading;
    sensor.label = this.ward.get(id)?.name ?? "";
    sensor.bed = this.ward.get(id)?.bed ?? "";
    sensor.control = this.ward.get(id)?.control ?? false;
    this.sensors.set(id, sensor);
    return sensor;
  }

  // Take in an answer about the past, unpacked; later ones reach further back.
  fill(parts) {
    for (const { id, examination, bed, pages, next, fell } of parts) {
      const sensor = this.sensor(id);
      if (!sensor || !pages.length) continue;
      sensor.bed ||= bed ?? "";
      sensor.fill(joinedPoints(pages), examination);
      sensor.earlier = fell ? null : next;
      sensor.fell = fell ? next : null;
    }
  }

  // Take in the events and notes of examinations; what the analyzer says now is newer.
  mark(examinations) {
    for (const { id, events, notes } of examinations) {
      for (const sensor of this.sensors.values()) {
        if (sensor.examination === id) sensor.mark(events[sensor.id], notes);
      }
    }
  }

  // No more of the past will come.
  loaded(now_s) {
    this.loading = false;
    for (const sensor of this.sensors.values()) sensor.settle(now_s);
  }

  // Make the trace end before t_s; false when the sample comes too late for that.
  #makePlace(sensor, t_s, now_s) {
    const resuming = sensor.resuming;
    sensor.resuming = false;
    if (!sensor.t_s.length || t_s > sensor.last_s) return true;
    if (resuming) {
      sensor.cutFrom(t_s); // the past is repeated from here: fill what was missed
      return true;
    }
    if (now_s - this.connected_s < SETTLE_S || sensor.last_s - t_s <= DISPLAY.reorder_s) {
      return false;
    }
    sensor.cutFrom(0);
    sensor.alarms.restart();
    sensor.examination = sensor.earlier = sensor.fell = null; // it may be another one
    return true;
  }

  // After a reconnect, alarms wait for data time they haven't judged; if there is none, the
  // examination is another one.
  settle(now_s) {
    if (now_s - this.connected_s < SETTLE_S) return;
    for (const sensor of this.sensors.values()) {
      if (sensor.t_s.length && sensor.last_s < sensor.alarms.last_s) sensor.alarms.restart();
    }
  }

  // Note a new connection; whether the past comes beside it, or is repeated through it.
  linked(now_s, beside = false) {
    this.link = "live";
    this.attempts = 0;
    this.connected_s = now_s;
    this.loading = beside;
    for (const sensor of this.sensors.values()) {
      sensor.live_s = null;
      sensor.resuming = !beside;
      sensor.filled = !beside;
      if (beside) sensor.received_s = now_s;
    }
  }

  // Note a closed connection; return after how many seconds to try again, null for never.
  lost(code, reason) {
    this.reason = reason || `code ${code}`;
    if (code === 4401) {
      this.link = "refused";
      return null;
    }
    this.link = "lost";
    this.attempts += 1;
    return Math.min(RETRY_MAX_S, 0.25 * 2 ** this.attempts);
  }
}
