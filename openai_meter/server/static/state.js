// What the page shows is in its address: a reload, the way back and a shared link keep it.
import { at } from "./dom.js";

const DEFAULTS = { period: "7d", group: "model", metric: "cost", sort: "-cost", q: "" };
const listeners = [];

export const state = { ...DEFAULTS };

/** Is called with the names of what has changed. */
export const onChange = (listener) => listeners.push(listener);

function read() {
  const query = new URLSearchParams(location.search);
  for (const name of Object.keys(DEFAULTS)) state[name] = query.get(name) ?? DEFAULTS[name];
  const known = (name) => document.querySelector(`#${name} [value="${CSS.escape(state[name])}"]`) !== null;
  for (const name of ["period", "group", "metric"]) if (!known(name)) state[name] = DEFAULTS[name];
}

function show() {
  for (const name of ["period", "metric"]) {
    document.querySelector(`#${name} [value="${CSS.escape(state[name])}"]`).checked = true;
  }
  at("group").value = state.group;
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
  at("search").addEventListener("input", (event) => change({ q: event.target.value }));
}
