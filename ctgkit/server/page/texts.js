// What is said of a sensor, in words. No DOM.
import { DISPLAY } from "./display.js";
import { clock } from "./strip.js";
import { t } from "./words.js";

const STATUSES = new Map([["ok", "no prediction yet"], ["error", "no analyzer"]]);

// What the analyzer says of a sensor, or why it doesn't, as {sign, text, colour}.
export function verdict(sensor, now_s) {
  if (!sensor.filled && sensor.received_s === -Infinity) {
    return { sign: "◌", text: t("loading the past"), colour: "faint" };
  }
  if (sensor.received_s === -Infinity && !sensor.t_s.length) {
    return { sign: "○", text: t("not connected"), colour: "faint" };
  }
  if (sensor.isSilent(now_s)) {
    const text = t("silent for {time}", { time: span(now_s - sensor.received_s) });
    return { sign: DISPLAY.status_signs.error, text, colour: "critical" };
  }
  const known = Object.hasOwn(DISPLAY.status_signs, sensor.status);
  const status = sensor.status || "ok"; // nothing came yet but the past
  const sign = DISPLAY.status_signs[known ? status : sensor.status ? "error" : "ok"];
  const colour = known && status !== "error" ? status : sensor.status ? "critical" : "ok";
  const said = sensor.prediction;
  if (!said) return { sign, text: t(STATUSES.get(status) ?? status), colour };
  const risk = said.risk === "critical" ? "risk critical" : said.risk;
  const word = t(risk) === risk ? said.risk : t(risk);
  const parts = [t(status), t("risk {risk} {percent}", { risk: word, percent: percent(said.probability) })];
  if (said.confidence !== null) {
    parts.push(t("confidence {percent}", { percent: percent(said.confidence) }));
  }
  if (sensor.figo) parts.push(`FIGO ${sensor.figo}`);
  return { sign, text: parts.join(" · "), colour };
}

// The same in a few letters.
export function brief(sensor, now_s) {
  const open = sensor.alarms.open;
  if (open.length) return `⚠ ${t(DISPLAY.alarms[open[0].kind].text)}`;
  const said = verdict(sensor, now_s);
  const known = sensor.filled && !sensor.isSilent(now_s);
  const share = sensor.prediction ? ` ${percent(sensor.prediction.probability)}` : "";
  return `${said.sign} ${known ? t(sensor.status || "ok") + share : said.text}`;
}

export function qualityText(sensor) {
  const share = sensor.quality();
  if (Number.isNaN(share)) return "";
  const poor = share < DISPLAY.poor_signal_share ? `▲ ${t("poor signal")}` : t("signal");
  const parts = [`${poor} ${percent(share)}`];
  const contractions = sensor.contractions();
  if (contractions !== null) parts.push(t("{n} contractions/10 min", { n: contractions }));
  if (sensor.baseline_bpm !== null) {
    parts.push(t("baseline {n}", { n: sensor.baseline_bpm.toFixed(0) }));
  }
  return parts.join(" · ");
}

export function alarmText(sensor) {
  const open = sensor.alarms.open;
  const texts = (open.length ? open : sensor.alarms.all).map((alarm) => {
    const over = alarm.active ? "" : ` ${t("(over)")}`;
    return `${t(DISPLAY.alarms[alarm.kind].text)}${over} ${t("since")} ${clock(alarm.since_s, true)}`;
  });
  if (!texts.length) return "";
  return (open.length ? "⚠ " : `${t("acknowledged")}: `) + texts.join(" · ");
}

export function bedText(sensor) {
  return sensor.bed && sensor.bed !== "default" ? t("bed {bed}", { bed: sensor.bed }) : "";
}

export function figure(value) {
  return Number.isNaN(value ?? NaN) ? "---" : value.toFixed(0);
}

// How long something lasts: seconds below a minute, then h:mm:ss.
export function span(seconds) {
  return seconds < 60 ? t("{n} s", { n: Math.floor(seconds) }) : clock(seconds, true);
}

function percent(share) {
  return `${Math.round(100 * share)}%`;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
