// The list of examinations, with search, and the opening of an old one.
import { askJson } from "./api.js";
import { Card } from "./card.js";
import { LookBack } from "./lookback.js";
import { Sensor } from "./sensor.js";
import { bedText, setText } from "./texts.js";
import { t } from "./words.js";

const $ = (id) => document.getElementById(id);

export class Exams {
  #asked = null; // what the address asked for last; null: something else
  #card = null;
  #searches = 0; // an answer to an older search is not shown
  #oldest = null;
  looking = null;

  constructor(onChange) {
    this.onChange = onChange;
    $("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#list();
    });
    $("query").addEventListener("search", () => this.#list());
    $("more").addEventListener("click", () => this.#list(this.#oldest));
  }

  // Show what stands in the address after #examinations/: nothing, or ID/SENSOR/PLACE; null: leave.
  show(name, scale, speed_cm_min, colours) {
    if (name !== this.#asked) {
      this.#asked = name;
      this.#leave();
      if (name === "") this.#list();
      else if (name !== null) this.#open(...name.split("/"));
    }
    $("exams").hidden = name !== "";
    if (name === "" || !this.#card) return;
    this.#card.showTexts(0);
    this.looking.showTexts();
    this.#card.showStrip(scale, speed_cm_min, colours);
  }

  retranslate() {
    if (this.#asked === "") this.#list();
    this.looking?.retranslate();
  }

  #leave() {
    this.looking?.leave();
    this.looking = this.#card = null;
    $("archive").replaceChildren();
  }

  async #list(before = null) {
    const search = (this.#searches += 1);
    setText($("found"), "…");
    const asked = { search: $("query").value };
    try {
      const { examinations } = await askJson("/api/page/examinations", before ? { ...asked, before } : asked);
      if (search !== this.#searches) return;
      const items = examinations.map((row) => itemOf(row));
      if (before) $("exam-list").append(...items);
      else $("exam-list").replaceChildren(...items);
      this.#oldest = examinations.at(-1)?.id ?? null;
      $("more").hidden = examinations.length < 100;
      const n = $("exam-list").children.length;
      const none = asked.search ? "Nothing was found." : "No examination is stored yet.";
      setText($("found"), n ? t("{n} examinations", { n }) : t(none));
    } catch (error) {
      setText($("found"), `✕ ${error.message}`);
    }
  }

  async #open(id, sensor_id = "", place = null) {
    const asked = this.#asked;
    try {
      const answer = await askJson("/api/page/examinations", { before: Number(id) + 1 || 1 });
      if (asked !== this.#asked) return;
      const row = answer.examinations.find((one) => String(one.id) === id);
      const sensors = row?.sensors ?? [];
      const chosen = sensors.find((s) => s.id === sensor_id) ?? (sensors.length === 1 ? sensors[0] : null);
      if (chosen) this.#look(row, chosen, place);
      else $("archive").replaceChildren(...(row ? choiceOf(row) : [paragraph(t("Nothing was found."))]));
    } catch (error) {
      $("archive").replaceChildren(paragraph(`✕ ${error.message}`));
    }
    this.onChange();
  }

  #look(row, { id, name }, place) {
    const sensor = new Sensor(id);
    sensor.examination = row.id;
    sensor.label = [`№ ${row.id}`, name || id.slice(0, 8), startOf(row)].join(" · ");
    sensor.bed = row.bed;
    this.#card = new Card(sensor, $("sensor"), () => {}, this.onChange);
    this.#card.archived = true;
    $("archive").replaceChildren(this.#card.element);
    this.looking = new LookBack(this.#card, this.onChange, place);
  }
}

function paragraph(text) {
  const element = document.createElement("p");
  element.textContent = text;
  return element;
}

function linkTo(text, ...path) {
  const link = document.createElement("a");
  link.href = `#examinations/${path.map(encodeURIComponent).join("/")}`;
  link.textContent = text;
  return link;
}

// When it began, on this machine's clock, as the language writes it.
function startOf(row) {
  const at = new Date(row.start_time);
  return Number.isNaN(at.getTime())
    ? String(row.start_time ?? "")
    : at.toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
}

function itemOf(row) {
  const item = document.createElement("li");
  const names = row.sensors.map((s) => s.name || s.id.slice(0, 8));
  const who = names.length > 3 ? t("{n} sensors", { n: names.length }) : names.join(", ");
  const parts = [bedText({ bed: row.bed }), who, t(row.state), row.has_notes ? `⚑ ${t("note")}` : ""];
  item.append(linkTo(`№ ${row.id} · ${startOf(row)}`, row.id));
  item.append(document.createTextNode(` ${parts.filter(Boolean).join(" · ")}`));
  return item;
}

function choiceOf(row) {
  const list = document.createElement("ul");
  for (const { id, name } of row.sensors) {
    const item = document.createElement("li");
    item.append(linkTo(name || id, row.id, id));
    list.append(item);
  }
  return [paragraph(`№ ${row.id} · ${startOf(row)} · ${t(row.state)}`), list];
}
