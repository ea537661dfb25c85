// One patient in the overview: name, rate, the trend of an hour, state. Text enters as text only.
import { DISPLAY } from "./display.js";
import { lowerBound } from "./sensor.js";
import { yOf } from "./strip.js";
import { alarmText, bedText, brief, figure, setText, verdict } from "./texts.js";

const TREND_S = 3600;
const ROOMY_PX = 340; // wide enough for whole sentences
const TREND_EVERY_S = 1; // how often a trend is drawn again

export class Tile {
  #parts = {};
  #drawn_s = -Infinity;
  #drawn = "";

  constructor(sensor, template, onOpen) {
    this.sensor = sensor;
    this.element = template.content.firstElementChild.cloneNode(true);
    this.button = this.element.firstElementChild;
    for (const part of this.element.querySelectorAll("[data-part]")) {
      this.#parts[part.dataset.part] = part;
    }
    this.element.dataset.sensor = sensor.id;
    this.button.addEventListener("click", onOpen);
  }

  showTexts(now_s) {
    const { sensor } = this;
    const said = verdict(sensor, now_s);
    const alarm = sensor.alarms.open.length > 0;
    this.element.classList.toggle("alarmed", alarm);
    this.element.classList.toggle("silent", sensor.isSilent(now_s));
    setText(this.#parts.name, sensor.name);
    this.button.title = sensor.id;
    setText(this.#parts.bed, bedText(sensor));
    setText(this.#parts.fhr, figure(sensor.fhr_bpm.at(-1)));
    setText(this.#parts.toco, figure(sensor.toco.at(-1)));
    const room = this.button.clientWidth > ROOMY_PX;
    const whole = alarm ? alarmText(sensor) : `${said.sign} ${said.text}`;
    setText(this.#parts.said, room ? whole : brief(sensor, now_s));
    this.#parts.said.dataset.colour = alarm ? "critical" : said.colour;
  }

  // The heart rate of an hour, least to largest per pixel; a gap stays a gap.
  showTrend(now_s, scale, colours) {
    const canvas = this.#parts.trend;
    const { clientWidth: width, clientHeight: height } = canvas;
    const look = `${width} ${height} ${colours.fhr} ${scale.lo} ${this.sensor.filled}`;
    if (!width || !height || (look === this.#drawn && now_s - this.#drawn_s < TREND_EVERY_S)) return;
    [this.#drawn, this.#drawn_s] = [look, now_s];
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const panel = { scale, top: 0, bottom: height };
    const [low, high] = DISPLAY.band_bpm.map((limit) => yOf(panel, limit));
    context.fillStyle = colours.band;
    context.fillRect(0, high, width, low - high);
    context.fillStyle = colours.fhr;
    for (const { x, lo, hi } of trend(this.sensor, width)) {
      const top = yOf(panel, hi);
      context.fillRect(x, top - 0.5, 1, Math.max(1.2, yOf(panel, lo) - top + 1));
    }
  }
}

// Least and largest heart rate of each of so many columns of the last hour, as {x, lo, hi}.
export function trend(sensor, columns) {
  const { t_s, fhr_bpm } = sensor;
  const start_s = sensor.last_s - TREND_S;
  const found = [];
  for (let n = lowerBound(t_s, start_s); n < t_s.length; n++) {
    if (Number.isNaN(fhr_bpm[n])) continue;
    const x = Math.min(columns - 1, Math.floor(((t_s[n] - start_s) / TREND_S) * columns));
    const last = found.at(-1);
    if (last?.x === x) {
      last.lo = Math.min(last.lo, fhr_bpm[n]);
      last.hi = Math.max(last.hi, fhr_bpm[n]);
    } else {
      found.push({ x, lo: fhr_bpm[n], hi: fhr_bpm[n] });
    }
  }
  return found;
}
