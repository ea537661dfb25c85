// The keyboard: keys that work everywhere on the page, and the list of all.
import { t } from "./words.js";

const $ = (id) => document.getElementById(id);

const HELP = [
  ["← →", "scroll"], ["+ −", "zoom"], ["Home End", "beginning and end"],
  ["P N", "event before, event after"], ["M", "add a note at the cursor"],
  ["A", "acknowledge the alarms"], ["Esc", "back"], ["/", "filter"], ["F", "full screen"],
  ["W", "wall mode"], ["?", "this help"],
];

export function listenToKeys(overview, touch) {
  const wall = (on = !document.body.classList.contains("wall")) => {
    document.body.classList.toggle("wall", on);
    touch();
  };
  const full = () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen().catch(() => {}); // the browser may refuse
  };
  const help = () => {
    const texts = HELP.flatMap(([keys, what]) => [["dt", keys], ["dd", t(what)]]);
    texts.push(["dd", t("On the strip: wheel, drag or swipe scrolls, Ctrl and wheel or two fingers zoom.")]);
    $("key-list").replaceChildren(...texts.map(([name, text]) => {
      const element = document.createElement(name);
      element.textContent = text;
      return element;
    }));
    if (!$("keys").open) $("keys").showModal();
  };
  const does = {
    "/": () => $("filter").focus(),
    "?": help,
    f: full,
    w: () => wall(),
    Escape: () => {
      if (document.body.classList.contains("wall")) wall(false);
      else if (location.hash) overview.back();
    },
  };
  addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea, dialog");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing) {
      if (event.key === "Escape") event.target.blur?.();
      return;
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = does[key] ?? overview.looking?.key(key);
    if (!action) return;
    event.preventDefault();
    action();
    touch();
  });
  $("help").addEventListener("click", help);
  $("full").addEventListener("click", full);
  $("wall").addEventListener("click", () => wall());
}
