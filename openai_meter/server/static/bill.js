// The last comparison with OpenAI's bill.
import { get } from "./api.js";
import { at, h, setText } from "./dom.js";
import { money, percent } from "./format.js";
import { lang, t } from "./i18n.js";

/** A coverage as a percentage, rounded down: what is not whole is never shown as 100%. */
const covered = (share) => (Number(share) === 1 ? percent(1) : percent(Math.floor(Number(share) * 1e4) / 1e4, 2));

const difference = (text) => `${Number(text) > 0 ? "+" : ""}${money(text)}`;

function line(cause) {
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, h("span", { class: "name" }, cause.name)),
    h("td", { class: "number" }, difference(cause.amount)),
    h("td", {}, cause.about),
  );
}

function words(bill) {
  const values = { billed: money(bill.billed), metered: money(bill.metered) };
  if (bill.coverage === null) return t("page.bill.none");
  return t("page.bill.covered", { ...values, share: covered(bill.coverage) });
}

/** Reads the comparison, and shows it; without one, there is nothing to see. */
export async function load(signal) {
  const { bill } = await get("api/bill", { lang }, signal);
  at("bill-panel").hidden = !bill;
  if (!bill) return;
  setText(at("bill-period"), t("page.bill.period", { since: bill.since, until: bill.until }));
  const open = bill.open_days.days.join(", ");
  setText(at("bill-words"), open ? `${words(bill)} ${t("page.bill.open", { days: open })}` : words(bill));
  at("bill").hidden = !bill.by_cause.length;
  const heads = [["page.bill.cause", ""], ["page.bill.difference", "number"], ["page.bill.why", ""]];
  at("bill").replaceChildren(
    h("caption", { class: "unseen" }, t("page.bill")),
    h("thead", {}, h("tr", {}, heads.map(([key, kind]) => h("th", { scope: "col", class: kind }, t(key))))),
    h("tbody", {}, bill.by_cause.map(line)),
  );
}
