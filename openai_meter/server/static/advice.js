// Exceeded limits, how much of the other limits is used, and recommendations.
import { at, h, setText } from "./dom.js";
import { UNKNOWN, brief, label, money, percent, time } from "./format.js";
import { has, t } from "./i18n.js";

const NAMES = 3; // models and agents that are named in a line
const open = new Set(); // the kinds whose text is shown
let last = "";

// The messages are written for terminals and begin with a sign; here a mark before the sentence has that meaning.
const bare = (text) => text.replace(/^[^\p{L}\p{N}$]+/u, "");

function alert(one) {
  const mark = h("span", { class: "mark", "aria-hidden": "true" }, "!");
  return h("li", { class: "alert" }, mark, h("span", { class: "text" }, bare(one.message)), h("time", { datetime: one.at, class: "muted" }, time(one.at, "moment")));
}

/** One kind of advice: a line with what to do, for whom, the calls and the saving; it opens to the whole text. */
function hint(line) {
  const key = `page.advice.${line.kind.replace("errors.", "error_")}`;
  const names = [...line.models, ...line.agents].map((name) => label(name));
  const who = names.length > NAMES ? [...names.slice(0, NAMES), t("page.advice.names", { n: names.length - NAMES })] : names;
  const saving = line.saving === null || !Number(line.saving) ? null : t("page.advice.saving", { saving: `${line.estimated ? "~" : ""}${money(line.saving)}` });
  return h(
    "li",
    { class: "hint" },
    h(
      "details",
      { "data-kind": line.kind, open: open.has(line.kind), ontoggle: (event) => open[event.target.open ? "add" : "delete"](line.kind) },
      h(
        "summary",
        {},
        h("span", { class: "text" }, t(has(key) ? key : "page.advice.error_other")),
        h("span", { class: "muted name" }, [t("calls", { n: line.calls }), ...who].join(" · ")),
        saving && h("strong", { class: "number good" }, saving),
      ),
      line.messages.map((message) => h("p", {}, bare(message))),
    ),
  );
}

function burn(one) {
  const write = (value) => (one.name === "cost" ? money(value) : brief(Number(value)));
  const part = Number(one.share);
  const key = `page.limit.${one.name}`;
  const during = `this.${one.window}`; // the name of a window of the calendar; other windows have no words here
  const name = one.budget ? `${label(one.budget)}${one.key ? ` · ${label(one.key)}` : ""}` : `${has(key) ? t(key) : one.name}${has(during) ? ` ${t(during)}` : ""}${one.key ? ` · ${label(one.key)}` : ""}`;
  const bar = h("span", { class: one.passed ? "bar over" : part >= 0.8 ? "bar near" : "bar", "aria-hidden": "true" });
  bar.style.setProperty("--part", `${Math.min(100, part * 100)}%`);
  const nothing = one.at_least && !Number(one.used); // what is unknown is not 0
  const used = t("page.used", { used: nothing ? UNKNOWN : `${write(one.used)}${one.at_least ? "+" : ""}`, limit: write(one.limit), share: percent(part) });
  const turns = one.resets_at ? t("page.limit.resets", { time: time(one.resets_at, "moment") }) : null;
  const full = one.full_at && h("span", { class: "muted full" }, t("page.limit.full", { time: time(one.full_at, "moment") }));
  return h("li", { title: turns }, h("span", { class: "name" }, name), bar, h("span", { class: "number muted" }, used), full);
}

/** Shows alerts and recommendations of an overview, and the limits of the live figures. */
export function show(overview, live) {
  const now = JSON.stringify([overview.alerts, overview.advice, live?.thresholds]);
  if (now === last) return;
  last = now;
  const { lines, since, until } = overview.advice;
  const alerts = overview.alerts.map(alert);
  const advice = lines.map(hint);
  setText(at("advice-period"), advice.length ? t("page.advice.period", { since: time(since, "moment"), until: time(until, "moment") }) : "");
  const limits = (live?.thresholds ?? []).map(burn);
  at("advice").classList.toggle("urgent", alerts.length > 0);
  at("advice-body").replaceChildren(
    ...(limits.length ? [h("h3", {}, t("page.limits")), h("ul", { class: "limits" }, limits)] : []),
    alerts.length || advice.length
      ? h("ul", { class: "advice" }, alerts, advice)
      : h("p", { class: "muted" }, t("page.advice.none")),
  );
}
