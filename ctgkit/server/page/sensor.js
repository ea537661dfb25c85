// One sensor: its samples, events and alarms. No DOM, clock or socket.
import { Alarms } from "./alarms.js";
import { DISPLAY } from "./display.js";

export const HISTORY_S = 4 * 3600; // data time kept per sensor

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
  resuming = false; // no result came since the connection was made, and the past is repeated
  filled = true; // false while the past is being loaded
  live_s = null; // data time of the first sample since the connection was made
  examination = null;
  notes = []; // {sec, text, at}
  bed = "";
  label = ""; // what it is called in the configuration
  control = false; // whether the backend can switch it
  baseline_bpm = null; // as the analyzer said at last
  keep_s = HISTORY_S;
  earlier = null; // where the stored past goes on before the first sample; null: unknown, or nowhere
  fell = null; // the same, where an older recording of the same examination ends

  constructor(id) {
    this.id = id;
  }

  get name() {
    return this.label || this.id.slice(0, 8);
  }

  get last_s() {
    return this.t_s.at(-1) ?? 0;
  }

  isSilent(now_s) {
    return this.filled && now_s - this.received_s > DISPLAY.stale_after_s;
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
    this.live_s ??= result.t_s;
    this.t_s.push(result.t_s);
    this.fhr_bpm.push(result.fhr_bpm ?? NaN);
    this.toco.push(result.toco ?? NaN);
    if (this.t_s[0] < result.t_s - 1.1 * this.keep_s) {
      const old = lowerBound(this.t_s, result.t_s - this.keep_s);
      this.earlier = null;
      for (const channel of [this.t_s, this.fhr_bpm, this.toco]) channel.splice(0, old);
    }
  }

  // Put the stored past before what came since the connection was made. What is older still stays,
  // if it is of the same examination.
  fill(points, examination) {
    const same = this.examination === null || this.examination === examination;
    this.examination = examination;
    const n = lowerBound(points.t_s, this.live_s ?? Infinity);
    const old = same && n ? lowerBound(this.t_s, points.t_s[0]) : 0;
    const live = this.live_s === null ? this.t_s.length : lowerBound(this.t_s, this.live_s);
    if (!same) this.events.clear();
    for (const name of ["t_s", "fhr_bpm", "toco"]) {
      const own = this[name];
      this[name] = own.slice(0, old).concat(points[name].slice(0, n), own.slice(live));
    }
    if (!same || this.last_s < this.alarms.last_s) this.alarms.restart();
  }

  // Put still older samples before all others.
  prepend(points) {
    const n = this.t_s.length ? lowerBound(points.t_s, this.t_s[0]) : points.t_s.length;
    for (const name of ["t_s", "fhr_bpm", "toco"]) this[name] = points[name].slice(0, n).concat(this[name]);
  }

  // The past is complete, or won't come: alarms are judged on all that wasn't judged yet.
  settle(now_s) {
    if (this.filled) return;
    this.filled = true;
    if (this.received_s === -Infinity) this.received_s = now_s;
    const first = this.alarms.last_s === null ? 0 : lowerBound(this.t_s, this.alarms.last_s);
    for (let n = first; n < this.t_s.length; n++) {
      const fhr_bpm = Number.isNaN(this.fhr_bpm[n]) ? null : this.fhr_bpm[n];
      this.alarms.judge(this.t_s[n], fhr_bpm, false);
    }
  }

  // Take in what is stored, oldest last: events that are known already stay as they are.
  mark(events, notes) {
    const known = this.events;
    this.events = new Map();
    this.keepEvents(drawnEvents(events).sort((a, b) => a.onset_s - b.onset_s));
    for (const [name, event] of known) this.events.set(name, event);
    for (const note of Array.isArray(notes) ? notes : []) {
      if (note.sensor === this.id) this.addNote(note);
    }
  }

  addNote(note) {
    const same = (other) => other.sec === note.sec && other.text === note.text;
    if (!this.notes.some(same)) this.notes.push(note);
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

export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

export function drawnEvents(events) {
  return Array.isArray(events) ? events.filter(isDrawn) : [];
}

function isDrawn(event) {
  return (
    typeof event?.kind === "string" &&
    Object.hasOwn(DISPLAY.event_signs, event.kind) &&
    isNumber(event.onset_s) &&
    isNumber(event.end_s)
  );
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
