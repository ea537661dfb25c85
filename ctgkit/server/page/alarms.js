// Alarms that latch until somebody acknowledges them: the rules of ctgkit/watch/alarms.py.
import { DISPLAY } from "./display.js";

const [LOW_BPM, HIGH_BPM] = DISPLAY.band_bpm;

export class Alarms {
  raised = new Map(); // kind -> {kind, since_s, active, acknowledged}
  last_s = null; // data time judged last
  #begun_s = new Map();
  #signal_s = null;

  // Take in one sample; data time that is missing counts as no signal (fhr_bpm null).
  judge(t_s, fhr_bpm, critical) {
    if (this.last_s !== null && t_s <= this.last_s) return;
    const last_s = this.last_s ?? t_s;
    const signal_s = this.#signal_s ?? last_s;
    if (t_s - last_s > DISPLAY.gap_s) this.#hold("signal_loss", t_s, signal_s);
    if (fhr_bpm === null) {
      this.#hold("signal_loss", t_s, signal_s);
    } else {
      this.#release("signal_loss");
      this.#signal_s = t_s;
    }
    if (t_s - signal_s > DISPLAY.gap_s) this.#release("fhr_low", "fhr_high");
    if (fhr_bpm !== null) {
      this.#set("fhr_low", fhr_bpm < LOW_BPM, t_s);
      this.#set("fhr_high", fhr_bpm > HIGH_BPM, t_s);
    }
    this.#set("critical", critical, t_s);
    this.last_s = t_s;
  }

  // Begin a new trace: conditions end, latched alarms stay.
  restart() {
    this.#release(...Object.keys(DISPLAY.alarms));
    this.last_s = this.#signal_s = null;
  }

  acknowledge() {
    for (const [kind, alarm] of this.raised) {
      alarm.acknowledged = true;
      if (!alarm.active) this.raised.delete(kind);
    }
  }

  // The most serious first.
  get all() {
    return Object.keys(DISPLAY.alarms).flatMap((kind) => this.raised.get(kind) ?? []);
  }

  get open() {
    return this.all.filter((alarm) => !alarm.acknowledged);
  }

  #set(kind, holds, t_s) {
    if (holds) this.#hold(kind, t_s, t_s);
    else this.#release(kind);
  }

  #hold(kind, t_s, since_s) {
    if (!this.#begun_s.has(kind)) this.#begun_s.set(kind, since_s);
    const begun_s = this.#begun_s.get(kind);
    if (t_s - begun_s < DISPLAY.alarms[kind].delay_s) return;
    const alarm = this.raised.get(kind) ?? { kind, since_s: begun_s, acknowledged: false };
    alarm.active = true;
    this.raised.set(kind, alarm);
  }

  #release(...kinds) {
    for (const kind of kinds) {
      this.#begun_s.delete(kind);
      const alarm = this.raised.get(kind);
      if (!alarm) continue;
      alarm.active = false;
      if (alarm.acknowledged) this.raised.delete(kind);
    }
  }
}
