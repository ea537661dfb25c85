// The instructor's part of one patient: start, stop, scenario and seed, an event now, a knob.
import { askJson } from "./api.js";
import { clock } from "./strip.js";
import { setText } from "./texts.js";
import { t, translate } from "./words.js";

let offered = null; // scenarios, events and knobs, asked for once

function element(name, parent, text = "") {
  const made = document.createElement(name);
  if (text) made.dataset.t = text;
  parent.append(made);
  return made;
}

export class Instructor {
  #parts = {};

  // Put the form into a card's tools; onNote is called with what is kept of an order.
  constructor(sensor, parent, onNote) {
    this.sensor = sensor;
    this.onNote = onNote;
    const box = element("details", parent);
    box.className = "instructor";
    element("summary", box, "Instructor");
    this.form = element("form", box);
    box.addEventListener("toggle", () => { if (box.open) this.#offer(); });
    this.#parts.scenario = this.#field("Scenario", "select");
    this.#parts.seed = this.#field("Seed", "input", { type: "number", min: 0, step: 1 });
    this.#button("Start with it", () => this.#start());
    this.#button("Stop", () => this.#order("stop"));
    element("br", this.form);
    this.#parts.event = this.#field("Event", "select");
    this.#parts.size = this.#field("size", "input", { type: "number", step: "any" });
    this.#parts.duration_s = this.#field("duration, s", "input", { type: "number", step: "any" });
    this.#button("Inject now", () => this.#inject());
    element("br", this.form);
    this.#parts.knob = this.#field("Knob", "select");
    this.#parts.to = this.#field("to", "input", { type: "number", step: "any" });
    this.#parts.ramp_s = this.#field("within, s", "input", { type: "number", step: "any", min: 0, placeholder: 60 });
    this.#button("Change", () => this.#change());
    this.#parts.meaning = element("small", this.form);
    this.#parts.meaning.lang = "en"; // from the reference of the knobs
    element("br", this.form);
    this.#parts.said = element("span", this.form);
    this.#parts.said.setAttribute("role", "status");
    this.#parts.event.addEventListener("change", () => this.#range());
    this.#parts.knob.addEventListener("change", () => this.#knobRange());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    translate(box);
  }

  #field(label, kind, properties = {}) {
    const around = element("label", this.form);
    element("span", around, label);
    around.append(" ");
    return Object.assign(element(kind, around), properties);
  }

  #button(text, action) {
    const made = element("button", this.form, text);
    made.type = "button";
    made.addEventListener("click", action);
  }

  async #offer() {
    try {
      offered ??= await askJson("/api/page/instructor");
    } catch (error) {
      this.#say(`✕ ${error.message}`);
      return;
    }
    if (this.#parts.scenario.options.length) return;
    const scenarios = [["", t("as it was started")], ...offered.scenarios.map((name) => [name, name])];
    this.#parts.scenario.replaceChildren(...scenarios.map(([value, text]) => new Option(text, value)));
    const events = Object.entries(offered.events);
    this.#parts.event.replaceChildren(
      ...events.map(([name]) => new Option(t(name.replaceAll("_", " ")), name)),
    );
    this.#range();
    const groups = new Map();
    for (const name of Object.keys(offered.knobs)) {
      const [group, knob] = name.split(".");
      if (!groups.has(group)) groups.set(group, Object.assign(document.createElement("optgroup"), { label: group }));
      groups.get(group).append(new Option(knob.replaceAll("_", " "), name));
    }
    this.#parts.knob.replaceChildren(...groups.values());
    this.#knobRange();
  }

  #knobRange() {
    const rules = offered.knobs[this.#parts.knob.value];
    const { to } = this.#parts;
    to.value = "";
    to.placeholder = `${rules.low}–${rules.high} ${rules.unit}`;
    [to.min, to.max] = [rules.low, rules.high];
    setText(this.#parts.meaning, rules.meaning);
  }

  // Say in the fields what the chosen event may have.
  #range() {
    const rules = offered.events[this.#parts.event.value];
    const { size, duration_s } = this.#parts;
    size.closest("label").hidden = !rules.size_unit;
    size.value = duration_s.value = "";
    size.placeholder = `${rules.size} ${rules.size_unit}`;
    [size.min, size.max] = [rules.size_low, rules.size_high];
    duration_s.placeholder = rules.duration_s;
    [duration_s.min, duration_s.max] = [rules.duration_low_s, rules.duration_high_s];
  }

  #start() {
    const { scenario, seed } = this.#parts;
    this.#order("start", { scenario: scenario.value, seed: seed.value });
  }

  #inject() {
    const { event, size, duration_s } = this.#parts;
    const asked = { event: event.value, duration_s: duration_s.value };
    this.#order("inject", size.closest("label").hidden ? asked : { ...asked, size: size.value });
  }

  #change() {
    const { knob, to, ramp_s } = this.#parts;
    if (!to.value) to.focus();
    else this.#order("change", { knob: knob.value, to: to.value, ramp_s: ramp_s.value });
  }

  async #order(verb, parameters = {}) {
    if (!this.form.reportValidity()) return;
    const given = Object.entries(parameters).filter(([, value]) => value !== "");
    this.#say("…");
    try {
      const asked = { sensor: this.sensor.id, ...Object.fromEntries(given) };
      const { message, at_s } = await askJson(`/api/sensors/one/${verb}`, asked);
      const details = given.map(([name, value]) => `${name} ${value}`);
      const words = [message, ...details].join(", ");
      const now = verb === "inject" || verb === "change";
      this.#say(now ? `${words} · ${clock(at_s, true)}` : words);
      if (now) {
        const kept = [verb, ...details].join(", ");
        this.onNote({ sensor: this.sensor.id, sec: at_s, text: `⚡ ${kept}` });
      }
    } catch (error) {
      this.#say(`✕ ${error.message}`);
    }
  }

  #say(text) {
    setText(this.#parts.said, text);
  }
}
