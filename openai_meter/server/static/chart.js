// Bars over time, stacked by group. plotly draws the bars only. Names, legend and tips are elements of the page: plotly
// would read a name as markup.
import { at, h, setText } from "./dom.js";
import { UNKNOWN, brief, cost, count, label, money, notation, others, time } from "./format.js";
import { t } from "./i18n.js";
import { state } from "./state.js";

const COLOURS = 8;
const hidden = new Set();
let series = null;
let rows = [];
let plotly = null;
let standing = "";

const write = () => (state.metric === "cost" ? money : state.metric === "tokens" ? brief : count);
const named = (group) => (group.other ? others(state.group) : label(group.name, state.group));
const key = (group) => (group.other ? "other" : `name ${group.name}`);
const colour = (group, place) => (group.other ? "other" : `c${place % COLOURS}`);
const numbers = (group) => group[state.metric].map((one) => (one === null ? null : Number(one)));
const sum = (values) => values.reduce((all, one) => all + (one ?? 0), 0);

/** The total of some values: unknown if only unknown ones are not 0, a lower bound ("+") if some are unknown. */
function total(values) {
  const known = sum(values);
  const unknown = values.includes(null);
  if (unknown && !known) return write()(null);
  return `${write()(known)}${unknown ? "+" : ""}`;
}

/** Loads plotly, once. Its map part puts a style sheet into the page, which our security policy forbids: it stays out. */
function library() {
  plotly ??= new Promise((resolve, reject) => {
    const { head } = document;
    const append = head.appendChild;
    head.appendChild = (node) =>
      node instanceof HTMLStyleElement && node.textContent ? node : append.call(head, node);
    const done = (result) => (event) => {
      delete head.appendChild;
      result(event);
    };
    const source = `${document.documentElement.dataset.assets}/plotly.min.js`;
    head.append(
      h("script", { src: source, onload: done(() => resolve(window.Plotly)), onerror: done(reject) }),
    );
  });
  return plotly;
}

function probe(name) {
  const element = h("span", { class: `swatch ${name}` });
  at("plot").append(element);
  const found = getComputedStyle(element).backgroundColor;
  element.remove();
  return found;
}

const fine = () => series.step === "hour" || series.step === "minute";

/** When a bar begins, in words. */
const when = (place) => time(series.starts[place], fine() ? "moment" : series.step);

/** As many labels as there is room for; a label has the day if it differs from that of the label before. */
function ticks(width) {
  const { starts, step } = series;
  const every = Math.max(1, Math.ceil(starts.length / Math.max(2, Math.floor(width / 110))));
  const places = starts.map((_, place) => place).filter((place) => place % every === every >> 1);
  const day = (place) => time(starts[place], "day");
  const text = (place, number) =>
    fine() && number && day(places[number - 1]) === day(place) ? time(starts[place], step) : when(place);
  return { tickvals: places, ticktext: places.map(text) };
}

async function draw() {
  const plot = at("plot");
  if (!series || !plot.clientWidth) return;
  let Plotly;
  try {
    Plotly = await library();
  } catch {
    plotly = null;
    plot.classList.add("missing");
    at("chart-figures").open = true; // the figures are there without the library
    return;
  }
  const text = getComputedStyle(plot).color;
  const line = probe("line");
  const traces = series.groups
    .map((group, place) => ({ group, place }))
    .filter(({ group }) => !hidden.has(key(group)))
    .map(({ group, place }) => ({
      type: "bar",
      x: series.starts.map((_, one) => one),
      y: numbers(group),
      marker: { color: probe(colour(group, place)) },
      hoverinfo: "none",
    }));
  const { separators, prefix, suffix } = notation(state.metric === "cost");
  const axis = { fixedrange: true, zeroline: false, automargin: true };
  const layout = {
    barmode: "stack",
    bargap: series.starts.length > 40 ? 0.15 : 0.3,
    height: plot.clientHeight,
    margin: { l: 8, r: 8, t: 12, b: 8 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(plot).fontFamily, size: 12, color: text },
    separators,
    showlegend: false,
    hovermode: "x",
    dragmode: false,
    xaxis: {
      ...axis,
      ...ticks(plot.clientWidth),
      range: [-0.6, series.starts.length - 0.4],
      showgrid: false,
      tickangle: 0,
      linecolor: line,
      showline: true,
    },
    yaxis: {
      ...axis,
      rangemode: "tozero",
      gridcolor: line,
      nticks: 5,
      tickprefix: prefix,
      ticksuffix: suffix,
      tickformat: state.metric === "cost" ? ",~f" : "~s",
    },
  };
  await Plotly.react(plot, traces, layout, { displayModeBar: false, responsive: false, locale: "en" });
  if (!plot.dataset.listening) {
    plot.dataset.listening = "yes";
    plot.on("plotly_hover", (event) => tip(event.points[0].pointNumber, event.event));
    plot.on("plotly_unhover", () => (at("tip").hidden = true));
  }
  plot.dataset.drawn = String(traces.length);
}

function tip(place, pointer) {
  const shown = series.groups
    .map((group, number) => ({ group, number, value: numbers(group)[place] }))
    .filter(({ group, value }) => value !== 0 && !hidden.has(key(group)));
  const rows = shown
    .sort((a, b) => (b.value ?? 0) - (a.value ?? 0))
    .map(({ group, number, value }) =>
      h(
        "li",
        {},
        h("span", { class: `swatch ${colour(group, number)}` }),
        h("span", { class: "name" }, named(group)),
        h("span", { class: "number" }, write()(value)),
      ),
    );
  const box = at("tip");
  box.replaceChildren(
    h("p", {}, h("span", {}, when(place)), h("strong", { class: "number" }, total(shown.map(({ value }) => value)))),
    h("ul", {}, rows),
  );
  box.hidden = false;
  const frame = box.parentElement.getBoundingClientRect();
  const x = pointer.clientX - frame.left;
  const left = x > frame.width / 2 ? x - box.offsetWidth - 14 : x + 14;
  box.style.left = `${Math.max(0, Math.min(left, frame.width - box.offsetWidth))}px`;
}

/** What a group has in the period. As in the table, calls that all failed have no cost, which is not a cost of $0. */
function amount(group) {
  const row = state.metric === "cost" && !group.other && rows.find((one) => !one.other && one.name === group.name);
  return row && cost(row) === UNKNOWN ? UNKNOWN : total(numbers(group));
}

function legend() {
  const items = series.groups.map((group, place) => {
    const off = hidden.has(key(group));
    const toggle = () => {
      if (!hidden.delete(key(group))) hidden.add(key(group));
      legend();
      at("legend").querySelectorAll("button")[place].focus();
      draw();
    };
    return h(
      "li",
      {},
      h(
        "button",
        { type: "button", class: "quiet", "aria-pressed": String(!off), onclick: toggle },
        h("span", { class: `swatch ${colour(group, place)}` }),
        h("span", { class: "name" }, named(group)),
        h("span", { class: "number" }, amount(group)),
      ),
    );
  });
  const held = [...at("legend").querySelectorAll("button")].indexOf(document.activeElement);
  at("legend").replaceChildren(...items);
  if (held >= 0) at("legend").querySelectorAll("button")[held]?.focus();
}

/** The chart as a table, for readers who do not see it. */
function figures() {
  if (!at("chart-figures").open || !series) return;
  const columns = series.groups.map((group) => h("th", { scope: "col", class: "number" }, named(group)));
  const rows = series.starts.map((_, place) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, when(place)),
      series.groups.map((group) => h("td", { class: "number" }, write()(numbers(group)[place]))),
    ),
  );
  at("chart-figures").querySelector(".scroll").replaceChildren(
    h(
      "table",
      {},
      h("caption", { class: "unseen" }, at("chart-title").textContent),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("page.time")), columns)),
      h("tbody", {}, rows),
    ),
  );
}

function words() {
  const sums = series.starts.map((_, place) => sum(series.groups.map((group) => numbers(group)[place])));
  const most = sums.indexOf(Math.max(...sums));
  if (!sums.length || !sums[most]) return t("page.nothing");
  return t("page.chart.words", {
    total: total(series.groups.flatMap(numbers)),
    when: when(most),
    most: write()(sums[most]),
  });
}

/** Shows the series of an overview, or the same again after another choice. */
export function show(overview = null) {
  if (overview) ({ series, rows } = overview);
  if (!series) return;
  // An equal chart is not drawn again: that would close the tip under the pointer.
  const wanted = JSON.stringify([series, state.metric, state.group]);
  if (wanted === standing) return;
  standing = wanted;
  const title = { metric: t(`page.metric.${state.metric}`), group: t(`by.${state.group}`) };
  setText(at("chart-title"), t("page.chart", title));
  setText(at("chart-words"), words());
  const nothing = !series.groups.length;
  at("chart-words").classList.toggle("unseen", !nothing);
  at("plot").parentElement.hidden = nothing;
  at("chart-figures").hidden = nothing;
  legend();
  figures();
  draw();
}

/** Draws again when the room or the colours change. */
export function start() {
  let width = 0;
  new ResizeObserver(() => {
    if (at("plot").clientWidth === width) return;
    width = at("plot").clientWidth;
    requestAnimationFrame(draw);
  }).observe(at("plot"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.addEventListener("themechange", draw);
  at("chart-figures").addEventListener("toggle", figures);
}
