// Samples -> strokes on CTG paper. No canvas: numbers in, numbers out.
import { DISPLAY } from "./display.js";
import { lowerBound } from "./sensor.js";

const LABELS_PX = 34; // room for the numbers on the left
const LANE_PX = 13; // one row of marks
const LETTER_ROOM_PX = 26;
const AXIS_PX = 18;
const LABEL_EVERY_MIN = [1, 2, 5, 10, 20, 60, 120, 240, 480, 1440];
const COLUMN_EVERY_S = [60, 300, 600, 1800, 3600, 7200, 21600];
const LABEL_ROOM_PX = 56;

// Whether a line may join two neighbouring samples (ctgkit.display.joined).
export function joined(t0_s, value0, t1_s, value1, max_step, gap_s = DISPLAY.gap_s) {
  return Math.abs(value1 - value0) <= max_step && t1_s - t0_s <= gap_s;
}

// Return the strokes of a channel as [first, last] indices; a lone sample is [n, n].
export function strokes(t_s, values, max_step, first = 0, end = t_s.length, gap_s = undefined) {
  const found = [];
  for (let n = first; n < end; n++) {
    if (Number.isNaN(values[n])) continue;
    const stroke = found.at(-1);
    if (stroke?.[1] === n - 1 && joined(t_s[n - 1], values[n - 1], t_s[n], values[n], max_step, gap_s)) {
      stroke[1] = n;
    } else {
      found.push([n, n]);
    }
  }
  return found;
}

// Lay out a strip of width × height CSS pixels that ends at edge_s. A centimetre of paper is as
// wide as it is high, so that slopes look as they do on paper.
export function layout(width, height, scale, speed_cm_min, edge_s) {
  const toco_scale = DISPLAY.toco_scale;
  const fhr_cm = (scale.hi - scale.lo) / scale.per_cm;
  const toco_cm = (toco_scale.hi - toco_scale.lo) / toco_scale.per_cm;
  const lanes = Object.entries(DISPLAY.event_labels);
  const cm = (height - lanes.length * LANE_PX - AXIS_PX) / (fhr_cm + toco_cm);
  const px_per_s = (cm * speed_cm_min) / 60;
  const fhr_bottom = fhr_cm * cm;
  const toco_top = fhr_bottom + lanes.length * LANE_PX;
  return {
    width,
    height,
    left: LABELS_PX,
    cm,
    speed_cm_min,
    px_per_s,
    edge_s,
    start_s: edge_s - (width - LABELS_PX) / px_per_s,
    fhr: { scale, top: 0, bottom: fhr_bottom },
    lanes: lanes.map(([kind, label], n) => ({ kind, label, y: fhr_bottom + (n + 0.5) * LANE_PX })),
    toco: { scale: toco_scale, top: toco_top, bottom: toco_top + toco_cm * cm },
    axis: height - AXIS_PX,
  };
}

export function xOf(plan, t_s) {
  return plan.left + (t_s - plan.start_s) * plan.px_per_s;
}

export function timeAt(plan, x) {
  return plan.start_s + (x - plan.left) / plan.px_per_s;
}

// Values beyond the scale stick to its edge.
export function yOf({ scale, top, bottom }, value) {
  const share = (scale.hi - value) / (scale.hi - scale.lo);
  return top + Math.min(1, Math.max(0, share)) * (bottom - top);
}

// Indices of the samples in sight, with one more on each side.
export function inSight(plan, t_s) {
  const first = lowerBound(t_s, plan.start_s);
  const end = lowerBound(t_s, plan.edge_s + 1e-9);
  return [Math.max(0, first - 1), Math.min(t_s.length, end + 1)];
}

// Index of the sample nearest to a time; -1 where none is near.
export function nearest(t_s, at_s, within_s) {
  const n = lowerBound(t_s, at_s);
  const found = n > 0 && (n === t_s.length || at_s - t_s[n - 1] < t_s[n] - at_s) ? n - 1 : n;
  return found < t_s.length && Math.abs(t_s[found] - at_s) <= within_s ? found : -1;
}

// Where many samples share a pixel, keep the least and the largest of each; else all of them.
export function thinned(plan, t_s, values, first, end) {
  if (end - first < 4 * plan.width) return { t_s, values, first, end, gap_s: DISPLAY.gap_s };
  const thin = { t_s: [], values: [], first: 0, gap_s: Math.max(DISPLAY.gap_s, 2 / plan.px_per_s) };
  for (let n = first; n < end; ) {
    const x = Math.floor((t_s[n] - plan.start_s) * plan.px_per_s);
    let [lo, hi] = [-1, -1];
    const begin = n;
    for (; n < end && Math.floor((t_s[n] - plan.start_s) * plan.px_per_s) === x; n++) {
      if (Number.isNaN(values[n])) continue;
      if (lo < 0 || values[n] < values[lo]) lo = n;
      if (hi < 0 || values[n] > values[hi]) hi = n;
    }
    const kept = lo < 0 ? [begin] : lo === hi ? [lo] : [Math.min(lo, hi), Math.max(lo, hi)];
    for (const k of kept) {
      thin.t_s.push(t_s[k]);
      thin.values.push(values[k]);
    }
  }
  return { ...thin, end: thin.t_s.length };
}

// Horizontal lines as {value, y, heavy}; the finest that are at least 5 pixels apart.
export function rulings(panel) {
  const { lo, hi, lines } = panel.scale;
  const px_per_unit = (panel.bottom - panel.top) / (hi - lo);
  const step = lines.find((s) => s * px_per_unit >= 5) ?? lines.at(-1);
  return multiples(lo, hi, step).map((value) => ({
    value,
    y: yOf(panel, value),
    heavy: value % lines[1] === 0,
  }));
}

// Numbers beside the lines as {value, y, limit}: far enough apart to read, limits always.
export function labels(panel, limits = []) {
  const { lo, hi, lines } = panel.scale;
  const px_per_unit = (panel.bottom - panel.top) / (hi - lo);
  const step = lines.slice(1).find((s) => s * px_per_unit >= 16) ?? lines.at(-1);
  const free = (y) => limits.every((limit) => Math.abs(yOf(panel, limit) - y) >= 12);
  const plain = multiples(lo, hi, step).map((value) => ({ value, y: yOf(panel, value) }));
  return [
    ...plain.filter(({ y }) => free(y)).map((label) => ({ ...label, limit: false })),
    ...limits.map((value) => ({ value, y: yOf(panel, value), limit: true })),
  ];
}

// Vertical lines as {t_s, x, heavy}, heavy on the minute.
export function columns(plan) {
  const fine_s = (60 * DISPLAY.grid_cm) / plan.speed_cm_min;
  const steps = fine_s < 60 ? [fine_s, ...COLUMN_EVERY_S] : COLUMN_EVERY_S;
  const step_s = steps.find((step) => step * plan.px_per_s >= 5) ?? 86400;
  const heavy_s = COLUMN_EVERY_S.find((step) => step > step_s) ?? 86400;
  return multiples(plan.start_s, plan.edge_s, step_s).map((t_s) => ({
    t_s,
    x: xOf(plan, t_s),
    heavy: t_s % (step_s < 60 ? 60 : heavy_s) === 0 || (step_s === 60 && fine_s >= 60),
  }));
}

// Texts of the time axis as {x, text}.
export function times(plan) {
  const minute_px = 60 * plan.px_per_s;
  const every = LABEL_EVERY_MIN.find((n) => n * minute_px >= LABEL_ROOM_PX) ?? 1440;
  const shown = multiples(Math.max(0, plan.start_s), plan.edge_s, 60 * every);
  return shown.map((t_s) => ({ x: xOf(plan, t_s), text: clock(t_s) }));
}

function multiples(lo, hi, step) {
  const first = Math.ceil(lo / step);
  const count = Math.max(0, Math.floor(hi / step) - first + 1);
  return Array.from({ length: count }, (_, n) => (first + n) * step);
}

// Events in sight as {kind, y, x0, x1, peak, sign, provisional}.
export function marks(plan, events) {
  const seen = [...events].filter((e) => e.end_s > plan.start_s && e.onset_s < plan.edge_s);
  return seen.map((event) => {
    const [x0, x1] = [xOf(plan, event.onset_s), xOf(plan, event.end_s)];
    const word = String(event.subtype ?? "").split("_")[0];
    const known = Object.hasOwn(DISPLAY.deceleration_letters, word);
    const lettered = event.kind === "deceleration" && known && x1 - x0 >= LETTER_ROOM_PX;
    return {
      kind: event.kind,
      y: plan.lanes.find((lane) => lane.kind === event.kind).y,
      x0: Math.max(plan.left, x0),
      x1: Math.min(plan.width, x1),
      peak: xOf(plan, event.peak_s ?? (event.onset_s + event.end_s) / 2),
      sign: DISPLAY.event_signs[event.kind],
      letter: lettered ? DISPLAY.deceleration_letters[word] : "",
      provisional: event.tier === "provisional",
    };
  });
}

// Data time as h:mm, or h:mm:ss.
export function clock(t_s, seconds = false) {
  const two = (n) => String(n).padStart(2, "0");
  const whole = Math.floor(t_s);
  const text = `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}`;
  return seconds ? `${text}:${two(whole % 60)}` : text;
}
