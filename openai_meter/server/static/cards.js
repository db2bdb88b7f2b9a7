// The cards.
import { at, h } from "./dom.js";
import { brief, cost, count, money, percent, share, time, tokens } from "./format.js";
import { localized, numbers, t } from "./i18n.js";

/** The change from the previous number; `more` is "bad" if growth is bad. */
function change(now, before, more = "") {
  if (now === null || before === null || before === undefined) return null;
  const [a, b] = [Number(now), Number(before)];
  if (!b) return a ? h("span", { class: `change ${more}` }, t("page.change.new")) : null;
  const part = a / b - 1;
  if (Math.abs(part) < 0.005) return h("span", { class: "change" }, t("page.change.same"));
  const up = part > 0;
  const size = part > 9.99 ? `×${count(a / b)}` : percent(Math.abs(part));
  const kind = more && (up ? "bad" : "good");
  return h(
    "span",
    { class: `change ${kind}`, title: t("page.change.title") },
    h("span", { "aria-hidden": "true" }, up ? "▲ " : "▼ "),
    h("span", { class: "unseen" }, `${t(up ? "page.change.up" : "page.change.down")} `),
    size,
  );
}

function card(name, value, { exact = null, delta = null, note = null, kind = "" } = {}) {
  return h(
    "div",
    { class: `card ${kind}` },
    h("dt", {}, name),
    h("dd", { class: "figure" }, h("span", { class: "value", title: exact }, value), delta),
    h("dd", { class: "note" }, note ?? ""),
  );
}

function outlook(forecast) {
  if (!forecast || forecast.cost === null) return t("page.forecast.none");
  const end = t("page.forecast", { cost: money(forecast.cost) });
  if (forecast.low === null || forecast.low === undefined) return end;
  return `${end} ${t("page.forecast.range", { low: money(forecast.low), high: money(forecast.high) })}`;
}

const exactly = (totals) => (totals.cost === null ? null : numbers.money.replace("{}", localized(totals.cost)));
const calls = (totals) => t("calls", { n: totals.calls });

const name = ({ period, since, until }) =>
  period === "custom" && since ? `${time(since, "day")} – ${time(Date.parse(until) - 1, "day")}` : t(`page.period.${period}`);

/** Shows the cards of an overview, and the live figures. */
export function show(overview, live) {
  const { today, month, period, previous } = overview.cards;
  const before = previous ?? {};
  const now = live?.minute;
  at("cards").replaceChildren(
    card(t("page.card.today"), cost(today), { exact: exactly(today), note: calls(today), kind: "main" }),
    card(t("page.card.month"), cost(month), { exact: exactly(month), note: outlook(overview.forecast), kind: "main" }),
    card(t("page.card.period", { period: name(overview) }), cost(period), {
      exact: exactly(period),
      delta: change(period.cost, before.cost, "bad"),
      note: previous ? t("page.before", { what: cost(previous) }) : t("page.before.none"),
    }),
    card(t("page.card.now"), now ? t("page.per_minute", { what: money(now.cost) }) : "–", {
      note: now ? t("page.now", { tokens: brief(now.tokens), calls: brief(now.calls) }) : "",
    }),
    card(t("column.calls"), count(period.calls), {
      delta: change(period.calls, before.calls),
      note: previous ? t("page.before", { what: count(previous.calls) }) : "",
    }),
    card(t("page.card.tokens"), tokens(period.total_tokens, period, brief), {
      exact: tokens(period.total_tokens, period),
      delta: change(period.total_tokens, before.total_tokens),
      note: t("page.in_out", { input: brief(period.input_tokens), output: brief(period.output_tokens) }),
    }),
    card(t("page.card.cache"), share(period.cached_input_tokens, period.input_tokens), {
      note: t("page.card.cache.note"),
    }),
    card(t("column.errors"), count(period.errors), {
      delta: change(period.errors, before.errors, "bad"),
      note: t("page.of_calls", { share: share(period.errors, period.calls) }),
      kind: period.errors ? "failing" : "",
    }),
  );
}
