// The shell: what is shown, where the address says, and the frame loop.
import { askJson, keepToken } from "./api.js";
import { Card } from "./card.js";
import { DISPLAY } from "./display.js";
import { Link } from "./link.js";
import { Overview } from "./overview.js";
import { listenToKeys } from "./keys.js";
import { LAYOUTS, SORTS } from "./ward.js";
import { State } from "./state.js";
import { chooseLanguage, chosenLanguage, t, translate } from "./words.js";

const FRAME_MS = 33;
const STRIPS_AT_ONCE = 2; // more are drawn less often
const SLOW_EVERY = 6;
const NARROW_PX = 640;
const USUAL_PORT = "8080";

const state = new State();
const $ = (id) => document.getElementById(id);
const now_s = () => performance.now() / 1000;
let changed = true;
const touch = () => { changed = true; };
const link = new Link(state, now_s, touch);
const overview = new Overview(state, touch);

function showLink() {
  const words = {
    connecting: () => `◌ ${t("connecting")}`,
    live: () => (state.loading ? `◌ ${t("loading the past")}` : `● ${t("live")}`),
    lost: () =>
      `✕ ${t("connection lost ({reason}); trying again, attempt {n}", { reason: state.reason, n: state.attempts })}`,
    refused: () => `✕ ${t(state.reason)}`,
  };
  const said = words[state.link]();
  if ($("link").textContent !== said) $("link").textContent = said;
  $("link").dataset.link = state.link;
  $("access").hidden = state.link !== "refused";
}

function showNotes() {
  const notes = [];
  if (!state.sensors.size && state.link === "live" && !state.loading) {
    notes.push(t("No sensor has sent anything yet."));
  }
  if (overview.empty) notes.push(t("Nobody matches the filter."));
  if (link.trouble) notes.push(t("the backend could not be reached ({reason})", { reason: link.trouble }));
  if (state.unreadable) notes.push(t("{n} unreadable results", { n: state.unreadable }));
  if (state.beyond) notes.push(t("only the first {n} sensors are shown", { n: DISPLAY.max_sensors }));
  const said = notes.join(" · ");
  if ($("notes").textContent !== said) $("notes").textContent = said;
}

async function order(verb) {
  $("answer").textContent = "…";
  try {
    const answer = await askJson(`/api/sensors/${verb}`);
    $("answer").textContent = answer.message;
  } catch (error) {
    const hint = error.status === 400 && link.startHint && link.startHint + urlOption();
    $("answer").textContent = error.status
      ? `✕ ${error.message}${hint ? ` · ${t("start it first: {command}", { command: hint })}` : ""}`
      : `✕ ${t("the backend could not be reached ({reason})", { reason: error.message })}`;
  }
}

// Where the sensors' usual address isn't ours.
function urlOption() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return location.port === USUAL_PORT ? "" : ` --url ${scheme}://${location.host}/ws/sensor`;
}

function palette() {
  const style = getComputedStyle(document.documentElement);
  const names = ["paper", "band", "grid", "limit", "ink", "faint", "fhr", "toco"];
  names.push(...Object.keys(DISPLAY.event_signs));
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`)]));
}

let [shown_s, turn] = [0, 0];
function frame() {
  setTimeout(() => requestAnimationFrame(frame), FRAME_MS);
  const t_s = now_s();
  if (!changed && t_s - shown_s <= 1) return;
  turn += 1;
  if (overview.busy(STRIPS_AT_ONCE) && turn % SLOW_EVERY) return;
  changed = false;
  shown_s = t_s;
  state.settle(t_s);
  showLink();
  showNotes(); // texts first: they may move the strips
  const scale = DISPLAY.fhr_scales[$("range").value];
  overview.show(t_s, scale, Number($("speed").value), palette());
  const alarms = [...state.sensors.values()].filter((s) => s.alarms.open.length).length;
  document.title = `${alarms ? `⚠ ${alarms} ` : ""}CTGKit`;
}

// A choice that is remembered: texts() gives [value, text] in the chosen language.
function choose(id, texts) {
  const select = $(id);
  const kept = localStorage.getItem(`ctgkit-${id}`);
  const fill = () => {
    const value = select.value || kept;
    select.replaceChildren(...texts().map(([key, text]) => new Option(text, key)));
    if ([...select.options].some((option) => option.value === value)) select.value = value;
  };
  fill();
  select.addEventListener("change", () => {
    localStorage.setItem(`ctgkit-${id}`, select.value);
    touch();
  });
  return fill;
}

const refill = [
  choose("speed", () => DISPLAY.speeds_cm_min.map((n) => [n, t("{n} cm/min", { n })])),
  choose("range", () => DISPLAY.fhr_scales.map(({ lo, hi }, n) => [n, t("{lo}–{hi} bpm", { lo, hi })])),
  choose("layout", () => LAYOUTS.map((layout) => [layout, t(layout)])),
  choose("sort", () => SORTS.map((sort) => [sort, t(sort)])),
];
translate(document);
$("language").value = chosenLanguage();
$("language").addEventListener("change", () => {
  chooseLanguage($("language").value);
  for (const fill of refill) fill();
  $("disclaimer").textContent = t(DISPLAY.disclaimer);
  overview.retranslate();
  touch();
});
$("disclaimer").textContent = t(DISPLAY.disclaimer);
$("start").addEventListener("click", () => order("start"));
$("stop").addEventListener("click", () => order("stop"));
$("filter").addEventListener("input", touch);
$("access").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken($("token").value);
  link.connect();
});
for (const id of ["settings", "ward-tools"]) $(id).open = innerWidth > NARROW_PX;
listenToKeys(overview, touch);
addEventListener("scroll", touch, { passive: true });
new ResizeObserver(touch).observe(document.body);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", touch);
link.connect();
requestAnimationFrame(frame);
