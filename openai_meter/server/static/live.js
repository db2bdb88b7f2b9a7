// Events of the server, read by fetch: EventSource could not send the token.
import { at, setText } from "./dom.js";
import { call } from "./api.js";
import { t } from "./i18n.js";

const FIRST = 1_000;
const LONGEST = 30_000;
const SILENCE = 45_000; // the server sends something every 15 seconds
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function show(name, text) {
  at("connection").dataset.state = name;
  setText(at("connection"), text);
}

function* events(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  if (data.length || name !== "message") yield { name, data: data.join("\n") };
}

async function read(path, on, connected) {
  const control = new AbortController();
  let watch = null;
  const alive = () => {
    clearTimeout(watch);
    watch = setTimeout(() => control.abort(), SILENCE);
  };
  try {
    alive();
    const answer = await call(path, { signal: control.signal, headers: { Accept: "text/event-stream" } });
    connected();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      alive();
      const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) for (const event of events(block)) on(event.name, event.data);
    }
  } finally {
    clearTimeout(watch);
  }
}

/** Listens for ever: calls `on(name, data)` for each event, and `back()` when a lost connection is there again. */
export async function listen(path, on, back) {
  let wait = FIRST;
  let lost = false;
  for (;;) {
    try {
      await read(path, on, () => {
        wait = FIRST;
        show("live", t("page.live"));
        if (lost) back();
      });
    } catch {
      // The connection ended: the figures stay, and the page shows that it is not live.
    }
    lost = true;
    const chance = wait * (0.75 + Math.random() / 2); // not all pages at the same moment
    show("lost", t("page.lost", { n: Math.max(1, Math.round(chance / 1_000)) }));
    await sleep(chance);
    wait = Math.min(wait * 2, LONGEST);
    show("connecting", t("page.connecting"));
  }
}
