// What should be done: limits that are passed, how far the others are used, and recommendations.
import { at, h } from "./dom.js";
import { brief, label, money, time } from "./format.js";
import { has, locale, t } from "./i18n.js";

const FEW = 3; // recommendations that are seen at once; the others are a click away
const percents = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });
let last = "";

// The messages are written for terminals and begin with a sign; here a mark beside the sentence says the same.
const bare = (text) => text.replace(/^[^\p{L}\p{N}$]+/u, "");

function item(kind, text, when = null) {
  const mark = h("span", { class: "mark", "aria-hidden": "true" }, kind === "alert" ? "!" : "→");
  const at_ = when ? h("time", { datetime: when, class: "muted" }, time(when, "moment")) : null;
  return h("li", { class: kind }, mark, h("span", { class: "text" }, bare(text)), at_);
}

function burn(one) {
  const write = (value) => (one.name === "cost" ? money(value) : brief(Number(value)));
  const part = Number(one.share);
  const key = `page.limit.${one.name}`;
  const name = `${has(key) ? t(key) : one.name}${one.key ? ` · ${label(one.key)}` : ""}`;
  const bar = h("span", { class: one.passed ? "bar over" : part >= 0.8 ? "bar near" : "bar", "aria-hidden": "true" });
  bar.style.setProperty("--part", `${Math.min(100, part * 100)}%`);
  const used = t("page.used", { used: `${write(one.used)}${one.at_least ? "+" : ""}`, limit: write(one.limit), share: percents.format(part) });
  return h("li", {}, h("span", { class: "name" }, name), bar, h("span", { class: "number muted" }, used));
}

function rest(items) {
  const open = at("advice-body").querySelector("details")?.open;
  return h("details", { open }, h("summary", {}, t("page.advice.more", { n: items.length })), h("ul", { class: "advice" }, items));
}

/** Shows alerts and recommendations of an overview, and the limits of the live figures. */
export function show(overview, live) {
  const said = JSON.stringify([overview.alerts, overview.recommendations, live?.thresholds]);
  if (said === last) return;
  last = said;
  const alerts = overview.alerts.map((one) => item("alert", one.message, one.at));
  const advice = overview.recommendations.map((one) => item("hint", one));
  const limits = (live?.thresholds ?? []).map(burn);
  at("advice").classList.toggle("urgent", alerts.length > 0);
  at("advice-body").replaceChildren(
    alerts.length || advice.length
      ? h("ul", { class: "advice" }, alerts, advice.slice(0, FEW))
      : h("p", { class: "muted" }, t("page.advice.none")),
    ...(advice.length > FEW ? [rest(advice.slice(FEW))] : []),
    ...(limits.length ? [h("h3", {}, t("page.limits")), h("ul", { class: "limits" }, limits)] : []),
  );
}
