// The page. It reads the figures when it opens, when a choice changes, and when the server reports news.
import * as advice from "./advice.js";
import { Refused, call, get } from "./api.js";
import * as bill from "./bill.js";
import * as calls from "./calls.js";
import * as cards from "./cards.js";
import * as chart from "./chart.js";
import * as latency from "./latency.js";
import { at, h, setText, throttle } from "./dom.js";
import { cost, label, time, zone } from "./format.js";
import { lang, t } from "./i18n.js";
import { listen } from "./live.js";
import * as state from "./state.js";
import * as table from "./table.js";

const OFTEN = 1_500; // milliseconds between two readings, at least
const STALE = 60_000; // read again even without news: periods move on
const SPOKEN = 15_000; // milliseconds between two announcements for screen readers, at least
let timezone = zone;
let overview = null;
let live = null;
let reading = null;

function fail(error) {
  const box = at("failure");
  const text = error instanceof Refused ? `${error.message} ${error.hint}`.trim() : t("page.unreachable");
  setText(box, text);
  box.hidden = false;
}

/** Runs work that may fail, and shows its error. */
async function guard(work) {
  try {
    await work();
    at("failure").hidden = true;
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
  }
}

const announce = throttle(SPOKEN, () => {
  const { today } = overview.cards;
  setText(at("announcement"), t("page.announce", { cost: cost(today), calls: t("calls", { n: today.calls }) }));
});

function scope() {
  const key = `page.scope.${overview.scope}`;
  setText(at("scope"), overview.since ? t(`${key}.since`, { since: time(overview.since, "moment") }) : t(key));
}

/** The active filters; a click removes one. */
function chips() {
  const items = state.filters().map(([name, value]) => {
    const text = `${t(`dimension.${name}`)}: ${label(value || null, name)}`;
    const title = t("page.filter.remove", { name: text });
    return h("li", {}, h("button", { type: "button", title, "aria-label": title, onclick: () => state.filter(name) }, text, h("span", { "aria-hidden": "true" }, " ×")));
  });
  at("chips").replaceChildren(...items);
  at("chips").hidden = !items.length;
}

/** How to begin when there are no calls: programs write to a ledger if they name it. */
function begin() {
  if (!overview.ledger) return;
  setText(at("empty-how"), t("page.empty.ledger"));
  setText(at("empty-code"), `import openai_meter\n\nopenai_meter.install(ledger=${JSON.stringify(overview.ledger)})`);
}

function show() {
  const { cards: sums } = overview;
  const empty = !sums.today.calls && !sums.month.calls && !sums.period.calls && !calls.any();
  document.body.classList.toggle("is-empty", empty);
  at("empty").hidden = !empty;
  if (empty) begin();
  at("partial").hidden = !overview.partial;
  at("reset").hidden = empty || overview.scope !== "process"; // a ledger cannot be reset
  scope();
  cards.show(overview, live);
  advice.show(overview, live);
  chart.show(overview);
  table.show(overview);
  latency.show(overview);
  document.body.dataset.ready = "yes";
  announce();
}

/** The overview in the viewer's timezone; in UTC where the server does not know it. */
async function glance(signal) {
  const { group } = state.state;
  try {
    const query = { ...state.periodQuery(), group, timezone, lang, ...state.filterQuery() };
    return await get("api/overview", query, signal);
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 400 || timezone === "UTC") throw error;
    timezone = "UTC";
    return glance(signal);
  }
}

async function load() {
  reading?.abort();
  reading = new AbortController();
  // All parts are shown at once: a late part would move what the reader is looking at.
  const first = live ? live : get("api/live", {}, reading.signal);
  const [found, now] = await Promise.all([glance(reading.signal), first, calls.load(), bill.load(reading.signal)]);
  overview = found;
  live ??= now;
  show();
}

const soon = throttle(OFTEN, () => {
  if (!document.hidden) guard(load);
});

function happened(name, data) {
  if (name === "live") {
    live = JSON.parse(data);
    if (overview) {
      cards.show(overview, live);
      advice.show(overview, live);
    }
  }
  if (name === "live" || name === "reset") soon();
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  at("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const now = root.dataset.theme ?? (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("openai_meter.theme", root.dataset.theme);
    } catch {
      // Storage is switched off: the choice holds until the page is left.
    }
    document.dispatchEvent(new Event("themechange"));
  });
}

function reset() {
  const dialog = at("reset-dialog");
  at("reset").addEventListener("click", () => dialog.showModal());
  at("reset-cancel").addEventListener("click", () => dialog.close());
  at("reset-confirm").addEventListener("click", () => {
    dialog.close();
    const headers = { "Content-Type": "application/json" };
    guard(async () => {
      await call("api/stats/reset", { method: "POST", headers, body: "{}" });
      await calls.load({ fresh: true });
      await load();
    });
  });
}

state.start();
state.onChange((names) => {
  if (names.includes("only")) {
    chips();
    guard(() => calls.load({ fresh: true }));
  }
  if (["period", "since", "until", "group", "only"].some((name) => names.includes(name))) guard(load);
  if (names.includes("metric")) chart.show();
  if (names.includes("sort") || names.includes("q")) table.show();
});
theme();
reset();
chips();
table.start();
chart.start();
calls.start(guard);
guard(load);
listen("api/events", happened, soon);
setInterval(soon, STALE);
document.addEventListener("visibilitychange", soon);
