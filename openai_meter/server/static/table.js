// The table by group, with sorting, search and download.
import { save } from "./csv.js";
import { at, h, setText } from "./dom.js";
import { UNKNOWN, columnPlaces, cost, count, label, others, share, tokens } from "./format.js";
import { lang, t } from "./i18n.js";
import { change, filter, state } from "./state.js";

const FEW = 20;
let rows = [];
let group = "model";
let all = false;
let places = 2; // the decimals of all amounts of the table

const named = (row) => (row.other ? others(group) : label(row.name, group));
const input = (row) => tokens(row.input_tokens, row);
const output = (row) => tokens(row.output_tokens, row);
const total = (row) => tokens(row.total_tokens, row);
const cached = (row) => (row.input_tokens ? row.cached_input_tokens / row.input_tokens : null);

// A column: its key in the address, its heading, what it is sorted by, what it shows, and whether phones do without it.
const COLUMNS = [
  { key: "name", head: () => t(`dimension.${group}`), by: (row) => named(row) },
  { key: "calls", head: () => t("column.calls"), by: (row) => row.calls, show: (row) => count(row.calls) },
  { key: "errors", head: () => t("column.errors"), by: (row) => row.errors, show: (row) => count(row.errors), wide: true },
  { key: "input", head: () => t("column.input"), by: (row) => row.input_tokens, show: input, wide: true },
  { key: "cached", head: () => t("column.cached"), by: cached, show: (row) => share(row.cached_input_tokens, row.input_tokens), wide: true },
  { key: "output", head: () => t("column.output"), by: (row) => row.output_tokens, show: output, wide: true },
  { key: "tokens", head: () => t("page.metric.tokens"), by: (row) => row.total_tokens, show: total, wide: true },
  { key: "cost", head: () => t("column.cost"), by: (row) => (row.cost === null ? null : Number(row.cost)), show: (row) => cost(row, places) },
  { key: "share", head: () => t("page.share"), by: (row) => (row.cost === null ? null : Number(row.cost)), wide: true },
];

const sorting = () => {
  const down = state.sort.startsWith("-");
  const column = COLUMNS.find((one) => one.key === state.sort.replace(/^-/, ""));
  return { column: column ?? COLUMNS.find((one) => one.key === "cost"), down: column ? down : true };
};

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null); // what is unknown comes last, either way
  return typeof a === "string" ? a.localeCompare(b, lang, { numeric: true }) : a - b;
}

function chosen() {
  const wanted = state.q.trim().toLocaleLowerCase(lang);
  const { column, down } = sorting();
  const found = rows.filter((row) => named(row).toLocaleLowerCase(lang).includes(wanted));
  const value = new Map(found.map((row) => [row, column.by(row)]));
  return found.sort((a, b) => {
    const [x, y] = [value.get(a), value.get(b)];
    return x === null || y === null || !down ? compare(x, y) : -compare(x, y);
  });
}

function sort(column) {
  const now = sorting();
  const down = now.column === column ? !now.down : column.key !== "name";
  change({ sort: `${down ? "-" : ""}${column.key}` });
}

function heads() {
  return COLUMNS.map((column) =>
    h(
      "th",
      { scope: "col", class: `${column.key === "name" ? "" : "number"} ${column.wide ? "wide" : ""}` },
      h("button", { type: "button", class: "quiet", onclick: () => sort(column) }, h("span", {}), h("i", { "aria-hidden": "true" })),
    ),
  );
}

function frame() {
  const table = at("table");
  if (!table.tHead) {
    table.append(
      h("caption", { class: "unseen" }),
      h("thead", {}, h("tr", {}, heads())),
      h("tbody"),
      h("tfoot"),
    );
  }
  const now = sorting();
  [...table.tHead.rows[0].cells].forEach((cell, place) => {
    const column = COLUMNS[place];
    const way = now.down ? "descending" : "ascending";
    if (column === now.column) cell.setAttribute("aria-sort", way);
    else cell.removeAttribute("aria-sort");
    setText(cell.querySelector("span"), column.head());
  });
  setText(table.caption, at("table-title").textContent);
}

/** The name of a row as a button that filters the page by it. Rows of others and of several tags cannot be a filter. */
function nameCell(row) {
  const name = h("span", { class: "name" }, named(row));
  if (row.other || group === "tag") return name;
  const title = t("page.filter", { name: named(row) });
  return h("button", { type: "button", class: "quiet filter", title, onclick: () => filter(group, row.name ?? "") }, name);
}

function line(row, whole) {
  const part = row.cost === null || !whole ? 0 : Number(row.cost) / whole;
  const bar = h("span", { class: "bar", "aria-hidden": "true" });
  bar.style.setProperty("--part", `${Math.min(100, part * 100)}%`);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, nameCell(row)),
    COLUMNS.slice(1, -1).map((column) => {
      const failing = column.key === "errors" && row.errors ? "bad" : "";
      return h("td", { class: `number ${column.wide ? "wide" : ""} ${failing}` }, column.show(row));
    }),
    h("td", { class: "number wide part" }, bar, h("span", {}, cost(row) === UNKNOWN ? UNKNOWN : share(Number(row.cost), whole))),
  );
}

/** Shows the rows of an overview, or the same again after another choice. */
export function show(overview = null) {
  if (overview) {
    rows = overview.rows;
    group = overview.group;
  }
  setText(at("table-title"), t("page.table", { group: t(`by.${group}`) }));
  frame();
  const found = chosen();
  const shown = all ? found : found.slice(0, FEW);
  places = columnPlaces(found.map((row) => row.cost));
  const whole = rows.reduce((sum, row) => sum + Number(row.cost ?? 0), 0);
  const table = at("table");
  table.tBodies[0].replaceChildren(...shown.map((row) => line(row, whole)));
  table.tFoot.replaceChildren(...foot(found, whole));
  at("table-note").hidden = found.length > 0;
  setText(at("table-note"), t(rows.length ? "page.nothing_found" : "page.nothing"));
  at("table-more").hidden = found.length === shown.length;
  setText(at("table-more"), t("page.all_rows", { n: found.length }));
  at("download").disabled = !found.length;
}

function foot(found, whole) {
  if (found.length < 2) return [];
  const sum = (name) => found.reduce((all_, row) => all_ + Number(row[name] ?? 0), 0);
  const names = ["calls", "errors", "input_tokens", "cached_input_tokens", "output_tokens", "total_tokens"];
  const more = ["estimated_cost", "estimated_calls", "unpriced_calls", "unmeasured_calls", "cost"];
  const totals = Object.fromEntries([...names, ...more].map((name) => [name, sum(name)]));
  if (found.every((row) => row.cost === null)) totals.cost = null;
  const cells = COLUMNS.slice(1, -1).map((column) =>
    h("td", { class: `number ${column.wide ? "wide" : ""}` }, column.show(totals)),
  );
  const last = h("td", { class: "number wide" }, totals.cost === null ? UNKNOWN : share(totals.cost, whole));
  return [h("tr", {}, h("th", { scope: "row" }, t("table.total")), cells, last)];
}

function download() {
  const names = ["calls", "errors", "input_tokens", "cached_input_tokens", "output_tokens", "total_tokens"];
  const lines = chosen().map((row) => [row.name ?? named(row), ...names.map((name) => row[name]), row.cost]);
  save(`openai-usage-${state.group}-${state.period}.csv`, [[group, ...names, "cost"], ...lines]);
}

/** Listens to the buttons of the table. */
export function start() {
  at("download").addEventListener("click", download);
  at("table-more").addEventListener("click", () => {
    all = true;
    show();
  });
}
