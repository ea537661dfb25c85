// A strip onto a canvas.
import { DISPLAY } from "./display.js";
import {
  clock, columns, inSight, labels, marks, nearest, rulings, strokes, thinned, times, xOf, yOf,
} from "./strip.js";
import { t } from "./words.js";

const FONT = "11px system-ui, sans-serif";

// Draw a sensor's strip as the plan of strip.js says; colours maps names of ctgkit.display. At
// cursor_s, unless it is null, a line shows the values.
export function draw(context, plan, sensor, colours, cursor_s = null) {
  context.fillStyle = colours.paper;
  context.fillRect(0, 0, plan.width, plan.height);
  drawPaper(context, plan, colours);
  context.save();
  context.beginPath();
  context.rect(plan.left, 0, plan.width - plan.left, plan.height);
  context.clip();
  drawTrace(context, plan, plan.fhr, sensor.t_s, sensor.fhr_bpm, DISPLAY.max_step_bpm, colours.fhr);
  drawTrace(context, plan, plan.toco, sensor.t_s, sensor.toco, Infinity, colours.toco);
  drawMarks(context, plan, sensor.events.values(), colours);
  drawNotes(context, plan, sensor.notes, colours);
  context.restore();
  drawTexts(context, plan, colours);
  if (cursor_s !== null) drawCursor(context, plan, sensor, colours, cursor_s);
}

function line(context, colour, width, x0, y0, x1, y1) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

function drawPaper(context, plan, colours) {
  const [low, high] = DISPLAY.band_bpm.map((limit) => yOf(plan.fhr, limit));
  context.fillStyle = colours.band;
  context.fillRect(plan.left, high, plan.width - plan.left, low - high);
  for (const panel of [plan.fhr, plan.toco]) {
    for (const { x, heavy } of columns(plan)) {
      line(context, colours.grid, heavy ? 1 : 0.4, x, panel.top, x, panel.bottom);
    }
    for (const { y, heavy } of rulings(panel)) {
      line(context, colours.grid, heavy ? 1 : 0.4, plan.left, y, plan.width, y);
    }
  }
  for (const y of [low, high]) line(context, colours.limit, 1.2, plan.left, y, plan.width, y);
}

function drawTrace(context, plan, panel, all_s, all, max_step, colour) {
  const [from, to] = inSight(plan, all_s);
  const { t_s, values, first: begin, end, gap_s } = thinned(plan, all_s, all, from, to);
  context.strokeStyle = context.fillStyle = colour;
  context.lineWidth = 1.4;
  context.lineJoin = "round";
  context.beginPath();
  for (const [first, last] of strokes(t_s, values, max_step, begin, end, gap_s)) {
    context.moveTo(xOf(plan, t_s[first]), yOf(panel, values[first]));
    for (let n = first + 1; n <= last; n++) {
      context.lineTo(xOf(plan, t_s[n]), yOf(panel, values[n]));
    }
    if (first === last) {
      context.fillRect(xOf(plan, t_s[first]) - 0.7, yOf(panel, values[first]) - 0.7, 1.4, 1.4);
    }
  }
  context.stroke();
}

// Brackets first, so that none crosses a sign.
function drawMarks(context, plan, events, colours) {
  const seen = marks(plan, events);
  for (const { kind, y, x0, x1, provisional } of seen) {
    context.setLineDash(provisional ? [3, 3] : []);
    line(context, colours[kind], 1.5, x0, y, x1, y);
    context.setLineDash([]);
    for (const x of [x0, x1]) line(context, colours[kind], 1.5, x, y - 4, x, y + 4);
  }
  context.font = FONT;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (const { kind, y, peak, sign, letter } of seen) {
    const width = context.measureText(sign + letter).width;
    context.fillStyle = colours.paper;
    context.fillRect(peak - width / 2 - 1, y - 5, width + 2, 10);
    context.fillStyle = colours[kind];
    context.fillText(sign + letter, peak, y + 1);
  }
}

// A flag on the time axis, with as much of the text as there is room for.
function drawNotes(context, plan, notes, colours) {
  context.font = FONT;
  context.textAlign = "left";
  context.textBaseline = "top";
  const seen = notes.filter(({ sec }) => sec >= plan.start_s && sec <= plan.edge_s);
  for (const { sec, text } of seen) {
    const x = xOf(plan, sec);
    line(context, colours.ink, 1, x, 0, x, plan.axis);
    const words = `⚑ ${text.length > 40 ? `${text.slice(0, 39)}…` : text}`;
    const width = context.measureText(words).width + 6;
    const left = Math.max(plan.left, Math.min(x, plan.width - width));
    context.fillStyle = colours.paper;
    context.fillRect(left, 1, width, 14);
    context.fillStyle = colours.ink;
    context.fillText(words, left + 3, 2);
  }
}

function drawCursor(context, plan, sensor, colours, cursor_s) {
  const x = xOf(plan, cursor_s);
  if (x < plan.left || x > plan.width) return;
  line(context, colours.ink, 1, x, 0, x, plan.axis);
  const n = nearest(sensor.t_s, cursor_s, Math.max(DISPLAY.gap_s, 1 / plan.px_per_s));
  const said = (values, unit) =>
    n < 0 || Number.isNaN(values[n]) ? `--- ${unit}` : `${Number(values[n].toFixed(1))} ${unit}`;
  const words = [
    clock(cursor_s, true), said(sensor.fhr_bpm, t("FHR bpm")), said(sensor.toco, t("toco")),
  ].join(" · ");
  context.font = FONT;
  context.textAlign = "left";
  context.textBaseline = "middle";
  const width = context.measureText(words).width + 10;
  const left = x + 6 + width > plan.width ? x - 6 - width : x + 6;
  context.fillStyle = colours.paper;
  context.fillRect(left, plan.fhr.bottom - 20, width, 18);
  context.strokeStyle = colours.faint;
  context.strokeRect(left, plan.fhr.bottom - 20, width, 18);
  context.fillStyle = colours.ink;
  context.fillText(words, left + 5, plan.fhr.bottom - 11);
}

function drawTexts(context, plan, colours) {
  context.fillStyle = colours.paper;
  context.fillRect(0, 0, plan.left, plan.height);
  context.font = FONT;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const panel of [plan.fhr, plan.toco]) {
    for (const { value, y, limit } of labels(panel, panel === plan.fhr ? DISPLAY.band_bpm : [])) {
      context.fillStyle = limit ? colours.ink : colours.faint;
      const inside = Math.min(Math.max(y, panel.top + 6), panel.bottom - 5);
      context.fillText(`${value}`, plan.left - 5, inside);
    }
  }
  context.fillStyle = colours.faint;
  for (const { label, y } of plan.lanes) context.fillText(label, plan.left - 5, y + 1);
  context.textAlign = "center";
  for (const { x, text } of times(plan)) {
    if (x > plan.left + 8 && x < plan.width - 14) {
      context.fillText(text, x, (plan.axis + plan.height) / 2 + 1);
    }
  }
}
