// The page's words: English is the key, Russian stands in words-ru.js. Numbers go into {braces}.
import { RUSSIAN } from "./words-ru.js";

const LANGUAGES = ["en", "ru"];
const asked = (navigator.languages ?? [navigator.language]).map((l) => l.slice(0, 2).toLowerCase());
let language = localStorage.getItem("ctgkit-language") ?? asked.find((l) => LANGUAGES.includes(l));
if (!LANGUAGES.includes(language)) language = "en";

export const chosenLanguage = () => language;

// Return a text in the chosen language; where it has plural forms, n chooses one.
export function t(english, parameters = {}) {
  let text = language === "ru" ? RUSSIAN[english] ?? english : ENGLISH[english] ?? english;
  if (typeof text === "object") {
    text = text[new Intl.PluralRules(language).select(parameters.n)] ?? text.other;
  }
  return text.replace(/\{(\w+)\}/g, (_, name) => String(parameters[name]));
}

const ENGLISH = {
  "{n} contractions/10 min": { one: "{n} contraction/10 min", other: "{n} contractions/10 min" },
  "{n} sensors": { one: "{n} sensor", other: "{n} sensors" },
  "{n} examinations": { one: "{n} examination", other: "{n} examinations" },
  "{n} unreadable results": { one: "{n} unreadable result", other: "{n} unreadable results" },
};

export function chooseLanguage(chosen) {
  language = chosen;
  localStorage.setItem("ctgkit-language", chosen);
  translate(document);
}

// Put the words into the document's own elements.
export function translate(root) {
  document.documentElement.lang = language;
  for (const element of root.querySelectorAll("[data-t]")) {
    element.textContent = t(element.dataset.t);
  }
  for (const element of root.querySelectorAll("[data-aria]")) {
    element.setAttribute("aria-label", t(element.dataset.aria));
  }
}
