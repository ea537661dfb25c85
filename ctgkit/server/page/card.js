// One sensor's strip in the document. Text from the network enters by textContent only.
import { draw } from "./draw.js";
import { clock, layout } from "./strip.js";
import { alarmText, bedText, figure, qualityText, setText, verdict } from "./texts.js";
import { t, translate } from "./words.js";

export class Card {
  #parts = {};
  edge_s = null; // data time at the right edge; null follows the newest sample
  speed_cm_min = null; // null: as chosen for all
  cursor_s = null;
  archived = false; // an old examination: nothing is said of now

  // onFocus and onChange are called when somebody chooses the sensor, or changes how it is shown.
  constructor(sensor, template, onFocus, onChange) {
    this.sensor = sensor;
    this.onChange = onChange;
    this.element = template.content.firstElementChild.cloneNode(true);
    for (const part of this.element.querySelectorAll("[data-part]")) {
      this.#parts[part.dataset.part] = part;
    }
    const { acknowledge, focus } = this.#parts;
    this.element.dataset.sensor = sensor.id;
    focus.addEventListener("click", onFocus);
    acknowledge.addEventListener("click", () => {
      sensor.alarms.acknowledge();
      onChange();
    });
    translate(this.element);
  }

  get canvas() {
    return this.#parts.canvas;
  }

  get tools() {
    return this.#parts.tools;
  }

  get shownUntil_s() {
    return this.edge_s ?? this.sensor.last_s;
  }

  showTexts(now_s) {
    const { sensor } = this;
    const open = sensor.alarms.open.length > 0 && !this.archived;
    setText(this.#parts.name, sensor.name);
    this.#parts.name.title = sensor.id;
    setText(this.#parts.bed, bedText(sensor));
    this.canvas.setAttribute("aria-label", t("CTG strip of {name}", { name: sensor.name }));
    setText(this.#parts.time, clock(sensor.last_s, true));
    this.element.classList.toggle("alarmed", open);
    this.#parts.acknowledge.hidden = !open;
    this.element.classList.toggle("archived", this.archived);
    if (this.archived) return;
    const said = verdict(sensor, now_s);
    this.element.classList.toggle("silent", sensor.isSilent(now_s));
    setText(this.#parts.fhr, figure(sensor.fhr_bpm.at(-1)));
    setText(this.#parts.toco, figure(sensor.toco.at(-1)));
    setText(this.#parts.verdict, `${said.sign} ${said.text}`);
    this.#parts.verdict.dataset.colour = said.colour;
    setText(this.#parts.quality, qualityText(sensor));
    const alerts = sensor.prediction?.alerts.join(" · ") ?? "";
    setText(this.#parts.alerts, alerts && `▲ ${alerts}`);
    setText(this.#parts.advice, sensor.prediction?.recommendations.join(" · ") ?? "");
    setText(this.#parts.alarm, alarmText(sensor) || t("no alarms"));
  }

  // How the strip lies on its canvas now; null while nobody sees it.
  plan(scale, speed_cm_min) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const { top, bottom } = this.canvas.getBoundingClientRect();
    if (!width || bottom < 0 || top > window.innerHeight) return null;
    return layout(width, height, scale, this.speed_cm_min ?? speed_cm_min, this.shownUntil_s);
  }

  showStrip(scale, speed_cm_min, colours) {
    const plan = this.plan(scale, speed_cm_min);
    if (!plan) return;
    const ratio = window.devicePixelRatio || 1;
    const size = [Math.round(plan.width * ratio), Math.round(plan.height * ratio)];
    const { canvas } = this;
    if (canvas.width !== size[0] || canvas.height !== size[1]) {
      [canvas.width, canvas.height] = size;
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    draw(context, plan, this.sensor, colours, this.cursor_s);
  }
}
