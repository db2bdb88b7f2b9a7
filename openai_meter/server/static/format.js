// Numbers, money, times and names as people read them. "–" is unknown or nothing, "~" contains estimates, "+" is a
// lower bound.
import { has, lang, locale, localized, number, numbers, t } from "./i18n.js";

export const UNKNOWN = "–";

export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** A count. */
export const count = (value) => (value === null || value === undefined ? UNKNOWN : number(value));

/** A count in few characters, with three digits that mean something: 0.4, 999, 1.2k, 35k. */
export function brief(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value < 10) return localized(Number(value).toFixed(1).replace(/\.0$/, ""));
  for (const [limit, sign] of [[1e3, ""], [1e6, "k"], [1e9, "M"], [1e12, "G"]]) {
    const part = (value / limit) * 1e3;
    if (value < limit * 0.9995) return localized(part.toFixed(sign && part < 9.95 ? 1 : 0) + sign);
  }
  return localized(Number(value).toExponential(1));
}

/** A share of 1 as a percentage. */
export const percent = (share, places = 0) => numbers.percent.replace("{}", number(share * 100, places));

/** A part of a whole; nothing of nothing is "–". */
export const share = (part, of) => (of ? percent(part / of, 1) : UNKNOWN);

const LARGE = 1000; // from this amount up, a column has cents and nothing smaller

/** US dollars: two decimals from one dollar up, below that three digits that mean something; or so many decimals. */
export function money(value, places = null) {
  if (value === null || value === undefined) return UNKNOWN;
  const amount = Number(value);
  const size = Math.abs(amount);
  const digits = places ?? (size >= 1 || size === 0 ? 2 : Math.min(12, 2 - Math.floor(Math.log10(size))));
  const least = 10 ** -digits;
  if (places !== null && amount > 0 && amount < least / 2) return `<${money(least, places)}`;
  return `${amount < 0 ? "-" : ""}${numbers.money.replace("{}", number(size, digits))}`;
}

/** The decimals of all amounts of a column, so that the eye can compare them. */
export function columnPlaces(amounts) {
  const sizes = amounts.map((one) => Math.abs(Number(one ?? 0))).filter((one) => one);
  if (!sizes.length || Math.min(...sizes) >= 0.1 || Math.max(...sizes) >= LARGE) return 2;
  return Math.min(12, Math.max(4, 2 - Math.floor(Math.log10(Math.max(...sizes)))));
}

/** Whether all calls of some totals failed and cost nothing: such totals have no cost, which is not a cost of $0. */
const allFailed = (totals) => totals.errors > 0 && totals.errors === totals.calls && !Number(totals.cost);

/** The cost of some totals, with its marks. */
export function cost(totals, places = null) {
  if (totals.cost === null || totals.cost === undefined || allFailed(totals)) return UNKNOWN;
  const about = Number(totals.estimated_cost) > 0 ? "~" : "";
  return `${about}${money(totals.cost, places)}${totals.unpriced_calls ? "+" : ""}`;
}

/** The settings with which plotly writes numbers like the rest of the page. */
export function notation(dollars) {
  const [prefix, suffix] = dollars ? numbers.money.split("{}") : ["", ""];
  return { separators: numbers.point + numbers.group, prefix, suffix };
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
  const text = number(value, value < 10 ? 2 : 0);
  return lang === "en" ? `${text}s` : `${text}\u00a0s`;
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
