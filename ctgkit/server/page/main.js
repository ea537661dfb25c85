// The shell: socket, clock, buttons. What is decided stands in state.js, alarms.js, strip.js.
import { ASK_TOKEN } from "./access.js";
import { Card } from "./card.js";
import { DISPLAY } from "./display.js";
import { State, decode } from "./state.js";

const BACKFILL_S = 3600;
const FRAME_MS = 200;

const state = new State();
const cards = new Map();
const $ = (id) => document.getElementById(id);
const now_s = () => performance.now() / 1000;
let token = sessionStorage.getItem("ctgkit-token") ?? "";
let focused = null; // a sensor's id
let changed = true;

function connect() {
  if (ASK_TOKEN && !token) {
    state.lost(4401, "access token required");
    showLink();
    return;
  }
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/ws?backfill=${BACKFILL_S}`);
  socket.addEventListener("open", () => {
    if (token) socket.send(JSON.stringify({ token }));
    state.linked(now_s());
    showLink();
  });
  socket.addEventListener("message", (message) => take(message.data));
  socket.addEventListener("close", ({ code, reason }) => {
    const retry_s = state.lost(code, reason);
    if (retry_s === null) token = "";
    else setTimeout(connect, 1000 * retry_s);
    showLink();
  });
}

function take(text) {
  changed = true;
  let result;
  try {
    result = decode(text);
  } catch (error) {
    state.unreadable += 1;
    console.warn("unreadable result", error);
    return;
  }
  const sensor = state.fold(result, now_s());
  if (sensor && !cards.has(sensor.id)) addCard(sensor);
}

function addCard(sensor) {
  const touch = () => { changed = true; };
  const card = new Card(sensor, $("sensor"), () => focusOn(sensor.id), touch);
  cards.set(sensor.id, card);
  $("sensors").append(card.element);
  $("overview").append(card.button);
  focusOn(focused);
}

function focusOn(id) {
  focused = id;
  changed = true;
  $("sensors").classList.toggle("focused", cards.size === 1 || id !== null);
  $("all").setAttribute("aria-pressed", id === null);
  for (const [other, card] of cards) {
    card.element.hidden = id !== null && other !== id;
    card.button.setAttribute("aria-pressed", other === id);
  }
}

function showLink() {
  const words = {
    connecting: "◌ connecting",
    live: "● live",
    lost: `✕ connection lost (${state.reason}); trying again, attempt ${state.attempts}`,
    refused: `✕ ${state.reason}`,
  };
  $("link").textContent = words[state.link];
  $("link").dataset.link = state.link;
  $("access").hidden = state.link !== "refused";
  changed = true;
}

function showNotes() {
  const notes = [];
  if (!cards.size && state.link === "live") notes.push("No sensor has sent anything yet.");
  if (state.unreadable) notes.push(`${state.unreadable} unreadable results`);
  if (state.beyond) notes.push(`only the first ${DISPLAY.max_sensors} sensors are shown`);
  $("notes").textContent = notes.join(" · ");
}

async function order(verb) {
  $("answer").textContent = "…";
  try {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const response = await fetch(`/api/sensors/${verb}`, { headers });
    const answer = await response.json();
    $("answer").textContent = answer.error ? `✕ ${answer.error}` : answer.message;
  } catch (error) {
    $("answer").textContent = `✕ the backend could not be reached (${error.message})`;
  }
}

function palette() {
  const style = getComputedStyle(document.documentElement);
  const names = ["paper", "band", "grid", "limit", "ink", "faint", "fhr", "toco"];
  names.push(...Object.keys(DISPLAY.event_signs));
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`)]));
}

let shown_s = 0;
function frame() {
  setTimeout(() => requestAnimationFrame(frame), FRAME_MS);
  const t_s = now_s();
  if (changed || t_s - shown_s > 1) {
    changed = false;
    shown_s = t_s;
    state.settle(t_s);
    const scale = DISPLAY.fhr_scales[$("range").value];
    const colours = palette();
    for (const card of cards.values()) card.showTexts(t_s);
    showNotes(); // texts first: they may move the strips
    for (const card of cards.values()) card.showStrip(scale, Number($("speed").value), colours);
    const alarms = [...state.sensors.values()].filter((s) => s.alarms.open.length).length;
    document.title = `${alarms ? `⚠ ${alarms} ` : ""}CTGKit`;
  }
}

function choose(select, texts) {
  select.replaceChildren(...texts.map(([value, text]) => new Option(text, value)));
  select.addEventListener("change", () => { changed = true; });
}

choose($("speed"), DISPLAY.speeds_cm_min.map((speed) => [speed, `${speed} cm/min`]));
choose($("range"), DISPLAY.fhr_scales.map(({ lo, hi }, n) => [n, `${lo}–${hi} bpm`]));
$("disclaimer").textContent = DISPLAY.disclaimer;
$("start").addEventListener("click", () => order("start"));
$("stop").addEventListener("click", () => order("stop"));
$("all").addEventListener("click", () => focusOn(null));
$("access").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value;
  sessionStorage.setItem("ctgkit-token", token);
  connect();
});
addEventListener("scroll", () => { changed = true; }, { passive: true });
new ResizeObserver(() => { changed = true; }).observe(document.body);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { changed = true; });
showLink();
connect();
requestAnimationFrame(frame);
