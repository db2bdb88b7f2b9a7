// Numbers, money, times and names as people read them. "–" is unknown or nothing, "~" contains estimates, "+" is a
// lower bound.
import { has, lang, locale, t } from "./i18n.js";

const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 });
const one = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
const percents = new Intl.NumberFormat(locale, { style: "percent", ...one });
export const UNKNOWN = "–";

export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** A count. */
export const count = (value) => (value === null || value === undefined ? UNKNOWN : whole.format(value));

/** A count in few characters: 1.2M. */
export const brief = (value) => (value === null || value === undefined ? UNKNOWN : short.format(value));

/** A part of a whole; nothing of nothing is "–". */
export const share = (part, of) => (of ? percents.format(part / of) : "–");

const DOLLARS = { style: "currency", currency: "USD", currencyDisplay: "narrowSymbol" };
const moneys = new Map();

/** US dollars: two decimals from one dollar up, below that three digits that mean something. */
export function money(value) {
  if (value === null || value === undefined) return UNKNOWN;
  const amount = Number(value);
  const size = Math.abs(amount);
  const digits = size >= 1 || size === 0 ? 2 : Math.min(12, 2 - Math.floor(Math.log10(size)));
  if (!moneys.has(digits)) {
    const places = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    moneys.set(digits, new Intl.NumberFormat(locale, { ...DOLLARS, ...places }));
  }
  return moneys.get(digits).format(amount);
}

/** Whether all calls of some totals failed and cost nothing: such totals have no cost, which is not a cost of $0. */
const allFailed = (totals) => totals.errors > 0 && totals.errors === totals.calls && !Number(totals.cost);

/** The cost of some totals, with its marks. */
export function cost(totals) {
  if (totals.cost === null || totals.cost === undefined || allFailed(totals)) return UNKNOWN;
  const about = Number(totals.estimated_cost) > 0 ? "~" : "";
  return `${about}${money(totals.cost)}${totals.unpriced_calls ? "+" : ""}`;
}

/** The settings with which plotly writes numbers like the rest of the page. */
export function notation(dollars) {
  const parts = new Intl.NumberFormat(locale, DOLLARS).formatToParts(1234567.5);
  const part = (type) => parts.find((part) => part.type === type)?.value ?? "";
  const ahead = parts[0].type === "currency";
  return {
    separators: part("decimal") + part("group"),
    prefix: dollars && ahead ? part("currency") : "",
    suffix: dollars && !ahead ? `\u00a0${part("currency")}` : "",
  };
}

/** A count of tokens of some totals, with its marks; `write` is `count` or `brief`. */
export function tokens(value, totals, write = count) {
  if (!value && (totals.unmeasured_calls || allFailed(totals))) return UNKNOWN;
  const about = totals.estimated_calls && value ? "~" : "";
  return `${about}${write(value ?? 0)}${totals.unmeasured_calls ? "+" : ""}`;
}

/** The name of a row; rows without a name get a text in the page's language. */
export function label(name, group) {
  if (name === null || name === undefined) return t(group === "model" ? "row.unknown_model" : "row.unattributed");
  const key = `row.${name.slice(1, -1).replaceAll(" ", "_")}`;
  if (name === `(${name.slice(1, -1)})` && has(key)) return t(key);
  // Control characters and marks of direction are replaced: they could change how the page is read.
  return name.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, "\uFFFD");
}

/** The name of what is summed up by the others of a group. */
export function others(group) {
  const key = group === "tag" ? "row.other_tags" : `row.other_${group}s`;
  return t(has(key) ? key : "row.other_models");
}

/** Seconds, with a unit. */
export function seconds(value) {
  if (value === null || value === undefined) return UNKNOWN;
  const places = value < 10 ? { minimumFractionDigits: 2, maximumFractionDigits: 2 } : { maximumFractionDigits: 0 };
  const style = { style: "unit", unit: "second", unitDisplay: lang === "en" ? "narrow" : "short", ...places };
  return new Intl.NumberFormat(locale, style).format(value);
}

const times = {
  minute: new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" }),
  hour: new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" }),
  day: new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" }),
  week: new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" }),
  month: new Intl.DateTimeFormat(locale, { month: "short", year: "numeric" }),
  moment: new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }),
  clock: new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit" }),
  full: new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "long" }),
};

/** A time in the viewer's timezone; `how` is a step of the chart, `moment`, `clock` or `full`. */
export const time = (iso, how) => (times[how] ?? times.moment).format(new Date(iso));

/** Whether a time is of today, in the viewer's timezone. */
export const today = (iso) => new Date(iso).toDateString() === new Date().toDateString();
