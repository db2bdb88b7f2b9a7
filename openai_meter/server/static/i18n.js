// The messages in the language of the page: the server puts the catalog into the page.
import { at } from "./dom.js";

export const lang = document.documentElement.lang;

/** How numbers and times are written: as in the reader's country, where the browser says which, in the page's language. */
export const locale = navigator.languages.find((one) => one.split("-")[0] === lang) ?? lang;

const catalog = JSON.parse(at("catalog").textContent);
const plural = new Intl.PluralRules(lang);
const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });

/** Whether the catalog has a key. */
export const has = (key) => Object.hasOwn(catalog, key);

/** The message of a key with its values; `n` chooses singular or plural. */
export function t(key, values = {}) {
  const template = catalog[key];
  const text = Array.isArray(template) ? template[plural.select(values.n) === "one" ? 0 : 1] : template;
  return text.replace(/\{(\w+)(:,)?\}/g, (_, name, number) => (number ? whole.format(values[name]) : values[name]));
}
