// The ward on the page: tiles or strips, one patient in detail, as the address says.
import { Card } from "./card.js";
import { Exams } from "./exams.js";
import { LookBack } from "./lookback.js";
import { Tile } from "./tile.js";
import { asTiles, chosen, grid } from "./ward.js";
import { t, translate } from "./words.js";

const $ = (id) => document.getElementById(id);
const PAGE_BOTTOM_PX = 8;
const ABSENT_MAX = 20;

export class Overview {
  #tiles = new Map();
  #cards = new Map();
  #looking = null; // at one patient, back in time
  #order = "";

  constructor(state, onChange) {
    this.state = state;
    this.onChange = onChange;
    this.exams = new Exams(onChange);
    this.empty = false;
    const one = new URLSearchParams(location.search).get("sensor");
    if (one && !location.hash) history.replaceState(null, "", `#sensor/${encodeURIComponent(one)}`);
    addEventListener("hashchange", () => this.route());
  }

  // What the address asks for: {kind, name} with "ward", "bed", "sensor" or "examinations".
  get place() {
    const [kind, ...rest] = location.hash.slice(1).split("/");
    const name = rest.map(decoded).join("/");
    return ["bed", "sensor", "examinations"].includes(kind) ? { kind, name } : { kind: "ward", name: "" };
  }

  get looking() {
    return this.#looking ?? this.exams.looking;
  }

  // Whether so many strips are on the page that each can't be drawn at every frame.
  busy(strips) {
    return [...this.#cards.values()].filter((card) => !card.element.hidden).length > strips;
  }

  route() {
    this.#order = "";
    this.onChange();
  }

  retranslate() {
    for (const card of this.#cards.values()) translate(card.element);
    this.#looking?.retranslate();
    this.exams.retranslate();
  }

  back() {
    location.hash = "";
  }

  show(now_s, scale, speed_cm_min, colours) {
    const { kind, name } = this.place;
    const all = [...this.state.sensors.values()];
    const detail = kind === "sensor" || kind === "bed";
    const shown = kind === "examinations" ? [] : detail
      ? all.filter((s) => (kind === "bed" ? s.bed === name : s.id === name.toLowerCase()))
      : chosen(all, $("filter").value, $("sort").value);
    this.empty = !shown.length && all.length > 0 && kind !== "examinations";
    const tiles = !detail && asTiles($("layout").value, shown.length);
    document.body.dataset.view = detail ? "detail" : kind;
    for (const [id, here] of [["to-ward", kind === "ward"], ["to-exams", kind === "examinations"]]) {
      if (here) $(id).setAttribute("aria-current", "page");
      else $(id).removeAttribute("aria-current");
    }
    if (kind === "sensor" && !shown.length && this.state.ward.has(name)) this.state.sensor(name);
    this.#showAbsent(kind === "ward");
    this.exams.show(kind === "examinations" ? name : null, scale, speed_cm_min, colours);
    $("archive").hidden = kind !== "examinations";
    this.#mount(shown, tiles, detail || shown.length === 1);
    if (tiles) this.#fit(shown);
    for (const sensor of shown) {
      if (tiles) this.#tiles.get(sensor.id).showTexts(now_s);
      else this.#cards.get(sensor.id).showTexts(now_s);
    }
    this.#looking?.showTexts();
    for (const sensor of shown) {
      if (tiles) this.#tiles.get(sensor.id).showTrend(now_s, scale, colours);
      else this.#cards.get(sensor.id).showStrip(scale, speed_cm_min, colours);
    }
  }

  // Put the elements of those who are shown into the document, in their order; keep the focus.
  #mount(shown, tiles, focused) {
    const order = `${tiles} ${focused} ${shown.map((s) => s.id).join()}`;
    if (order === this.#order) return;
    this.#order = order;
    const held = document.activeElement;
    $("tiles").hidden = !tiles;
    $("sensors").hidden = tiles;
    $("sensors").classList.toggle("focused", focused);
    const elements = shown.map((s) => (tiles ? this.#tile(s) : this.#card(s)).element);
    (tiles ? $("tiles") : $("sensors")).replaceChildren(...elements);
    for (const card of this.#cards.values()) card.element.hidden = tiles || !shown.includes(card.sensor);
    this.#lookAt(!tiles && shown.length === 1 ? this.#cards.get(shown[0].id) : null);
    if (held?.isConnected && held !== document.activeElement) held.focus();
  }

  // Sensors that could be started: they lead to their own place, where that is done.
  #showAbsent(inWard) {
    const absent = [...this.state.ward.values()].filter((s) => s.control && !this.state.sensors.has(s.id));
    const shown = inWard && !this.state.loading ? absent.slice(0, ABSENT_MAX) : [];
    const look = `${document.documentElement.lang} ${shown.map((s) => s.id).join()}`;
    if ($("absent").dataset.look === look) return;
    $("absent").dataset.look = look;
    $("absent").hidden = !shown.length;
    const links = shown.flatMap((s) => {
      const link = document.createElement("a");
      link.href = `#sensor/${encodeURIComponent(s.id)}`;
      link.textContent = s.name || s.id.slice(0, 8);
      return [" ", link];
    });
    $("absent").replaceChildren(t("Not connected:"), ...links);
  }

  #lookAt(card) {
    if (this.#looking?.card === card) return;
    this.#looking?.leave();
    this.#looking = card && new LookBack(card, this.onChange);
  }

  #tile(sensor) {
    if (!this.#tiles.has(sensor.id)) {
      this.#tiles.set(sensor.id, new Tile(sensor, $("tile"), () => open(sensor)));
    }
    return this.#tiles.get(sensor.id);
  }

  #card(sensor) {
    if (!this.#cards.has(sensor.id)) {
      this.#cards.set(sensor.id, new Card(sensor, $("sensor"), () => open(sensor), this.onChange));
    }
    return this.#cards.get(sensor.id);
  }

  #fit(shown) {
    const list = $("tiles");
    const alarmed = shown.filter((s) => s.alarms.open.length).length;
    const height_px = innerHeight - list.getBoundingClientRect().top - scrollY - PAGE_BOTTOM_PX - $("absent").offsetHeight;
    const fit = grid(shown.length, alarmed, list.clientWidth, height_px);
    const look = `${fit.columns} ${Math.floor(fit.height_px)}`;
    if (list.dataset.fit !== look) {
      list.dataset.fit = look;
      list.style.setProperty("--columns", fit.columns);
      list.style.setProperty("--tile-height", `${Math.floor(fit.height_px)}px`);
    }
    list.classList.toggle("large", fit.large);
  }
}

function open(sensor) {
  location.hash = `sensor/${encodeURIComponent(sensor.id)}`;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
