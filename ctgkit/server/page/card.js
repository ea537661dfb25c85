// One sensor's part of the document. Text from the network enters by textContent only.
import { DISPLAY } from "./display.js";
import { draw } from "./draw.js";
import { clock, layout } from "./strip.js";

const WORDS = new Map([["ok", "no prediction yet"], ["error", "no analyzer"]]);

// What the analyzer says of a sensor, or why it doesn't, as {sign, text, colour}.
export function verdict(sensor, now_s) {
  if (sensor.isSilent(now_s)) {
    const text = `silent for ${Math.floor(now_s - sensor.received_s)} s`;
    return { sign: DISPLAY.status_signs.error, text, colour: "critical" };
  }
  const known = Object.hasOwn(DISPLAY.status_signs, sensor.status);
  const sign = DISPLAY.status_signs[known ? sensor.status : "error"];
  const colour = known && sensor.status !== "error" ? sensor.status : "critical";
  const said = sensor.prediction;
  if (!said) return { sign, text: WORDS.get(sensor.status) ?? sensor.status, colour };
  const parts = [sensor.status, `risk ${said.risk} ${percent(said.probability)}`];
  if (said.confidence !== null) parts.push(`confidence ${percent(said.confidence)}`);
  if (sensor.figo) parts.push(`FIGO ${sensor.figo}`);
  return { sign, text: parts.join(" · "), colour };
}

export function qualityText(sensor) {
  const share = sensor.quality();
  if (Number.isNaN(share)) return "";
  const poor = share < DISPLAY.poor_signal_share ? "▲ poor signal" : "signal";
  const contractions = sensor.contractions();
  const rate = contractions === null ? "" : ` · ${contractions} contractions/10 min`;
  return `${poor} ${percent(share)}${rate}`;
}

export function alarmText(sensor) {
  const open = sensor.alarms.open;
  const texts = (open.length ? open : sensor.alarms.all).map((alarm) => {
    const over = alarm.active ? "" : " (over)";
    return `${DISPLAY.alarms[alarm.kind].text}${over} since ${clock(alarm.since_s, true)}`;
  });
  if (!texts.length) return "";
  return (open.length ? "⚠ " : "acknowledged: ") + texts.join(" · ");
}

function percent(share) {
  return `${Math.round(100 * share)}%`;
}

function figure(channel) {
  const value = channel.at(-1) ?? NaN;
  return Number.isNaN(value) ? "---" : value.toFixed(0);
}

export class Card {
  #parts = {};

  // onFocus and onChange are called when somebody chooses the sensor, or acknowledges.
  constructor(sensor, template, onFocus, onChange) {
    this.sensor = sensor;
    this.element = template.content.firstElementChild.cloneNode(true);
    for (const part of this.element.querySelectorAll("[data-part]")) {
      this.#parts[part.dataset.part] = part;
    }
    const { name, canvas, acknowledge, focus } = this.#parts;
    this.element.dataset.sensor = sensor.id;
    name.textContent = sensor.name;
    name.title = sensor.id;
    canvas.setAttribute("aria-label", `CTG strip of sensor ${sensor.name}`);
    focus.addEventListener("click", onFocus);
    acknowledge.addEventListener("click", () => {
      sensor.alarms.acknowledge();
      onChange();
    });
    this.button = document.createElement("button");
    this.button.addEventListener("click", onFocus);
  }

  showTexts(now_s) {
    const { sensor } = this;
    const said = verdict(sensor, now_s);
    const open = sensor.alarms.open.length > 0;
    const advice = sensor.prediction?.recommendations.join(" · ") ?? "";
    const alerts = sensor.prediction?.alerts.join(" · ") ?? "";
    this.element.classList.toggle("alarmed", open);
    this.element.classList.toggle("silent", sensor.isSilent(now_s));
    setText(this.#parts.fhr, figure(sensor.fhr_bpm));
    setText(this.#parts.toco, figure(sensor.toco));
    setText(this.#parts.time, clock(sensor.last_s, true));
    setText(this.#parts.verdict, `${said.sign} ${said.text}`);
    this.#parts.verdict.dataset.colour = said.colour;
    setText(this.#parts.quality, qualityText(sensor));
    setText(this.#parts.alerts, alerts && `▲ ${alerts}`);
    setText(this.#parts.advice, advice);
    setText(this.#parts.alarm, alarmText(sensor) || "no alarms");
    this.#parts.acknowledge.hidden = !open;
    setText(this.button, `${open ? "⚠" : said.sign} ${sensor.name} ${figure(sensor.fhr_bpm)}`);
    this.button.classList.toggle("alarmed", open);
  }

  showStrip(scale, speed_cm_min, colours) {
    const { canvas } = this.#parts;
    const { clientWidth: width, clientHeight: height } = canvas;
    const { top, bottom } = canvas.getBoundingClientRect();
    if (!width || bottom < 0 || top > window.innerHeight) return; // nobody sees it
    const ratio = window.devicePixelRatio || 1;
    const size = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) {
      [canvas.width, canvas.height] = size;
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const plan = layout(width, height, scale, speed_cm_min, this.sensor.last_s);
    draw(context, plan, this.sensor, colours);
  }
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
