// The choices of the reader are in the address, so that a reload, the back button and a shared link keep them.
import { at } from "./dom.js";

const DEFAULTS = { period: "7d", since: "", until: "", group: "model", metric: "cost", sort: "-cost", q: "", only: "" };
const DATE = /^\d{4}-\d{2}-\d{2}$/;
const listeners = [];

export const state = { ...DEFAULTS };

/** The filters as pairs of a dimension and a value ("" is no value). In the address they are one text, a line each. */
export const filters = () =>
  state.only.split("\n").filter((line) => line.includes("=")).map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]);

/** The filters as parameters of the API. */
export const filterQuery = () => Object.fromEntries(filters());

/** Adds a filter, in place of another one of the same dimension; without a value, removes it. */
export function filter(dimension, value = null) {
  const others = filters().filter(([name]) => name !== dimension);
  const wanted = value === null ? others : [...others, [dimension, value]];
  change({ only: wanted.map(([name, one]) => `${name}=${one.replaceAll("\n", " ")}`).join("\n") });
}

/** The period as parameters of the API. */
export function periodQuery() {
  if (state.period !== "custom" || (!state.since && !state.until)) return { period: state.period === "custom" ? DEFAULTS.period : state.period };
  return Object.fromEntries(["since", "until"].filter((name) => state[name]).map((name) => [name, state[name]]));
}

/** Adds a listener, which is called with the names of what has changed. */
export const onChange = (listener) => listeners.push(listener);

function read() {
  const query = new URLSearchParams(location.search);
  for (const name of Object.keys(DEFAULTS)) state[name] = query.get(name) ?? DEFAULTS[name];
  const known = (name) => document.querySelector(`#${name} [value="${CSS.escape(state[name])}"]`) !== null;
  for (const name of ["period", "group", "metric"]) if (!known(name)) state[name] = DEFAULTS[name];
  for (const name of ["since", "until"]) if (!DATE.test(state[name])) state[name] = "";
  const groups = [...at("group").options].map((option) => option.value);
  state.only = filters().filter(([name]) => groups.includes(name) && name !== "tag").map((pair) => pair.join("=")).join("\n");
}

function show() {
  for (const name of ["period", "metric"]) {
    document.querySelector(`#${name} [value="${CSS.escape(state[name])}"]`).checked = true;
  }
  at("group").value = state.group;
  at("dates").hidden = state.period !== "custom";
  for (const name of ["since", "until"]) if (at(name).value !== state[name]) at(name).value = state[name];
  if (at("search").value !== state.q) at("search").value = state.q;
  for (const link of document.querySelectorAll(".languages a")) {
    const query = new URLSearchParams(location.search);
    query.set("lang", link.lang);
    link.href = `?${query}`;
  }
}

/** Changes what is shown. */
export function change(values) {
  const names = Object.keys(values).filter((name) => state[name] !== values[name]);
  if (!names.length) return;
  Object.assign(state, values);
  const query = new URLSearchParams(location.search);
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    if (state[name] === usual) query.delete(name);
    else query.set(name, state[name]);
  }
  const text = query.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
  show();
  for (const listener of listeners) listener(names);
}

/** Reads the address, and listens to the controls. */
export function start() {
  read();
  show();
  for (const name of ["period", "metric"]) {
    at(name).addEventListener("change", (event) => change({ [name]: event.target.value }));
  }
  at("group").addEventListener("change", (event) => change({ group: event.target.value }));
  for (const name of ["since", "until"]) at(name).addEventListener("change", (event) => change({ [name]: event.target.value }));
  at("search").addEventListener("input", (event) => change({ q: event.target.value }));
}
