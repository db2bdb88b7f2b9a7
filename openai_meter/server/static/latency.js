// How long calls take, by model.
import { at, h } from "./dom.js";
import { count, label, seconds } from "./format.js";
import { t } from "./i18n.js";

const HEADS = [
  ["dimension.model", ""],
  ["column.calls", "number"],
  ["page.latency.duration_p50", "number"],
  ["page.latency.duration_p95", "number"],
  ["page.latency.first_p50", "number"],
  ["page.latency.first_p95", "number"],
];

function line(row) {
  const first = row.time_to_first_token;
  const values = [row.duration.p50, row.duration.p95, first?.p50 ?? null, first?.p95 ?? null];
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, h("span", { class: "name" }, label(row.name, "model"))),
    h("td", { class: "number" }, count(row.calls)),
    values.map((value) => h("td", { class: "number" }, seconds(value))),
  );
}

/** Shows the percentiles of an overview. */
export function show(overview) {
  at("latency-panel").hidden = !overview.latency.length;
  at("latency").replaceChildren(
    h("caption", { class: "unseen" }, t("page.latency")),
    h("thead", {}, h("tr", {}, HEADS.map(([key, kind]) => h("th", { scope: "col", class: kind }, t(key))))),
    h("tbody", {}, overview.latency.map(line)),
  );
}
