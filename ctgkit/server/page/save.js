// What is seen, as a file: a picture, or a table.
import { askBytes } from "./api.js";
import { DISPLAY } from "./display.js";
import { inSight } from "./strip.js";

const BRACE = 123; // of JSON: it is still being drawn

function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function nameOf(card, suffix) {
  const at = Math.round(card.shownUntil_s);
  return `ctg-${card.sensor.id.replace(/[^0-9A-Za-z-]/g, "").slice(0, 36)}-${at}s.${suffix}`;
}

// What is seen on CTG paper, to scale, drawn by the backend; it takes some seconds.
export async function savePaper(card, plan, range) {
  const { examination, id } = card.sensor;
  const fits = DISPLAY.speeds_cm_min.filter((speed) => speed <= plan.speed_cm_min);
  const asked = {
    examination, sensor: id, range, speed: fits.at(-1) ?? DISPLAY.speeds_cm_min[0],
    from: Math.max(0, plan.start_s).toFixed(2), to: plan.edge_s.toFixed(2),
  };
  for (;;) {
    const bytes = await askBytes("/api/page/paper", asked);
    if (new Uint8Array(bytes, 0, 1)[0] !== BRACE) return save(nameOf(card, "pdf"), new Blob([bytes], { type: "application/pdf" }));
  }
}

export function savePicture(card) {
  card.canvas.toBlob((blob) => save(nameOf(card, "png"), blob), "image/png");
}

// Seconds, heart rate, toco; an empty cell is no signal. Not for clinical use, and it says so.
export function csvOf(sensor, plan) {
  const lines = [`# ${DISPLAY.disclaimer}`, "sec,bpm,toco"];
  const [first, end] = inSight(plan, sensor.t_s);
  const cell = (value) => (Number.isNaN(value) ? "" : `${Number(value.toFixed(2))}`);
  for (let n = first; n < end; n++) {
    if (sensor.t_s[n] < plan.start_s || sensor.t_s[n] > plan.edge_s) continue;
    lines.push([sensor.t_s[n].toFixed(3), cell(sensor.fhr_bpm[n]), cell(sensor.toco[n])].join());
  }
  return `${lines.join("\n")}\n`;
}

export function saveCsv(card, plan) {
  save(nameOf(card, "csv"), new Blob([csvOf(card.sensor, plan)], { type: "text/csv" }));
}
