// Requests to the API of the same server, with the token if it needs one.
import { at } from "./dom.js";
import { t } from "./i18n.js";

const KEY = "openai_meter.token";
// The page is at ".../dashboard"; the API is below the same prefix.
const BASE = new URL(".", location.href);

let token = null;
try {
  token = sessionStorage.getItem(KEY);
} catch {
  // Storage is switched off: the token is kept until the page is left.
}
let asking = null;

function ask(wrong) {
  asking ??= new Promise((resolve) => {
    const dialog = at("token-dialog");
    at("token-wrong").hidden = !wrong;
    at("token").value = "";
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    at("token-form").onsubmit = (event) => {
      event.preventDefault();
      token = at("token").value.trim();
      try {
        sessionStorage.setItem(KEY, token);
      } catch {
        // As above.
      }
      dialog.close();
      asking = null;
      resolve();
    };
    dialog.showModal();
  });
  return asking;
}

/** An error of the API, with its message and its hint. */
export class Refused extends Error {
  constructor(status, error) {
    super(error?.message ?? t("page.failed", { status }));
    this.status = status;
    this.hint = error?.hint ?? "";
  }
}

/** A response of the API. Asks the reader for the token while it is refused. Throws `Refused`, or what fetch throws. */
export async function call(path, options = {}) {
  if (token === null && document.documentElement.dataset.token === "yes") await ask(false);
  for (;;) {
    const sent = token;
    const headers = { ...options.headers, ...(sent ? { Authorization: `Bearer ${sent}` } : {}) };
    const answer = await fetch(new URL(path, BASE), { ...options, headers, cache: "no-store" });
    if (answer.ok) return answer;
    if (answer.status !== 401) {
      const body = await answer.json().catch(() => null);
      throw new Refused(answer.status, body?.error);
    }
    if (sent === token) await ask(sent !== null); // another request may have asked meanwhile
  }
}

/** JSON from a path and a query; a list becomes a repeated parameter. */
export async function get(path, query = {}, signal = undefined) {
  const given = Object.entries(query).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  const text = new URLSearchParams(given).toString();
  return (await call(text ? `${path}?${text}` : path, { signal })).json();
}
