"""Every report in every form and language: what the guides show, and that names stay data and unknown is never zero."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from sample_reports import CALL, GUIDE, SINCE, counted, metered, report

import openai_meter
from openai_meter import ConfigurationError, Meter, Totals, Usage
from openai_meter.core import locale
from openai_meter.core.money import usd
from openai_meter.metering.store import DIMENSIONS, Unpriced
from openai_meter.reports import exports, text, words
from openai_meter.reports import report as values
from openai_meter.reports.renderers import RENDERERS
from openai_meter.reports.report import REPORTS, Report, Row

LANGUAGES = locale.languages()
GROUPINGS = [*REPORTS.values(), *((name,) for name in DIMENSIONS if name not in REPORTS), ("tag:team",), DIMENSIONS]


ONE = counted(8, 3_245, 1_892, "0.00162195")
DOCUMENT = report(("model",), {("gpt-4o-mini",): ONE}, ONE)

# What is printed by the guide's own example; the fifth line had lost its sign to a wrong encoding.
TREE = """\
======================================================================
📊 RÉSUMÉ DES TOKENS & COÛTS
======================================================================
🕐 Session démarrée: {since}
📞 Nombre d'appels API: 7
🔤 Tokens totaux: 32,000
   ├─ Input:  22,000
   └─ Output: 10,000
💰 Coût total: $0.1240

📊 Détails par agent:
   • workshop:
     ├─ Appels: 2
     ├─ Tokens: 5,500
     └─ Coût: $0.0110
   • transcript:
     ├─ Appels: 2
     ├─ Tokens: 10,500
     └─ Coût: $0.0420
   • need_analysis:
     ├─ Appels: 1
     ├─ Tokens: 8,000
     └─ Coût: $0.0320
   • use_case_analysis:
     ├─ Appels: 2
     ├─ Tokens: 8,000
     └─ Coût: $0.0390
======================================================================"""

# What the document shows for a chat, at the right cost: 3,245 x $0.15/1M + 1,892 x $0.60/1M is $0.00162195.
MARKDOWN = """\
📊 **Statistiques d'utilisation OpenAI**

⏱️ Durée : 15 minutes

**gpt-4o-mini**
├─ Appels : 8
├─ Tokens : 5,137
└─ Coût : $0.001622

**📈 Totaux**
└─ Coût total : $0.001622

**💡 Recommandations**
- Réduire le prompt."""


def test_french_tree_equals_that_of_the_guide() -> None:
    """Word for word; its time is the local one."""
    since = SINCE.astimezone().strftime("%Y-%m-%dT%H:%M:%S")
    assert GUIDE.render("tree", lang="fr") == TREE.format(since=since)


def test_french_chat_report_equals_that_of_the_guide() -> None:
    """Lines that belong together end with Markdown's line break."""
    shown = replace(DOCUMENT, recommendations=("Réduire le prompt.",)).render("chat", lang="fr")
    assert shown.replace("  \n", "\n") == MARKDOWN
    assert re.findall(r"^[├*].*(?<!  )\n(?=[├└])", shown, re.MULTILINE) == []


def test_line_for_chats_equals_that_of_the_guide() -> None:
    """The tilde is there only where a part is an estimate."""
    assert DOCUMENT.render("line", lang="en") == "💡 Session: 8 calls | 5,137 tokens | $0.0016"
    guessed = replace(ONE, estimated_calls=8, estimated_cost_pico=ONE.cost_pico)
    said = replace(DOCUMENT, totals=guessed).render("line", lang="en")
    assert said == "💡 Session: 8 calls | ~5,137 tokens | ~$0.0016"


def test_english_layout_equals_the_french_one() -> None:
    """In English the tree and the report for chats have the same lines in the same places."""
    for form in ("tree", "chat"):
        french, english = (GUIDE.render(form, lang=code).splitlines() for code in ("fr", "en"))
        assert [re.findall(r"\d[\d,.]*", line) for line in french] == [
            re.findall(r"\d[\d,.]*", line) for line in english
        ]
        assert "Tokens totaux" not in "\n".join(english)


def test_chat_report_of_several_rows_has_calls_and_tokens() -> None:
    """Where there are several rows, the totals of a chat's report say calls and tokens, too."""
    shown = GUIDE.render("chat", lang="en")
    assert shown.endswith("**📈 Totals**  \n├─ Calls: 7  \n├─ Tokens: 32,000  \n└─ Total cost: $0.124000")


def test_alerts_come_first_and_advice_last() -> None:
    """Alerts stand above the numbers, recommendations below them; JSON has both, and what is in them is data."""
    full = replace(DOCUMENT, alerts=("⚠️ Alerte : 101 appels",), recommendations=("use *flex*", "b\nc"))
    chat = full.render("chat", lang="en")
    assert chat.startswith("⚠️ Alerte : 101 appels\n\n📊")
    assert chat.endswith("**💡 Recommendations**\n- use \\*flex\\*\n- b\N{REPLACEMENT CHARACTER}c")
    tree = full.render("tree", lang="en").splitlines()
    assert tree[3] == "⚠️ Alerte : 101 appels"
    assert tree[-4:-1] == ["💡 Recommendations:", "   • use *flex*", "   • b\N{REPLACEMENT CHARACTER}c"]
    data = json.loads(full.render("json"))
    assert (data["alerts"], data["recommendations"]) == (["⚠️ Alerte : 101 appels"], ["use *flex*", "b\nc"])


# --- the whole grid

HOSTILE = [
    "[red]x[/red]", "[/]", ":smile:", "a\x1b[31mb", "\x9b31m", "line\nbreak", "tab\there", "**bold**", "_a_ __b__",
    "`code`", "<script>alert(1)</script>", "[link](http://x)", "https://example.com", "a|b|c", "~~gone~~", "# head",
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'quoted'", '"', 'a"b,c;d', "a,b", "{n}", "%s", "", " ",
    "x" * 5_000, "a\\b", "&amp;", "![i](x)", "1. one", "---", "*", "www.example.com", "$x$", "-  ", " lead", "a_b_c",
    "模型", "مرحبا", "שלום", "\u202egpt", "👩\N{ZERO WIDTH JOINER}💻🤖", "e\u0301" * 5, "\ud800", "\x00", "\u2028",
    "(unattributed)", "(other agents)", "(unknown model)",
]  # fmt: skip

KNOWN = counted(3, 1_200, 340, "0.00029")
EDGES = {
    "plain": KNOWN,
    "nothing": Totals(),
    "unknown": counted(2, 0, 0, None, unmeasured_calls=2, unpriced_calls=2),
    "half known": counted(3, 10, 20, "0.5", unmeasured_calls=1, unpriced_calls=1),
    "unpriced": counted(2, 10, 20, None, unpriced_calls=2),
    "estimated": counted(2, 10, 20, "1.5", estimated_calls=1, estimated_cost_pico=5 * 10**11),
    "errors": counted(2, 0, 0, "0", errors=2),
    "huge": counted(10**9, 10**30, 10**29, "123456789012345678901234567890.5"),
    "tiny": counted(1, 1, 0, "0.000000000001"),
    "third": replace(counted(1, 1, 0, "0"), cost_pico=Fraction(10**12, 3), estimated_cost_pico=Fraction(1, 7)),
}


def edge(by: tuple[str, ...], totals: Totals, value: str = "gpt-6-luna", **more: object) -> Report:
    rows = {(value,) * len(by): totals} if totals.calls else {}
    return report(by, rows, totals, **more)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("form", RENDERERS)
@pytest.mark.parametrize("by", GROUPINGS, ids=",".join)
def test_every_report_is_rendered_in_every_form(by: tuple[str, ...], form: str, lang: str) -> None:
    """Every grouping is rendered in every form and language, whatever its numbers and names are, and shows them."""
    for totals, busy in product(EDGES.values(), (False, True)):
        more = {
            "pending": 3, "internal_errors": 2, "overflow_calls": 5, "name": "nightly",
            "alerts": ("a",), "recommendations": ("r",),
            "unpriced": tuple(Unpriced(f"m{n}", "unknown model; price: x", n, 10) for n in range(12)),
        } if busy else {}  # fmt: skip
        shown = edge(by, totals, **more).render(form, lang=lang)
        assert shown
        assert not shown.endswith("\n")
        if totals.calls and form != "line":
            assert "gpt-6-luna" in shown
        if form not in {"json", "csv"}:
            assert ("?" in shown.partition("unknown model")[0]) >= (totals.cost is None)
            assert not re.search(r"\{\w*\}", shown)
        if totals.cost and form not in {"json", "csv"}:
            amount = re.search(r"\$([\d,.]+)|(\d[\d,\u202f]*)\xa0\$", shown)
            assert amount
            digits = amount[1].replace(",", "") if amount[1] else amount[2].replace("\u202f", "").replace(",", ".")
            assert Decimal(digits) > 0, "a cost is never shown as nothing"


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("form", RENDERERS)
def test_names_are_data_in_every_form(form: str, lang: str) -> None:
    """No name can break a form: its output has no control character, line break or lone surrogate of it."""
    lines = edge(("agent", "model"), KNOWN).render(form, lang=lang).count("\n")
    for name in HOSTILE:
        shown = edge(("agent", "model"), KNOWN, name, unpriced=(Unpriced(name, name, 1, 2),)).render(form, lang=lang)
        assert not re.search("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u202e\ud800-\udfff]", shown), repr(name)
        assert shown.encode()
        if form in {"tree", "csv", "line"}:
            bare = edge(("agent", "model"), KNOWN, "x", unpriced=(Unpriced("x", "x", 1, 2),)).render(form, lang=lang)
            assert shown.count("\n") == bare.count("\n") >= lines, repr(name)


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.isprintable() and name.strip() and len(name) < 60])
def test_printable_names_are_shown_unchanged(name: str) -> None:
    """They are not markup in any terminal or Markdown."""
    one = edge(("agent",), KNOWN, name)
    row = f"\n{words.label(name, locale.language('en'))}"
    assert row in one.render("table", lang="en").replace(" " * 3, "")
    assert f"\n   • {row[1:]}:\n" in one.render("tree", lang="en")
    tokens = MarkdownIt("commonmark").enable(["strikethrough", "table"]).parse(one.render("chat", lang="en"))
    paragraphs = [token.children for token in tokens if token.type == "inline"]
    assert [token.type for token in tokens if token.type != "inline"] == ["paragraph_open", "paragraph_close"] * 4
    plain = {"text", "text_special", "strong_open", "strong_close", "hardbreak"}
    assert all(child.type in plain for children in paragraphs for child in children)
    lines = "".join("\n" if child.type == "hardbreak" else child.content for child in paragraphs[2])
    assert lines == f"{row[1:].strip()}\n├─ Calls: 3\n├─ Tokens: 1,540\n└─ Cost: $0.000290"
    assert [child.type for child in paragraphs[2]].count("strong_open") == 1


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.isprintable() and name.strip() and len(name) < 60])
def test_markdown_table_has_one_cell_for_each_name(name: str) -> None:
    """Whatever a name is, the Markdown is one table of a head, a row and the total, and the name is one cell."""
    one = edge(("agent",), KNOWN, name)
    tokens = MarkdownIt("commonmark").enable(["strikethrough", "table"]).parse(one.render("markdown", lang="en"))
    kinds = [token.type for token in tokens]
    assert [kinds.count(kind) for kind in ("table_open", "tr_open", "th_open", "td_open")] == [1, 3, 6, 12]
    cells = [tokens[place + 1] for place, kind in enumerate(kinds) if kind == "td_open"]
    assert all(child.type in {"text", "text_special"} for child in cells[0].children)
    shown = "".join(child.content for child in cells[0].children)
    assert shown == words.label(name, locale.language("en")).strip()
    assert [cell.content for cell in cells[1:6]] == ["3", "1,200", "340", "1,540", "$0.000290"]
    assert cells[6].content == "**Total**"


@pytest.mark.parametrize(
    ("dollars", "cells"),
    [
        (("12.31", "0.0042", "0.00001"), ["$12.3100", "$0.0042", "<$0.0001", "$12.3142"]),
        (("3", "1", "0.25"), ["$3.00", "$1.00", "$0.25", "$4.25"]),
        (("0.00009", "0.000045"), ["$0.000090", "$0.000045", "$0.000135"]),
        (("2000", "0.004"), ["$2,000.00", "<$0.01", "$2,000.00"]),
        (("1.5", None), ["$1.50", "?", "$1.50+"]),
    ],
)
def test_amounts_of_a_column_have_one_precision(dollars: tuple[str | None, ...], cells: list[str]) -> None:
    """All amounts have the same decimals; a smaller one is ``<`` the least of them."""
    meter = Meter(thresholds=False)
    for place, amount in enumerate(dollars):
        cost = None if amount is None else int(Decimal(amount) * 10**12)
        status = "unpriced" if cost is None else "priced"
        meter._take(replace(CALL, id=str(place), model=f"m{place}", cost_pico=cost, cost_status=status))
    shown = meter.report().render("table", lang="en").splitlines()
    lines = [line for line in shown if re.match("m[0-9]|Total", line)]
    assert [line.split()[-1] for line in lines] == cells
    points = {line.rindex(".") for line in lines if "$" in line}
    assert len(points) == 1
    exact = json.loads(meter.report().render("json"))["rows"]
    assert [row["cost"] for row in exact] == [None if one is None else f"{Decimal(one):f}" for one in dollars]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "shift_jis", "utf-8", "utf-16", "no-such"])
@pytest.mark.parametrize("form", RENDERERS)
def test_every_form_can_be_printed_in_every_encoding(form: str, encoding: str) -> None:
    """Characters that cannot be shown are replaced."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="utf-8" if encoding == "no-such" else encoding, newline="")
    if encoding == "no-such":

        class Odd(io.StringIO):
            encoding = "no-such"  # type: ignore[assignment]

        odd = Odd()
        edge(("agent",), EDGES["estimated"], "modèle 🤖 Ω").print(odd, format=form, lang="fr")
        if form != "table":  # rich looks at the encoding with its own eyes
            assert odd.getvalue().isascii()
        return
    for name in ("modèle", "🤖 Ω", "\ud800"):
        edge(("agent", "model"), EDGES["estimated"], name, pending=1).print(file, format=form, lang="fr")
    file.flush()
    shown = raw.getvalue().decode(encoding)
    assert shown
    if form in {"table", "tree", "chat", "markdown"} and encoding != "shift_jis":
        assert ("Coût" if encoding != "ascii" else "Cout") in shown
    if form == "json":
        assert "modèle" in json.dumps(json.loads(shown.partition("\n}")[0] + "\n}"), ensure_ascii=False)


def test_tree_in_ascii_keeps_its_shape() -> None:
    """In ASCII the signs go with their spaces, lines become ASCII lines, and no backtick could open Markdown's code."""
    shown = text.fitting(GUIDE.render("tree", lang="fr") + "\n…", "ascii")
    assert "\nRESUME DES TOKENS & COUTS\n" in shown
    assert "\n   |- Input:  22,000\n   '- Output: 10,000\nCout total: $0.1240\n" in shown
    assert "\n   * workshop:\n     |- Appels: 2\n" in shown
    assert "**Totaux**" in text.fitting(GUIDE.render("chat", lang="fr"), "ascii")
    assert shown.endswith("\n...")


# --- money and tokens


@pytest.mark.parametrize(
    ("amount", "four", "six"),
    [
        ("0", "$0.0000", "$0.000000"),
        ("0.124", "$0.1240", "$0.124000"),
        ("0.00162195", "$0.0016", "$0.001622"),
        ("0.00005", "$0.0000500", "$0.000050"),
        ("0.00006", "$0.0001", "$0.000060"),
        ("0.00000116", "$0.00000116", "$0.000001"),
        ("0.0000004", "$0.000000400", "$0.000000400"),
        ("0.000000000001", "$0.00000000000100", "$0.00000000000100"),
        ("12.34567", "$12.3457", "$12.345670"),
        ("1234567.891", "$1,234,567.8910", "$1,234,567.891000"),
    ],
)
def test_each_form_has_its_number_of_decimals(amount: str, four: str, six: str) -> None:
    """The tree and the line have four decimals, Markdown six; where that were a zero, as many as it takes."""
    assert (words.decimals(4)(Decimal(amount)), words.decimals(6)(Decimal(amount))) == (four, six)


def test_decimal_context_of_the_program_does_not_change_reports() -> None:
    """A program that counts in two digits and rounds up sees the same reports."""
    before = [GUIDE.render(form, lang="fr") for form in RENDERERS]
    with localcontext() as context:
        context.prec, context.rounding = 2, "ROUND_UP"
        assert [GUIDE.render(form, lang="fr") for form in RENDERERS] == before
        assert words.dollars(Decimal("0.00162195")) == "$0.00162"


@pytest.mark.parametrize(
    ("edge_name", "tokens", "cost"),
    [
        ("plain", "1,540", "$0.0003"), ("unknown", "?", "?"), ("half known", "30+", "$0.5000+"),
        ("unpriced", "30", "?"), ("estimated", "~30", "~$1.5000"), ("errors", "0", "$0.0000"),
    ],
)  # fmt: skip
def test_unknown_and_estimated_values_are_marked(edge_name: str, tokens: str, cost: str) -> None:
    """``?`` is unknown, ``~`` an estimate, ``+`` that there is more which is unknown; in all forms for people."""
    one = edge(("model",), EDGES[edge_name])
    assert f"Total tokens: {tokens}\n" in one.render("tree", lang="en")
    assert f"Total cost: {cost}\n" in one.render("tree", lang="en")
    assert f"Tokens: {tokens}  \n" in one.render("chat", lang="en")
    assert f"| {tokens} tokens | {cost}" in one.render("line", lang="en")
    if edge_name != "errors":  # the table has a dash for nothing
        assert re.search(rf"gpt-6-luna .* {re.escape(tokens)} .*{re.escape(cost[:4])}", one.render("table", lang="en"))


def test_measured_and_estimated_cost_are_shown_apart() -> None:
    """In a note; JSON and CSV have both as numbers."""
    one = edge(("model",), EDGES["estimated"])
    for form in ("table", "tree", "chat", "markdown"):
        shown = one.render(form, lang="en").replace("\\", "")
        assert re.search(r"Cost \(~\): measured \$1\.0+ \+ estimated \$0\.50+\.", shown)
        assert "1 call of estimated size (~)" in shown
        french = "mesuré 1,00\xa0$" if form in {"table", "markdown"} else "mesuré $1.0"  # layouts of the guides
        assert french in one.render(form, lang="fr")
    data = json.loads(one.render("json"))["rows"][0]
    assert (data["cost"], data["estimated_cost"], data["estimated_calls"]) == ("1.5", "0.5", 1)
    (row,) = csv.DictReader(io.StringIO(one.render("csv")))
    assert (row["cost"], row["estimated_cost"], row["estimated_calls"]) == ("1.5", "0.5", "1")


def test_cached_and_reasoning_tokens_are_never_estimates() -> None:
    """Where some calls are estimated, these are still reported by the API."""
    usage = Usage(100, 50, 150, cached_input_tokens=64, reasoning_tokens=32)
    shown = edge(("model",), replace(KNOWN, usage=usage, estimated_calls=1)).render("table", lang="en")
    assert re.search(r"gpt-6-luna +3 +~100 +64 +~50 +32 +~150 ", shown)


@pytest.mark.parametrize(
    ("seconds", "english", "french"),
    [
        (0, "0 seconds", "0 seconde"), (1.9, "1 second", "1 seconde"), (59, "59 seconds", "59 secondes"),
        (60, "1 minute", "1 minute"), (920, "15 minutes", "15 minutes"), (3_600, "1 hour", "1 heure"),
        (7_530, "2 hours 5 minutes", "2 heures 5 minutes"), (86_400, "1 day", "1 jour"),
        (183_600, "2 days 3 hours", "2 jours 3 heures"), (-5, "0 seconds", "0 seconde"),
    ],
)  # fmt: skip
def test_durations_have_their_two_largest_units(seconds: float, english: str, french: str) -> None:
    """In the plural of the language."""
    assert words.duration(seconds, locale.language("en")) == english
    assert words.duration(seconds, locale.language("fr")) == french


def test_rows_without_a_name_are_translated() -> None:
    """In JSON and CSV they are the recorded values."""
    rows = {("(unattributed)",): KNOWN, ("(other agents)",): KNOWN, ("(my agent)",): KNOWN}
    one = report(("agent",), rows, KNOWN)
    for form in ("table", "tree", "chat", "markdown"):
        shown = one.render(form, lang="fr")
        assert all(name in shown for name in ("(non attribué)", "(autres agents)", "(my agent)"))
    for form in ("json", "csv"):
        assert "(unattributed)" in one.render(form, lang="fr")


def test_every_row_of_the_store_is_translated() -> None:
    """Each row that the store makes itself has a translation."""
    m = locale.language("fr")
    made = {"(unattributed)", "(unknown model)", "(no block)", *(f"(other {name}s)" for name in DIMENSIONS)}
    assert not {name for name in made if words.label(name, m) == name} - {"(other agents)", "(other sessions)"}


def test_reasons_are_translated() -> None:
    """The reason of a missing price is in the language of the reader; names in it stay."""
    m = locale.language("fr")
    assert words.reason("unknown model; price: web search", m) == "modèle inconnu\u202f; prix\xa0: recherches web"
    assert words.reason("gpt-x: unknown model", m) == "gpt-x: modèle inconnu"
    assert words.reason("model: my-model", m) == "model: my-model"
    assert words.reason("tier: \x1b", m) == "niveau de service\xa0: \N{REPLACEMENT CHARACTER}"


# --- for programs


def test_csv_has_header_rows_and_safe_cells() -> None:
    """CRLF at the end of a line; cells that look like formulas are made text."""
    rows = {(name, "m"): KNOWN for name in HOSTILE}
    shown = report(("agent", "model"), rows, KNOWN).render("csv")
    read = list(csv.reader(io.StringIO(shown, newline="")))
    assert read[0] == ["agent", "model", *exports.COLUMNS]
    assert len(read) == len(HOSTILE) + 1
    assert len(re.findall("\r\n", shown)) == len(HOSTILE)
    assert not re.search("(?<!\r)\n|\r(?!\n)", shown)
    for name, cells in zip(HOSTILE, read[1:], strict=True):
        assert not re.match(r"[=+\-@\t\r]", cells[0]), repr(name)
        assert cells[2:9] == ["3", "0", "0", "0", "1200", "340", "1540"]
        assert cells[2 + exports.COLUMNS.index("cost")] == "0.00029"
    assert read[1 + HOSTILE.index("=1+1")][0] == "'=1+1"
    assert read[1 + HOSTILE.index('a"b,c;d')][0] == 'a"b,c;d'


def test_unknown_is_empty_in_csv() -> None:
    """In CSV what is unknown is an empty cell, not a zero."""
    (row,) = csv.DictReader(io.StringIO(edge(("model",), EDGES["unknown"]).render("csv")))
    assert (row["total_tokens"], row["cached_input_tokens"], row["cost"], row["calls"]) == ("", "", "", "2")


def test_json_has_all_names_and_digits() -> None:
    """JSON has names as they are, whatever they hold, and every number with all its digits."""
    for name in HOSTILE:
        data = json.loads(edge(("agent", "model"), EDGES["huge"], name).render("json"))
        assert data["rows"][0]["agent"] == data["rows"][0]["model"] == name
        assert data["totals"]["cost"] == "123456789012345678901234567890.5"
        assert data["totals"]["input_tokens"] == 10**30


NAMES = st.text(max_size=20)
COUNTS = st.integers(0, 10**15)
AMOUNTS = st.none() | COUNTS | st.fractions(0, 10**6)
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
USAGES = st.builds(
    Usage, *[st.none() | COUNTS] * 3, cached_input_tokens=COUNTS, seconds=st.floats(0, 1e9), images=COUNTS
)
TOTALS = st.builds(
    Totals, calls=COUNTS, errors=COUNTS, unmeasured_calls=COUNTS, estimated_calls=COUNTS, usage=USAGES,
    cost_pico=AMOUNTS, estimated_cost_pico=AMOUNTS.filter(lambda amount: amount is not None), unpriced_calls=COUNTS,
    first_call_at=st.none() | MOMENTS, last_call_at=st.none() | MOMENTS,
)  # fmt: skip


@st.composite
def reports(draw: st.DrawFn) -> Report:
    by = draw(st.lists(st.sampled_from([*DIMENSIONS, "tag:team"]), min_size=1, max_size=3, unique=True))
    key = st.tuples(*[NAMES] * len(by))
    return Report(
        tuple(by),
        tuple(Row(*row) for row in draw(st.lists(st.tuples(key, TOTALS), max_size=3))),
        draw(TOTALS),
        draw(MOMENTS),
        draw(MOMENTS),
        name=draw(st.none() | NAMES),
        pending=draw(COUNTS),
        internal_errors=draw(COUNTS),
        overflow_calls=draw(COUNTS),
        unpriced=tuple(draw(st.lists(st.builds(Unpriced, NAMES, NAMES, COUNTS, COUNTS), max_size=2))),
        alerts=tuple(draw(st.lists(NAMES, max_size=2))),
        recommendations=tuple(draw(st.lists(NAMES, max_size=2))),
    )


@given(reports())
def test_report_survives_json(one: Report) -> None:
    """It is equal, to the last digit, and so is its text in every form."""
    back = Report.from_dict(json.loads(one.render("json")))
    assert back == one
    assert back.to_dict() == one.to_dict()
    assert [back.render(form) for form in RENDERERS] == [one.render(form) for form in RENDERERS]


def test_unknown_keys_of_later_versions_are_ignored() -> None:
    """A report that a later version has written can be read."""
    data = GUIDE.to_dict() | {"new": 1}
    data["rows"][0]["new_tokens"] = 3
    assert Report.from_dict(data) == GUIDE


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.pop("rows"), lambda data: data.update(rows=3), lambda data: data.update(dimensions=[]),
        lambda data: data.update(since="soon"), lambda data: data["rows"][0].pop("agent"),
        lambda data: data["totals"].update(cost="many"), lambda data: data["totals"].pop("calls"),
        lambda data: data["totals"].update(cost_pico="1/0"), lambda data: data.update(dimensions=None),
    ],
)  # fmt: skip
def test_dict_that_is_not_a_report_raises(spoil) -> None:
    """A dict that is no report is refused with a sentence."""
    data = GUIDE.to_dict()
    spoil(data)
    with pytest.raises(ConfigurationError, match=r"this is not a report|names no dimension|is not a dimension"):
        Report.from_dict(data)


# --- from a meter


@pytest.mark.parametrize("by", GROUPINGS, ids=",".join)
def test_rows_sum_up_to_the_totals(by: tuple[str, ...]) -> None:
    """By whatever a meter's report groups, its rows are one for each value."""
    meter = metered()
    one = meter.report(by)
    assert one.dimensions == by
    assert sum(row.totals.calls for row in one.rows) == one.totals.calls == 6
    assert sum(row.totals.cost_pico or 0 for row in one.rows) == one.totals.cost_pico == 516
    assert len({row.key for row in one.rows}) == len(one.rows)
    assert one.since <= one.until


def test_rows_are_sorted_by_cost() -> None:
    """With two dimensions, those of one agent stay together, the most expensive agent first."""
    assert [row.key for row in metered().report("agent").rows] == [("dear",), ("(unattributed)",), ("cheap",)]
    assert [row.key for row in metered().report("agent,model").rows] == [
        ("dear", "b"), ("dear", "a"), ("dear", "c"), ("(unattributed)", "a"), ("cheap", "b"), ("cheap", "a"),
    ]  # fmt: skip


def test_group_is_named_once_in_a_table() -> None:
    """In a table an agent is on its first row only; every other form repeats it."""
    shown = metered().report("agent,model").render("table").splitlines()
    assert [line.split()[0] for line in shown[3:9]] == ["dear", "a", "c", "(unattributed)", "cheap", "a"]
    rows = list(csv.DictReader(io.StringIO(metered().report("agent,model").render("csv"))))
    assert [row["agent"] for row in rows] == ["dear"] * 3 + ["(unattributed)"] + ["cheap"] * 2


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("model", ("model",)), ("agent,model", ("agent", "model")), (" agent , model ", ("agent", "model")),
        (["agent"], ("agent",)), (("agent", "agent"), ("agent",)), ("tag:team", ("tag:team",)),
    ],
)  # fmt: skip
def test_grouping_may_be_a_name_or_a_list(by: object, names: tuple[str, ...]) -> None:
    """One name, names with commas, and any sequence of names say what to group by."""
    assert values.dimensions(by) == names  # type: ignore[arg-type]
    assert Meter().report(by).dimensions == names  # type: ignore[arg-type]


@pytest.mark.parametrize("by", ["", ",", "colour", "model,colour", [], [1], 3, None, [None], ("model", "")])
def test_unknown_grouping_raises_with_the_dimensions(by: object) -> None:
    """What names no dimension is refused with a sentence that says what there is."""
    with pytest.raises(ConfigurationError, match=r'"model"'):
        Meter().report(by)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["", "pdf", None, 3, ["table"]])
def test_unknown_form_raises_with_the_forms(form: object) -> None:
    """A form that there is not is refused, and those that there are are named."""
    for show in (GUIDE.render, lambda name: GUIDE.print(io.StringIO(), format=name)):
        with pytest.raises(ConfigurationError, match="use one of table, tree, markdown, chat, line, json, csv"):
            show(form)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", RENDERERS)
def test_print_summary_prints_any_report(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``print_summary`` prints every form by any grouping in the language asked for, to standard output or a file."""
    meter, file = metered(), io.StringIO()
    meter.print_summary(by="agent,model", format=form, lang="fr")
    meter.print_summary(file, by="agent,model", format=form, lang="fr")
    printed = capsys.readouterr().out
    still = re.compile(r'"until": .*|Session démarrée.*|(?<=Durée : ).*')
    assert still.sub("", printed) == still.sub("", file.getvalue())
    rendered = meter.report("agent,model").render(form, lang="fr")
    shown, expected = (still.sub("", one).splitlines() for one in (printed, rendered))
    assert [line.rstrip() for line in shown] == [line.rstrip() for line in expected]


def test_program_without_a_console_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no standard output, printing raises nothing."""
    monkeypatch.setattr("sys.stdout", None)
    for form in RENDERERS:
        metered().print_summary(format=form)


def test_line_for_logs_is_in_the_language() -> None:
    """``summary()`` is the plain line, in any language."""
    assert metered().summary() == "6 calls | 9,240 tokens | $0.000000000516+"
    assert metered().summary(lang="fr") == "6 appels | 9\u202f240 tokens | 0,000000000516\xa0$+"


def test_language_of_a_report_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument; a wrong one is refused by name."""
    monkeypatch.setenv("OPENAI_METER_LANG", "fr")
    assert metered().report().render().startswith("Utilisation d'OpenAI")
    assert "6 appels" in metered().summary()
    monkeypatch.setenv("OPENAI_METER_LANG", "xx")
    with pytest.raises(ConfigurationError, match="OPENAI_METER_LANG='xx'"):
        metered().print_summary()


def test_title_of_a_block_report_has_its_name() -> None:
    """The report of a block says whose it is."""
    one = openai_meter.track("nightly").report()
    assert one.name == "nightly"
    for form in ("table", "tree", "chat", "markdown"):
        assert "nightly" in one.render(form)


def test_report_does_not_change_with_later_calls() -> None:
    """A report is of its moment: what a meter counts afterwards does not change it."""
    meter = metered()
    one = meter.report()
    before = one.render("json")
    meter._take(CALL)
    assert one.render("json") == before
    assert meter.report().totals.calls == one.totals.calls + 1


@given(st.integers(0, 10**40) | st.fractions(0, 10**20))
def test_amount_is_rounded_to_the_nearest(amount: int | Fraction) -> None:
    """Money as it is shown is at most half of its last digit away from the exact amount, and zero only for zero."""
    exact = usd(amount)
    for write in (words.dollars, words.decimals(4), words.decimals(6)):
        shown = write(exact).removeprefix("$").replace(",", "")
        places = len(shown.partition(".")[2])
        assert abs(Fraction(shown) - Fraction(exact)) <= Fraction(1, 2 * 10**places)
        assert (Fraction(shown) == 0) == (exact == 0)


def test_lower_bound_of_a_cost_is_explained_in_every_text_form():
    """Where some calls have no price, a cost ends in "+"; each form for people says what that means, and why."""
    meter = Meter(thresholds=False)
    meter.track_call("gpt-4o-mini", 1000, 500)
    meter.track_call("my-own-model", 10, 5)
    for form in ("table", "tree", "markdown", "chat"):
        text = meter.report("user").render(form, lang="en")
        assert "+" in text
        assert "1 call without a full price (+): the cost is at least what is shown." in text
        assert "No price for my-own-model: 1 call" in text
    only = Meter(thresholds=False)
    only.track_call("my-own-model", 10, 5)
    assert "(+)" not in only.report("user").render("table", lang="en")
