// The messages in the language of the page, and how it writes numbers: the server puts both into the page.
import { at } from "./dom.js";

export const lang = document.documentElement.lang;

/** How times are written: as in the reader's country, where the browser says which, in the page's language. */
export const locale = navigator.languages.find((one) => one.split("-")[0] === lang) ?? lang;

const catalog = JSON.parse(at("catalog").textContent);
const plural = new Intl.PluralRules(lang);

/** The style of the language's numbers: that of `core/formatting.py`, which writes those of all other outputs. */
export const numbers = JSON.parse(at("numbers").textContent);

/** A number that is written as in English, in that style. */
export const localized = (text) => text.replace(/[,.]/g, (sign) => (sign === "," ? numbers.group : numbers.point));

/** A number with groups of digits and so many decimals. */
export const number = (value, places = 0) =>
  localized(Number(value).toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places }));

/** Whether the catalog has a key. */
export const has = (key) => Object.hasOwn(catalog, key);

/** The message of a key with its values; `n` chooses singular or plural. */
export function t(key, values = {}) {
  const template = catalog[key];
  const text = Array.isArray(template) ? template[plural.select(values.n) === "one" ? 0 : 1] : template;
  return text.replace(/\{(\w+)(:,)?\}/g, (_, name, grouped) => (grouped ? number(values[name]) : values[name]));
}
