// Looking at one strip: scroll and zoom through the whole examination, cursor, notes, export.
import { askBytes, askJson } from "./api.js";
import { DISPLAY } from "./display.js";
import { Gestures } from "./gestures.js";
import { Instructor } from "./instructor.js";
import { saveCsv, savePaper, savePicture } from "./save.js";
import { joinedPoints, unpack } from "./past.js";
import { clock, timeAt } from "./strip.js";
import { HISTORY_S } from "./sensor.js";
import { setText } from "./texts.js";
import { t, translate } from "./words.js";

const BIN_S = 0.25; // as fine as most sensors send
const PIECE_S = 3600; // loaded at a time
const [SLOWEST, FASTEST] = [0.02, 12]; // cm/min
const ZOOM = 1.4;
const STEP = 0.25; // of the strip's width
const ASK_EVERY_MS = 2000;

export class LookBack {
  #busy = false;
  #opened = false;
  #asked_ms = -Infinity; // when the examination was asked for
  #gone = false;
  #trouble = "";
  #parts = {};

  // place is where to begin in an older recording; null: at the newest sample.
  constructor(card, onChange, place = null) {
    this.card = card;
    this.place = place;
    this.sensor = card.sensor;
    this.onChange = onChange;
    this.sensor.keep_s = Infinity;
    this.#build();
    this.gestures = new Gestures(card.canvas, this);
  }

  leave() {
    this.#gone = true;
    this.gestures.leave();
    this.sensor.keep_s = HISTORY_S;
    this.card.edge_s = this.card.speed_cm_min = this.card.cursor_s = null;
    this.card.tools.hidden = true;
    this.card.tools.replaceChildren();
  }

  retranslate() {
    translate(this.card.tools);
  }

  #build() {
    const { tools } = this.card;
    const add = (parent, name, text, action) => {
      const element = document.createElement(name);
      if (text) element.dataset.t = text;
      if (action) element.addEventListener("click", action);
      parent.append(element);
      return element;
    };
    add(tools, "button", "Beginning", () => this.start());
    add(tools, "button", "Previous event", () => this.step(-1));
    add(tools, "button", "Next event", () => this.step(1));
    add(tools, "button", this.card.archived ? "End" : "Now", () => this.now());
    add(tools, "button", "Zoom out", () => this.zoom(1 / ZOOM));
    add(tools, "button", "Zoom in", () => this.zoom(ZOOM));
    add(tools, "button", "Add a note", () => this.askNote());
    add(tools, "button", "Picture (PNG)", () => savePicture(this.card));
    add(tools, "button", "Table (CSV)", () => this.#plan && saveCsv(this.card, this.#plan));
    add(tools, "button", "Print or PDF", () => print());
    this.#parts.paper = add(tools, "button", "Paper (PDF)", () => this.#savePaper());
    this.#parts.paper.hidden = true;
    this.#parts.fell = add(tools, "button", "Earlier recording", () => {
      const { examination, id, fell } = this.sensor;
      location.hash = `examinations/${examination}/${encodeURIComponent(id)}/${fell}`;
    });
    this.#parts.where = add(tools, "span");
    this.#parts.where.setAttribute("role", "status");
    this.#parts.note = add(tools, "form");
    this.#parts.note.hidden = true;
    const label = add(this.#parts.note, "label");
    this.#parts.at = add(label, "span");
    this.#parts.text = add(label, "input");
    this.#parts.text.maxLength = 400;
    this.#parts.text.required = true;
    add(this.#parts.note, "button", "Save");
    add(this.#parts.note, "button", "Cancel", () => this.#closeNote()).type = "button";
    this.#parts.note.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#saveNote();
    });
    if (this.sensor.control && !this.card.archived) {
      new Instructor(this.sensor, tools, (note) => {
        this.sensor.addNote(note);
        this.onChange();
      });
    }
    tools.hidden = false;
    translate(tools);
  }

  async #savePaper() {
    const { paper } = this.#parts;
    paper.disabled = true;
    setText(paper, t("drawing"));
    try {
      await savePaper(this.card, this.#plan, Number(document.getElementById("range").value));
    } catch (error) {
      this.#trouble = error.message;
    }
    paper.disabled = false;
    translate(this.card.tools);
    this.onChange();
  }

  get #plan() {
    return this.lastPlan ?? null;
  }

  // Where the strip is, and what is still missing on its left.
  showTexts() {
    const plan = this.card.plan(...this.looks());
    this.lastPlan = plan;
    if (!plan) return;
    const { sensor } = this;
    if (sensor.examination === null) this.#find();
    if (!this.#opened && sensor.examination !== null && !this.#busy) this.#open();
    this.#parts.fell.hidden = sensor.fell === null;
    this.#parts.paper.hidden = !document.documentElement.dataset.paper || sensor.examination === null;
    const said = [`${clock(Math.max(0, plan.start_s), true)} – ${clock(plan.edge_s, true)}`];
    if (plan.start_s < (sensor.t_s[0] ?? 0)) {
      if (this.#trouble) said.push(`✕ ${this.#trouble}`);
      else if (sensor.earlier !== null || this.#busy) said.push(`◌ ${t("loading")}`);
      this.#older();
    }
    setText(this.#parts.where, said.join(" · "));
  }

  // Scale and speed as they are chosen for all.
  looks() {
    const value = (id) => document.getElementById(id).value;
    return [DISPLAY.fhr_scales[value("range")], Number(value("speed"))];
  }

  // Ask which examination a live sensor takes part in: it may have come after the page, or anew.
  async #find() {
    const now_ms = performance.now();
    const answers = document.documentElement.dataset.loaded; // a replay knows no examinations
    if (this.card.archived || !answers || now_ms - this.#asked_ms < ASK_EVERY_MS) return;
    this.#asked_ms = now_ms;
    const { examination } = await askJson(`/api/sensors/${encodeURIComponent(this.sensor.id)}`)
      .catch(() => ({ examination: null }));
    if (this.#gone || examination === null || examination === this.sensor.examination) return;
    this.sensor.examination = examination;
    this.#opened = false;
    this.onChange();
  }

  // The last hour again, as fine as it was sent; then older pieces as they come into sight.
  async #open() {
    this.#opened = true;
    const before = this.place === null ? {} : { before: this.place };
    await this.#load({ seconds: PIECE_S, ...before }, (part) => {
      if (part.pages.length) this.sensor.fill(joinedPoints(part.pages), part.examination);
    });
    if (this.#gone || this.sensor.examination === null) return;
    try {
      const examination = this.sensor.examination;
      for (let before = null; !this.#gone; ) {
        const asked = before === null ? { examination } : { examination, before };
        const { examinations } = await askJson("/api/page/marks", asked);
        this.sensor.mark(examinations[0].events[this.sensor.id], examinations[0].notes);
        before = examinations[0].next;
        this.onChange();
        if (before === null) break;
      }
    } catch (error) {
      this.#trouble = error.message;
    }
  }

  #older() {
    if (this.#busy || this.#trouble || this.sensor.earlier === null) return;
    this.#load({ seconds: PIECE_S, before: this.sensor.earlier }, (part) => {
      this.sensor.prepend(joinedPoints(part.pages));
    });
  }

  async #load(asked, take) {
    if (this.#busy || this.sensor.examination === null) return;
    this.#busy = true;
    try {
      const about = { examination: this.sensor.examination, sensor: this.sensor.id, bin: BIN_S };
      const [part] = unpack(await askBytes("/api/page/past", { ...about, ...asked }), BIN_S);
      if (this.#gone) return;
      take(part);
      this.sensor.earlier = part.fell ? null : part.next;
      this.sensor.fell = part.fell ? part.next : null;
    } catch (error) {
      this.#trouble = error.message;
    } finally {
      this.#busy = false;
      this.onChange();
    }
  }

  // Moves

  scroll(seconds) {
    const { sensor, card } = this;
    const edge_s = card.shownUntil_s + seconds;
    const least_s = (sensor.earlier === null ? sensor.t_s[0] ?? 0 : 0) + 30;
    card.edge_s = edge_s >= sensor.last_s ? null : Math.max(least_s, edge_s);
    this.onChange();
  }

  // Zoom so that the time at x stays where it is; without x, the right edge does.
  zoom(factor, x = null) {
    const plan = this.card.plan(...this.looks());
    if (!plan) return;
    const speed = Math.min(FASTEST, Math.max(SLOWEST, plan.speed_cm_min * factor));
    const edge_s = x === null || this.card.edge_s === null
      ? this.card.edge_s
      : timeAt(plan, x) + (plan.edge_s - timeAt(plan, x)) * (plan.speed_cm_min / speed);
    this.card.speed_cm_min = speed;
    this.card.edge_s = edge_s !== null && edge_s >= this.sensor.last_s ? null : edge_s;
    this.onChange();
  }

  now() {
    this.card.edge_s = null;
    this.onChange();
  }

  // The beginning: everything between is loaded on the way, a piece at a time.
  async start() {
    while (this.sensor.earlier !== null && !this.#trouble && !this.#gone) {
      this.#older();
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    this.center(this.sensor.t_s[0] ?? 0, 0);
  }

  // Bring a time into sight, at a share of the width.
  center(t_s, share = 0.5) {
    const plan = this.card.plan(...this.looks());
    if (!plan) return;
    const width_s = plan.edge_s - plan.start_s;
    this.card.edge_s = null;
    this.scroll(t_s + (1 - share) * width_s - this.sensor.last_s);
  }

  // The event or note before or after the middle, or after the one that was shown last.
  step(direction) {
    const plan = this.card.plan(...this.looks());
    if (!plan) return;
    const from_s = this.card.cursor_s ?? (direction < 0 ? plan.edge_s : plan.start_s);
    const { sensor } = this;
    const times = [...[...sensor.events.values()].map((e) => e.onset_s), ...sensor.notes.map((n) => n.sec)];
    const beyond = times.filter((s) => (direction < 0 ? s < from_s - 0.5 : s > from_s + 0.5));
    if (!beyond.length) return;
    const found = direction < 0 ? Math.max(...beyond) : Math.min(...beyond);
    this.card.cursor_s = found;
    this.center(found);
  }

  point(x) {
    const plan = this.card.plan(...this.looks());
    this.card.cursor_s = plan && x !== null ? timeAt(plan, x) : null;
    this.onChange();
  }

  key(key) {
    const plan = this.card.plan(...this.looks());
    const step_s = plan ? STEP * (plan.edge_s - plan.start_s) : 60;
    return {
      ArrowLeft: () => this.scroll(-step_s),
      ArrowRight: () => this.scroll(step_s),
      Home: () => this.start(),
      End: () => this.now(),
      "+": () => this.zoom(ZOOM),
      "=": () => this.zoom(ZOOM),
      "-": () => this.zoom(1 / ZOOM),
      p: () => this.step(-1),
      n: () => this.step(1),
      m: () => this.askNote(),
      a: () => this.sensor.alarms.acknowledge(),
    }[key];
  }

  // Notes

  askNote() {
    this.noted_s = this.card.cursor_s ?? this.card.shownUntil_s;
    setText(this.#parts.at, `${t("Note at {time}", { time: clock(this.noted_s, true) })} `);
    this.#parts.note.hidden = false;
    this.#parts.text.focus();
  }

  #closeNote() {
    this.#parts.note.hidden = true;
    this.#parts.text.value = "";
    this.card.canvas.focus();
  }

  async #saveNote() {
    const sec = Math.max(0, this.noted_s).toFixed(2);
    this.#asked_ms = -Infinity;
    await this.#find();
    const about = { examination: this.sensor.examination, sensor: this.sensor.id };
    try {
      const text = this.#parts.text.value;
      const { note } = await askJson("/api/page/note", { ...about, sec, text });
      this.sensor.addNote(note);
      this.#closeNote();
    } catch (error) {
      setText(this.#parts.at, `✕ ${error.message} `);
    }
    this.onChange();
  }
}
