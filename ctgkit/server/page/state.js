// What the page knows: results and the connection go in, the state changes.
// No DOM, clock or socket: wall time comes in as seconds of any steady clock.
import { Alarms } from "./alarms.js";
import { DISPLAY } from "./display.js";

export const HISTORY_S = 4 * 3600; // data time kept per sensor
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
    figo: excerpt(result.figo?.class ?? result.features?.figo_class),
    events: Array.isArray(result.events) ? result.events.filter(isDrawn) : [],
  };
}

function excerpt(text) {
  return String(text ?? "").slice(0, TEXT_MAX_CHARS);
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
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

function isDrawn(event) {
  return (
    typeof event?.kind === "string" &&
    Object.hasOwn(DISPLAY.event_signs, event.kind) &&
    isNumber(event.onset_s) &&
    isNumber(event.end_s)
  );
}

export class Sensor {
  t_s = [];
  fhr_bpm = []; // NaN without signal
  toco = []; // NaN where not measured
  events = new Map();
  alarms = new Alarms();
  status = "";
  prediction = null;
  figo = "";
  received_s = -Infinity; // wall time of the newest result
  resuming = false; // no result came since the connection was made

  constructor(id) {
    this.id = id;
  }

  get name() {
    return this.id.slice(0, 8);
  }

  get last_s() {
    return this.t_s.at(-1) ?? 0;
  }

  isSilent(now_s) {
    return now_s - this.received_s > DISPLAY.stale_after_s;
  }

  // Share of samples with a heart rate lately; NaN before the first sample.
  quality() {
    const first = lowerBound(this.t_s, this.last_s - DISPLAY.quality_window_s);
    const recent = this.fhr_bpm.slice(first);
    return recent.filter((v) => !Number.isNaN(v)).length / recent.length;
  }

  // Contractions in the last 10 minutes; null where nobody tells.
  contractions() {
    const all = [...this.events.values()].filter((e) => e.kind === "contraction");
    const since_s = this.last_s - DISPLAY.contractions_over_s;
    return all.length ? all.filter((e) => e.end_s > since_s).length : null;
  }

  cutFrom(t_s) {
    const first = lowerBound(this.t_s, t_s);
    for (const channel of [this.t_s, this.fhr_bpm, this.toco]) channel.length = first;
    if (!first) this.events.clear();
  }

  append(result) {
    this.t_s.push(result.t_s);
    this.fhr_bpm.push(result.fhr_bpm ?? NaN);
    this.toco.push(result.toco ?? NaN);
    if (this.t_s[0] < result.t_s - 1.1 * HISTORY_S) {
      const old = lowerBound(this.t_s, result.t_s - HISTORY_S);
      for (const channel of [this.t_s, this.fhr_bpm, this.toco]) channel.splice(0, old);
    }
  }

  keepEvents(events) {
    for (const event of events) {
      this.events.set(event.id || `${event.kind} ${event.onset_s}`, event);
      if (this.events.size > DISPLAY.max_events) {
        this.events.delete(this.events.keys().next().value);
      }
    }
  }
}

// Index of the first of the increasing times that is not before t_s.
export function lowerBound(times, t_s) {
  let lo = 0;
  let hi = times.length;
  while (lo < hi) {
    const middle = (lo + hi) >> 1;
    if (times[middle] < t_s) lo = middle + 1;
    else hi = middle;
  }
  return lo;
}

export class State {
  sensors = new Map();
  link = "connecting"; // connecting, live, lost, or refused: the access token is missing or wrong
  reason = "";
  attempts = 0; // failed ones since the last connection
  connected_s = -Infinity;
  unreadable = 0;
  beyond = 0; // results of sensors that are too many to show

  // Take in one result at wall time now_s; return its sensor, or null when it isn't shown.
  fold(result, now_s) {
    let sensor = this.sensors.get(result.id);
    if (!sensor) {
      if (this.sensors.size >= DISPLAY.max_sensors) {
        this.beyond += 1;
        return null;
      }
      sensor = new Sensor(result.id);
      this.sensors.set(result.id, sensor);
    }
    sensor.received_s = now_s;
    if (this.#makePlace(sensor, result.t_s, now_s)) {
      sensor.append(result);
      sensor.alarms.judge(result.t_s, result.fhr_bpm, result.status === "critical");
    }
    if (result.prediction || result.t_s >= sensor.last_s) {
      sensor.status = result.status;
      sensor.prediction = result.prediction;
      sensor.figo = result.figo;
    }
    sensor.keepEvents(result.events);
    return sensor;
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

  linked(now_s) {
    this.link = "live";
    this.attempts = 0;
    this.connected_s = now_s;
    for (const sensor of this.sensors.values()) sensor.resuming = true;
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
