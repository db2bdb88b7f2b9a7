// The newest calls, each with its bill on demand.
import { Refused, get } from "./api.js";
import { at, h, setText } from "./dom.js";
import { UNKNOWN, count, label, money, seconds, time, today } from "./format.js";
import { has, t } from "./i18n.js";
import { filterQuery } from "./state.js";

const PAGE = 12;
const WIDTH = 7;
const lines = new Map(); // by the id of a call, so that a row that stays keeps its focus and its open bill
let older = null;
let first = true;

const HEADS = [
  ["page.time", ""],
  ["dimension.model", ""],
  ["page.who", "wide"],
  ["page.status", "wide"],
  ["page.metric.tokens", "number wide"],
  ["page.duration", "number wide"],
  ["column.cost", "number"],
];

function amount(call) {
  if (call.cost === null || (failed(call) && !Number(call.cost))) return UNKNOWN;
  return `${call.cost_estimated ? "~" : ""}${money(call.cost)}${call.cost_status === "partial" ? "+" : ""}`;
}

function used(call) {
  const total = call.usage.total_tokens;
  if (total === null || total === undefined) return UNKNOWN;
  return `${call.usage_source === "tiktoken" || call.usage_source === "chars" ? "~" : ""}${count(total)}`;
}

const who = (call) => [call.agent, call.operation, call.user].filter((one) => one).map((one) => label(one)).join(" · ");
const failed = (call) => call.status === "error" || call.status === "failed";

function status(call) {
  const text = t(`page.status.${call.status}`);
  return call.error_type ? `${text}: ${label(call.error_type)}` : text;
}

function bill(answer) {
  const places = Math.min(20, Math.max(2, ...answer.lines.map((line) => (line.usd.split(".")[1] ?? "").length)));
  const row = (line) => {
    const price = line.unit_usd;
    const unit = line.unit ?? "unit";
    const quantity = line.quantity === null || line.quantity === undefined ? "" : t(`unit.${unit}`, { n: Number(line.quantity), text: count(Number(line.quantity)) });
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, item(line.item)),
      h("td", { class: "number" }, quantity),
      h("td", { class: "number" }, price === null || price === undefined ? "" : each(price, unit)),
      h("td", { class: "number" }, `${line.estimated ? "~" : ""}${money(line.usd, places)}`),
    );
  };
  const heads = ["bill.item", "bill.quantity", "bill.unit_price", "bill.amount"];
  return h(
    "table",
    { class: "bill" },
    h("caption", {}, t("bill.title")),
    h("thead", {}, h("tr", {}, heads.map((key, place) => h("th", { scope: "col", class: place ? "number" : "" }, t(key))))),
    h("tbody", {}, answer.lines.map(row)),
    h("tfoot", {}, h("tr", {}, h("th", { scope: "row" }, t("table.total")), h("td"), h("td"), h("td", { class: "number" }, sum(answer, places)))),
  );
}

const sum = (answer, places) => `${answer.estimated ? "~" : ""}${money(answer.cost, places)}`;

const itemKey = (name) => `page.item.${name.replaceAll(" ", "_")}`;
const item = (name) => (has(itemKey(name)) ? t(itemKey(name)) : label(name.replaceAll("_", " ")));
const each = (price, unit) =>
  unit === "token" ? t("page.per_million", { price: money(Number(price) * 1e6) }) : money(price);

function facts(call) {
  const found = [
    ["page.status", status(call)],
    ["page.duration", seconds(call.duration)],
    ["page.metric.tokens", used(call)],
    ["page.first_token", call.time_to_first_token === null ? null : seconds(call.time_to_first_token)],
    ["dimension.endpoint", call.endpoint],
    ["dimension.provider", call.provider],
    ["prices.tier", call.service_tier],
    ["dimension.agent", call.agent],
    ["dimension.operation", call.operation],
    ["dimension.user", call.user],
    ["dimension.session", call.session],
    ["dimension.tag", Object.entries(call.tags).map(([name, value]) => `${name}=${value}`).join(", ")],
    ["dimension.organization", call.organization],
    ["dimension.project", call.project],
    ["page.request_id", call.request_id],
    ["prices.source", call.price_source],
    ["page.why_unpriced", call.cost_status === "priced" || call.cost_status === "free" ? null : reason(call)],
  ];
  const shown = found.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, shown.map(([key, value]) => h("div", {}, h("dt", {}, t(key)), h("dd", {}, label(value)))));
}

function reason(call) {
  if (!call.cost_reason) return null;
  return call.cost_reason
    .split("; ")
    .map((part) => {
      const [code, what = ""] = part.split(": ", 2);
      const key = `reason.${code.replaceAll(" ", "_")}`;
      return has(key) ? t(key, { what: has(itemKey(what)) ? item(what) : what }) : part;
    })
    .join(t("separator"));
}

async function explain(call, cell) {
  cell.replaceChildren(facts(call), h("p", { class: "muted" }, t("page.loading")));
  let more;
  try {
    const answer = await get(`api/explain/${encodeURIComponent(call.id)}`);
    more = answer.lines.length ? [bill(answer)] : [h("p", { class: "muted" }, t("page.no_bill"))];
    if (answer.lines.length && !answer.explained) more.push(h("p", { class: "muted" }, t("page.other_prices")));
  } catch (error) {
    more = [h("p", { class: "muted" }, error instanceof Refused ? error.message : t("page.unreachable"))];
  }
  cell.replaceChildren(facts(call), ...more);
}

function entry(call) {
  const detail = h("tr", { id: `bill-${call.id}`, class: "detail", hidden: true }, h("td", { colspan: WIDTH + 1 }));
  const toggle = h(
    "button",
    { type: "button", class: "quiet icon", "aria-expanded": "false", "aria-controls": `bill-${call.id}` },
    h("span", { class: "unseen" }, t("page.explain", { model: label(call.model, "model") })),
    h("i", { "aria-hidden": "true" }),
  );
  toggle.addEventListener("click", () => {
    detail.hidden = !detail.hidden;
    toggle.setAttribute("aria-expanded", String(!detail.hidden));
    if (!detail.hidden) explain(call, detail.cells[0]);
  });
  const row = h(
    "tr",
    { class: failed(call) ? "failed" : "" },
    h("td", { class: "number time" }, h("time", { datetime: call.started_at, title: time(call.started_at, "full") }, time(call.started_at, today(call.started_at) ? "clock" : "moment"))),
    h("th", { scope: "row" }, h("span", { class: "name" }, label(call.model, "model")), failed(call) ? h("span", { class: "badge narrow" }, t(`page.status.${call.status}`)) : null),
    h("td", { class: "wide" }, h("span", { class: "name" }, who(call))),
    h("td", { class: "wide" }, h("span", { class: `badge ${call.status}` }, status(call))),
    h("td", { class: "number wide" }, used(call)),
    h("td", { class: "number wide" }, seconds(call.duration)),
    h("td", { class: "number" }, amount(call)),
    h("td", { class: "toggle" }, toggle),
  );
  return { row, detail, text: JSON.stringify([call.cost, call.status, call.usage]) };
}

function frame() {
  const heads = HEADS.map(([key, kind]) => h("th", { scope: "col", class: kind }, t(key)));
  const last = h("th", { scope: "col" }, h("span", { class: "unseen" }, t("page.explain.head")));
  at("calls").append(
    h("caption", { class: "unseen" }, t("page.recent")),
    h("thead", {}, h("tr", {}, heads, last)),
    h("tbody"),
  );
}

function put(calls, { atEnd }) {
  const body = at("calls").tBodies[0];
  let place = atEnd ? null : body.firstChild;
  for (const call of calls) {
    const known = lines.get(call.id);
    const made = entry(call);
    if (known && known.text === made.text) {
      place = known.detail.nextSibling;
      continue;
    }
    if (known) {
      known.row.replaceWith(made.row);
      if (!known.detail.hidden) made.row.querySelector("button").click();
      known.detail.replaceWith(made.detail);
      place = made.detail.nextSibling;
    } else {
      if (!first && !atEnd) made.row.classList.add("new");
      body.insertBefore(made.row, place);
      body.insertBefore(made.detail, place);
    }
    lines.set(call.id, made);
  }
}

function forget() {
  lines.clear();
  at("calls").tBodies[0].replaceChildren();
  first = true;
}

const query = () => ({ limit: PAGE, status: at("only-errors").checked ? ["error", "failed"] : [], ...filterQuery() });

/** Reads the newest calls, and puts the new ones above the others. */
export async function load({ fresh = false } = {}) {
  const answer = await get("api/calls", query());
  if (fresh || !answer.calls.length || !answer.calls.some((call) => lines.has(call.id))) forget();
  if (first) older = answer.next;
  put(answer.calls, { atEnd: first });
  first = false;
  at("calls-more").hidden = older === null;
  at("calls-note").hidden = lines.size > 0;
  at("calls").hidden = !lines.size;
}

async function more() {
  const answer = await get("api/calls", { ...query(), cursor: older });
  put(answer.calls, { atEnd: true });
  older = answer.next;
  at("calls-more").hidden = older === null;
}

/** Whether there may be calls to show, of any time. */
export const any = () => lines.size > 0 || at("only-errors").checked || Object.keys(filterQuery()).length > 0;

/** Makes the table and listens to its controls; `guard` runs work that may fail. */
export function start(guard) {
  frame();
  at("calls-more").addEventListener("click", () => guard(more));
  at("only-errors").addEventListener("change", () => guard(() => load({ fresh: true })));
  setText(at("calls-note"), t("page.no_calls"));
}
