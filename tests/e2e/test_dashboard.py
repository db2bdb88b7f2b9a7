"""The dashboard, in a real browser, before a real server, with a program that is metered."""

from __future__ import annotations

import csv
import gzip
import json
import re
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

pytest.importorskip("starlette", reason="no starlette here: the dashboard is NOT tested")
pytest.importorskip("jinja2", reason="no jinja2 here: the dashboard is NOT tested")
pytest.importorskip("plotly", reason="no plotly here: the dashboard is NOT tested")

from browser import PATIENCE, Watched, launched, skip_or_fail
from ports import free_port
from starlette.applications import Starlette
from starlette.routing import Mount

import openai_meter
from openai_meter import Call, Meter, MissingExtraError, Usage, server
from openai_meter.core import locale as messages
from openai_meter.core.call import new_call_id
from openai_meter.core.formatting import ENGLISH, exact_dollars, short
from openai_meter.reports.words import dollars
from openai_meter.server import dashboard
from openai_meter.testing.fake_api import workflow
from openai_meter.testing.fake_api.server import DemoServer

pytestmark = pytest.mark.e2e
STATIC = Path(dashboard.__file__).parent / "static"
NASTY = "<img src=x onerror=alert(1)>"
TOKEN = "a-token-for-tests"
UNKNOWN = "\N{EN DASH}"
"""What the page shows for an unknown value."""


# --- what is shown ----------------------------------------------------------------------------------------------------


def call(at: datetime | None = None, **more: Any) -> Call:
    """A call that has just ended, or ended then."""
    at = datetime.now(UTC) if at is None else at
    values: dict[str, Any] = {
        "id": new_call_id(at.timestamp()), "started_at": at, "duration": 1.25, "endpoint": "responses",
        "provider": "openai", "model": "gpt-5-mini", "requested_model": "gpt-5-mini", "status": "ok",
        "usage": Usage(1_000, 50, 1_050, cached_input_tokens=256), "usage_source": "api", "cost_pico": 350_000_000_000,
        "cost_status": "priced", "price_source": "overlay", "agent": "writer", "user": "u1", "host": "api.openai.com",
    }  # fmt: skip
    return Call(**values | more)


def filled(*calls: Call, **settings: Any) -> Meter:
    """A meter that has counted these calls."""
    meter = Meter(**{"thresholds": False} | settings)
    for one in calls:
        meter.started_at = min(meter.started_at, one.started_at)
        meter._take(one)
    return meter


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture
def open_page(browser) -> Iterator[Any]:
    """Opens pages; at the end none of them has complained, or asked anybody but its server."""
    watched: list[tuple[Watched, str]] = []

    def open_page(url: str, *, ready: bool = True, complains: str = r"(?!)", **settings: Any) -> Any:
        usual = {"viewport": {"width": 1280, "height": 900}, "locale": "en-US", "timezone_id": "Europe/Paris"}
        context = browser.new_context(**usual | {"reduced_motion": "reduce"} | settings)
        one = Watched(context.new_page())
        watched.append((one, complains))
        one.page.goto(url)
        if ready:
            until_ready(one.page)
        return one.page

    yield open_page
    for one, complains in watched:
        one.page.context.close()
        assert [text for text in one.complaints if not re.search(complains, text)] == []
        assert one.strangers() == []


def until_ready(page: Any) -> None:
    page.wait_for_selector("body[data-ready=yes]")
    page.wait_for_selector("#connection[data-state=live]")


def until_drawn(page: Any, traces: int) -> None:
    page.wait_for_selector(f'#plot[data-drawn="{traces}"]')


def until(page: Any, script: str, wanted: Any) -> None:
    """Waits until a script has that value."""
    page.wait_for_function(f"wanted => JSON.stringify({script}) === JSON.stringify(wanted)", arg=wanted)


@pytest.fixture
def serve() -> Iterator[Any]:
    """Starts servers that end with the test."""
    running: list[Any] = []

    def serve(meter: Meter | None = None, **settings: Any) -> str:
        running.append(server.start(meter, port=settings.pop("port", 0), max_age=0, **settings))
        return running[-1].url

    serve.running = running  # type: ignore[attr-defined]
    yield serve
    for one in running:
        one.stop()


@pytest.fixture
def ledger(tmp_path) -> Iterator[Any]:
    """A ledger with calls of today, of the last days, and of some weeks ago."""
    pytest.importorskip("sqlalchemy", reason="no SQLAlchemy here: the dashboard of a ledger is NOT tested")
    now = datetime.now(UTC)
    with_ages = [(0, "gpt-5-mini", "writer")] * 2 + [(3, "gpt-4o", "reader")] * 3 + [(20, "gpt-4.1", "writer")] * 4
    ledger = openai_meter.Ledger(f"sqlite:///{tmp_path / 'usage.db'}", spool=tmp_path / "spool", flush_interval=0.02)
    ledger.prepare()
    for days, model, agent in with_ages:
        ledger.add(call(now - timedelta(days=days), model=model, agent=agent))
    assert ledger.flush()
    yield ledger
    ledger.close()


def api(url: str, path: str) -> Any:
    with urllib.request.urlopen(f"{url}{path}") as answer:
        return json.load(answer)


def cards(page: Any) -> dict[str, str]:
    """The values of the cards by their names."""
    pairs = page.eval_on_selector_all(
        ".card", "cards => cards.map(c => [c.querySelector('dt').innerText, c.querySelector('.value').innerText])"
    )
    return dict(pairs)


def column(page: Any, place: int, table: str = "table") -> list[str]:
    return page.eval_on_selector_all(f"#{table} > tbody > tr", f"rows => rows.map(r => r.cells[{place}].innerText)")


def point_at_the_last_bar(page: Any, wanted: str) -> None:
    """Points at the bars from the last one on until the tip has a text: a minute that has just begun has no calls."""
    page.locator("#plot").scroll_into_view_if_needed()
    tip = page.locator("#tip", has_text=wanted)
    for part in (0.98, 0.75, 0.5, 0.25) * 5:
        box = page.locator("#plot").bounding_box()
        y = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + 4, y)
        page.mouse.move(box["x"] + box["width"] * part, y, steps=5)
        page.wait_for_timeout(300)
        if tip.is_visible():
            return
    pytest.fail(f"no tip has {wanted!r}")


def shown_cost(totals: dict[str, Any]) -> str:
    """A cost as the page has to show it."""
    failed = totals["errors"] == totals["calls"] and not Decimal(totals["cost"] or 0)
    if totals["cost"] is None or failed:
        return UNKNOWN
    about = "~" if Decimal(totals["estimated_cost"]) else ""
    return f"{about}{dollars(Decimal(totals['cost']))}{'+' if totals['unpriced_calls'] else ''}"


# --- a metered program ------------------------------------------------------------------------------------------------


def test_page_shows_the_figures_of_the_api(open_page, serve, meter) -> None:
    """After a program has run, the page shows the figures of the API: cards, rows, calls."""
    with DemoServer() as demo:
        # In a thread of its own: this one has the event loop of the browser.
        program = threading.Thread(
            target=workflow.run,
            args=(
                demo.base_url,
                lambda _: None,
                lambda agent, operation: openai_meter.tag(agent=agent, operation=operation),
            ),
        )
        program.start()
        program.join()
    url = serve(meter)
    page = open_page(f"{url}/dashboard")
    answer = api(url, "/api/overview?period=7d&group=model&timezone=Europe/Paris")
    period = answer["cards"]["period"]
    assert period["calls"] == len(meter.calls) > 8
    shown = cards(page)
    assert shown["Cost today"] == shown["Cost this month"] == shown["Cost · 7 days"] == shown_cost(period)
    assert shown["Calls"] == str(period["calls"])
    assert shown["Errors"] == str(period["errors"]) == "1"
    assert shown["From the cache"] == f"{period['cached_input_tokens'] / period['input_tokens']:.1%}"
    rows = sorted(answer["rows"], key=lambda row: (row["cost"] is None, -Decimal(row["cost"] or 0)))
    assert sorted(column(page, 0)) == sorted(row["name"] for row in rows)
    assert dict(zip(column(page, 0), column(page, 7), strict=True)) == {row["name"]: shown_cost(row) for row in rows}
    assert dict(zip(column(page, 0), column(page, 1), strict=True)) == {row["name"]: str(row["calls"]) for row in rows}
    until_drawn(page, len(answer["series"]["groups"]))
    latest = api(url, "/api/calls?limit=12")["calls"]
    calls = page.eval_on_selector_all("#calls tbody tr:not(.detail) th .name", "all => all.map(e => e.innerText)")
    assert calls == [one["model"] for one in latest]


def test_new_call_appears_without_a_reload(open_page, serve) -> None:
    """A call that is counted while the page is open is shown in cards, rows and calls."""
    meter = filled(call())
    page = open_page(f"{serve(meter)}/dashboard")
    assert cards(page)["Cost today"] == "$0.350"
    meter._take(call(model="gpt-4o"))
    page.wait_for_selector("#table tbody th:has-text('gpt-4o')")
    page.wait_for_selector("#calls tbody th:has-text('gpt-4o')")
    assert cards(page)["Cost today"] == "$0.700"
    assert cards(page)["Calls"] == "2"
    until_drawn(page, 2)


def test_empty_meter_shows_how_to_begin(open_page, serve) -> None:
    """Without a call the page shows the first steps in place of zeros; the first call replaces them."""
    meter = filled()
    page = open_page(f"{serve(meter)}/dashboard")
    assert page.locator("#empty").is_visible()
    assert "openai_meter.install()" in page.inner_text("#empty")
    assert not page.locator("#cards").is_visible()
    meter._take(call())
    page.wait_for_selector("#cards", state="visible")
    assert not page.locator("#empty").is_visible()
    until_drawn(page, 1)


def test_empty_ledger_shows_how_to_write_to_it(open_page, serve, tmp_path) -> None:
    """The page of a ledger without calls names that ledger, without its password."""
    pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed: this is NOT tested")
    ledger = openai_meter.Ledger(f"sqlite:///{tmp_path / 'empty.db'}", spool=tmp_path / "spool")
    page = open_page(f"{serve(ledger=ledger)}/dashboard")
    assert f'openai_meter.install(ledger="{ledger.url}")' in page.inner_text("#empty-code")
    ledger.add(call())
    assert ledger.flush()
    page.wait_for_selector("#cards", state="visible")
    ledger.close()


# --- what may be chosen -----------------------------------------------------------------------------------------------


def test_period_and_grouping_change_cards_chart_and_table(open_page, serve, ledger) -> None:
    """Cards, chart and table follow the choice, and a reload keeps it."""
    page = open_page(f"{serve(ledger=ledger)}/dashboard")
    assert sorted(column(page, 0)) == ["gpt-4o", "gpt-5-mini"]
    until_drawn(page, 2)
    page.locator("#period label", has_text="30 days").click()
    until(
        page,
        "[...document.querySelectorAll('#table tbody th')].map(e => e.innerText)",
        ["gpt-4.1", "gpt-4o", "gpt-5-mini"],
    )
    until_drawn(page, 3)
    assert cards(page)["Cost · 30 days"] == "$3.15"
    page.select_option("#group", "agent")
    until(page, "[...document.querySelectorAll('#table tbody th')].map(e => e.innerText)", ["writer", "reader"])
    until_drawn(page, 2)
    assert page.inner_text("#chart-title") == "Cost by agent"
    page.locator("#metric label", has_text="Calls").click()
    assert page.inner_text("#chart-title") == "Calls by agent"
    assert page.eval_on_selector_all("#legend .number", "all => all.map(e => e.innerText)") == ["6", "3"]
    assert "period=30d" in page.url
    assert "group=agent" in page.url
    page.reload()
    until_ready(page)
    assert column(page, 0) == ["writer", "reader"]
    assert page.inner_text("#chart-title") == "Calls by agent"
    assert page.locator("#period input[value='30d']").is_checked()


def test_chart_equals_its_table_and_groups_can_be_hidden(open_page, serve, ledger) -> None:
    """The chart has its figures as a table, a group can be hidden, and a tip shows the parts of a bar."""
    url = serve(ledger=ledger)
    page = open_page(f"{url}/dashboard?period=30d&metric=tokens")
    until_drawn(page, 3)
    page.click("#chart-figures summary")
    answer = api(url, "/api/overview?period=30d&group=model&timezone=Europe/Paris")["series"]
    cells = page.eval_on_selector_all(
        "#chart-figures tbody tr", "rows => rows.map(r => [...r.querySelectorAll('td')].map(c => c.innerText))"
    )
    wanted = [[group["tokens"][place] for group in answer["groups"]] for place in range(len(answer["starts"]))]
    assert cells == [[short(number, ENGLISH) for number in row] for row in wanted]
    heights = page.evaluate("document.getElementById('plot').data.map(trace => trace.y)")
    assert heights == [group["tokens"] for group in answer["groups"]]
    page.locator("#legend button").first.click()
    until_drawn(page, 2)
    assert page.locator("#legend button").first.get_attribute("aria-pressed") == "false"
    point_at_the_last_bar(page, "gpt-5-mini")


def test_click_on_a_row_filters_the_page(open_page, serve, ledger) -> None:
    """A row of the table is a filter for cards, chart, table and calls; a chip shows it and takes it away again."""
    page = open_page(f"{serve(ledger=ledger)}/dashboard?period=30d&group=agent")
    assert column(page, 0) == ["writer", "reader"]
    page.locator("#table tbody button", has_text="reader").click()
    until(page, "[...document.querySelectorAll('#table tbody th')].map(e => e.innerText)", ["reader"])
    assert cards(page)["Calls"] == "3"
    page.select_option("#group", "model")
    until(page, "[...document.querySelectorAll('#table tbody th')].map(e => e.innerText)", ["gpt-4o"])
    names = "[...document.querySelectorAll('#calls tbody tr:not(.detail) th .name')].map(e => e.innerText)"
    until(page, names, ["gpt-4o"] * 3)
    page.reload()
    until_ready(page)
    assert column(page, 0) == ["gpt-4o"]
    assert page.locator("#chips button").inner_text().startswith("Agent: reader")
    page.locator("#chips button").click()
    until(page, "document.querySelectorAll('#table tbody tr').length", 3)
    assert "only=" not in page.url


def test_row_without_a_value_and_odd_names_can_be_filters(open_page, serve) -> None:
    """Calls without an agent, and agents with any characters in their names, can be selected as others."""
    meter = filled(call(agent=None), call(agent="a=b&c<i>"), call(agent="a=b&c<i>"))
    page = open_page(f"{serve(meter)}/dashboard?group=agent")
    page.locator("#table tbody button", has_text="a=b").click()
    until(page, "[...document.querySelectorAll('#table tbody tr')].map(r => r.cells[1].innerText)", ["2"])
    page.locator("#chips button").click()
    page.locator("#table tbody button", has_text="(unattributed)").click()
    until(page, "[...document.querySelectorAll('#table tbody tr')].map(r => r.cells[1].innerText)", ["1"])


def test_chosen_dates_limit_the_page(open_page, serve, ledger) -> None:
    """Chosen dates are a period; the last day is included."""
    page = open_page(f"{serve(ledger=ledger)}/dashboard")
    day = (datetime.now(ZoneInfo("Europe/Paris")) - timedelta(days=20)).date().isoformat()
    page.locator("#period label", has_text="Dates").click()
    page.fill("#since", day)
    page.fill("#until", day)
    until(page, "[...document.querySelectorAll('#table tbody th')].map(e => e.innerText)", ["gpt-4.1"])
    assert cards(page)["Calls"] == "4"
    page.reload()
    until_ready(page)
    assert column(page, 0) == ["gpt-4.1"]


def test_unknown_prices_and_failures_are_dashes(open_page, serve) -> None:
    """Legend, table and calls have no $0.00 for a model without a price or a model whose calls all failed."""
    unknown = {"model": "no-such-model", "cost_pico": None, "cost_status": "unpriced"}
    failed = {"model": "broken", "status": "error", "usage": Usage(), "usage_source": "none", "cost_pico": 0,
              "cost_status": "free"}  # fmt: skip
    page = open_page(f"{serve(filled(call(), call(**unknown), call(**failed)))}/dashboard")
    until_drawn(page, 3)
    legend = page.eval_on_selector_all(
        "#legend button", "all => all.map(b => [...b.querySelectorAll('.name, .number')].map(e => e.innerText))"
    )
    assert dict(legend)["no-such-model"] == UNKNOWN
    shown = dict(zip(column(page, 0), column(page, 7), strict=True))
    assert shown == {"gpt-5-mini": "$0.35", "no-such-model": UNKNOWN, "broken": UNKNOWN}
    costs = page.eval_on_selector_all("#calls tbody tr:not(.detail)", "rows => rows.map(r => r.cells[6].innerText)")
    assert sorted(costs) == ["$0.350", UNKNOWN, UNKNOWN]


def test_latency_has_percentiles_by_model(open_page, serve) -> None:
    """Median and 95th percentile of duration and first token by model; failed calls and unknown times are left out."""
    calls = [call(duration=float(n), time_to_first_token=n / 10) for n in range(1, 21)]
    calls += [call(model="gpt-4o", duration=3.0), call(model="gpt-4o", duration=60.0, status="error")]
    page = open_page(f"{serve(filled(*calls))}/dashboard")
    rows = page.eval_on_selector_all("#latency tbody tr", "rows => rows.map(r => [...r.cells].map(c => c.innerText))")
    assert rows == [
        ["gpt-5-mini", "20", "10s", "19s", "1.00s", "1.90s"],
        ["gpt-4o", "1", "3.00s", "3.00s", UNKNOWN, UNKNOWN],
    ]


def test_advice_is_one_line_a_kind(open_page, serve) -> None:
    """Advice of one kind on several models is one line with the calls and the period; it opens to its text."""
    long = {"usage": Usage(60_000, 50, 60_050)}
    calls = [call(model=model, **long) for model in ("gpt-5-mini", "gpt-4o") for _ in range(30)]
    page = open_page(f"{serve(filled(*calls))}/dashboard")
    lines = page.locator("#advice details[data-kind=long_prompts]")
    assert lines.count() == 1
    assert "Shorten long prompts" in lines.locator("summary").inner_text()
    assert "60 calls" in lines.locator("summary").inner_text()
    assert page.inner_text("#advice-period").startswith("From the calls of ")
    assert not lines.locator("p").first.is_visible()
    lines.locator("summary").click()
    assert lines.locator("p").first.is_visible()
    chart, advice = (page.locator(name).bounding_box()["y"] for name in ("#plot", "#advice"))
    assert chart < advice


def test_table_sorts_and_searches(open_page, serve) -> None:
    """A heading sorts, a second click reverses, and the order is announced; the search keeps rows with the text."""
    calls = [call(user=f"user-{n}", cost_pico=n * 10**10, usage=Usage(100 - n, 1, 101 - n)) for n in range(1, 13)]
    page = open_page(f"{serve(filled(*calls))}/dashboard?group=user")
    assert column(page, 0)[:2] == ["user-12", "user-11"]
    heads = page.locator("#table thead th")
    assert heads.nth(7).get_attribute("aria-sort") == "descending"
    heads.nth(7).locator("button").click()
    assert heads.nth(7).get_attribute("aria-sort") == "ascending"
    assert column(page, 0)[:2] == ["user-1", "user-2"]
    heads.nth(0).locator("button").focus()
    page.keyboard.press("Enter")
    assert column(page, 0) == [f"user-{n}" for n in range(1, 13)]  # numbers in names count as numbers
    assert heads.nth(7).get_attribute("aria-sort") is None
    page.fill("#search", "USER-1")
    assert column(page, 0) == ["user-1", "user-10", "user-11", "user-12"]
    page.fill("#search", "nobody")
    assert page.inner_text("#table-note") == "No row with this name."
    page.reload()
    until_ready(page)
    assert page.input_value("#search") == "nobody"


def test_long_table_shows_the_rest_on_demand(open_page, serve) -> None:
    """Of many rows the first are shown, and a button shows all."""
    page = open_page(f"{serve(filled(*(call(user=f'u{n}') for n in range(70))))}/dashboard?group=user")
    assert len(column(page, 0)) == 20
    page.click("#table-more")
    assert len(column(page, 0)) == 70
    assert not page.locator("#table-more").is_visible()


def test_table_downloads_as_csv(open_page, serve) -> None:
    """The file has the rows that are shown, exact, and no name in it is a formula."""
    names = ("=1+1", "plain", 'with "quotes", and commas')
    page = open_page(f"{serve(filled(*(call(agent=name) for name in names)))}/dashboard?group=agent&sort=name")
    with page.expect_download() as download:
        page.click("#download")
    rows = [*csv.reader(Path(download.value.path()).read_text(encoding="utf-8").splitlines())]
    assert download.value.suggested_filename == "openai-usage-agent-7d.csv"
    assert rows[0][0] == "agent"
    assert {row[0] for row in rows[1:]} == {"'=1+1", "plain", 'with "quotes", and commas'}
    assert {tuple(row[1:]) for row in rows[1:]} == {("1", "0", "1000", "256", "50", "1050", "0.35")}


# --- calls, alerts, reset ---------------------------------------------------------------------------------------------


def test_call_row_opens_to_its_bill(open_page, serve, meter) -> None:
    """The bill is that of the API; the row stays open when new calls arrive."""
    meter.track_call("gpt-4o-mini", 3_245, 1_892)
    url = serve(meter)
    page = open_page(f"{url}/dashboard")
    bill = api(url, f"/api/explain/{meter.calls[0].id}")
    toggle = page.locator("#calls .toggle button")
    assert toggle.get_attribute("aria-expanded") == "false"
    toggle.click()
    page.wait_for_selector(".bill")
    amounts = page.eval_on_selector_all(".bill tbody td:last-child", "all => all.map(e => e.innerText)")
    assert amounts == [exact_dollars(Decimal(line["usd"]), ENGLISH, 8) for line in bill["lines"]]
    assert page.inner_text(".bill tfoot td:last-child") == "$0.00162195"
    meter.track_call("gpt-4o", 10, 10)
    page.wait_for_selector("#calls tbody th:has-text('gpt-4o') >> nth=1")
    assert page.locator("#calls .toggle button[aria-expanded=true]").count() == 1
    assert page.locator(".bill").is_visible()


def test_calls_page_back_and_filter_errors(open_page, serve) -> None:
    """Older calls are read page by page, and failed ones can be shown alone."""
    started = datetime.now(UTC) - timedelta(hours=1)
    calls = [call(started + timedelta(seconds=n), model=f"model-{n}") for n in range(30)]
    calls[4] = replace(calls[4], status="error", error_type="RateLimitError")
    page = open_page(f"{serve(filled(*calls))}/dashboard")
    names = "[...document.querySelectorAll('#calls tbody th .name')].map(e => e.innerText)"
    until(page, names, [f"model-{n}" for n in range(29, 17, -1)])
    page.click("#calls-more")
    until(page, names, [f"model-{n}" for n in range(29, 5, -1)])
    page.click("#calls-more")
    until(page, names, [f"model-{n}" for n in range(29, -1, -1)])
    assert not page.locator("#calls-more").is_visible()
    page.check("#only-errors")
    until(page, names, ["model-4"])
    assert "RateLimitError" in page.inner_text("#calls tbody")


def test_alerts_and_limits_are_shown(open_page, serve) -> None:
    """An exceeded limit is at the top, and the others show how far they are used."""
    meter = filled(call(), call(), thresholds={"cost": "0.5", "calls": 10, "errors": 5, "tokens_per_call": None})
    page = open_page(f"{serve(meter)}/dashboard")
    page.wait_for_selector("#advice .limits")
    assert page.inner_text("#advice .alert .text") == "Alert: Cost of $0.70 (limit: $0.50)"
    used = page.eval_on_selector_all("#advice .limits .number", "all => all.map(e => e.innerText)")
    assert sorted(used) == ["$0.700 of $0.500 (140%)", "0 of 5 (0%)", "2 of 10 (20%)"]


def test_limits_of_a_ledger_are_bars_with_their_window(open_page, serve, tmp_path) -> None:
    """Each limit of the ledger has a bar: its window, the used share in percent, and when it starts again."""
    ledger = openai_meter.Ledger(f"sqlite:///{tmp_path / 'usage.db'}")
    ledger.import_calls([call(), call(), call(cost_pico=None, cost_status="unpriced")])
    page = open_page(f"{serve(ledger=ledger, limits=['cost=1/month', 'calls=2/day/user'])}/dashboard")
    page.wait_for_selector("#advice .limits")
    rows = page.eval_on_selector_all("#advice .limits li", "all => all.map(e => e.innerText.split('\\n').join(' '))")
    assert rows == ["Cost this month $0.700+ of $1.00 (70%)", "Calls today · u1 3 of 2 (150%)"]
    bars = page.eval_on_selector_all("#advice .limits .bar", "all => all.map(e => [e.className, e.style.cssText])")
    assert bars == [["bar", "--part: 70%;"], ["bar over", "--part: 100%;"]]
    assert page.get_attribute("#advice .limits li", "title").startswith("Begins again at ")
    assert page.inner_text("#advice .alert .text") == "Alert: 3 API calls by user u1 today (limit: 2)"


def test_calls_that_all_failed_have_no_cost_in_the_legend(open_page, serve) -> None:
    """A model whose calls all failed has no cost, in the legend as in the table and in its share."""
    failed = call(model="gone", status="error", usage=Usage(), cost_pico=0, cost_status="free", usage_source="none")
    page = open_page(f"{serve(filled(call(), failed))}/dashboard")
    until_drawn(page, 2)
    amounts = page.eval_on_selector_all("#legend li", "all => all.map(e => e.innerText.split('\\n').join(' '))")
    assert sorted(amounts) == [f"gone {UNKNOWN}", "gpt-5-mini $0.350"]
    assert page.inner_text("#table tbody tr:last-child td:last-child").strip() == UNKNOWN


def test_reset_is_confirmed_first(open_page, serve) -> None:
    """Cancel and Escape keep all; only the confirmation clears the calls."""
    meter = filled(call())
    page = open_page(f"{serve(meter)}/dashboard")
    for leave in (lambda: page.click("#reset-cancel"), lambda: page.keyboard.press("Escape")):
        page.click("#reset")
        assert page.locator("#reset-dialog").is_visible()
        leave()
        assert not page.locator("#reset-dialog").is_visible()
        assert meter.totals.calls == 1
    page.click("#reset")
    page.click("#reset-confirm")
    page.wait_for_selector("#empty", state="visible")
    assert meter.totals.calls == 0


def test_ledger_cannot_be_reset(open_page, serve, ledger) -> None:
    """Where the figures are those of a ledger there is no reset button."""
    page = open_page(f"{serve(ledger=ledger)}/dashboard")
    assert not page.locator("#reset").is_visible()
    assert page.inner_text("#scope").startswith("All processes of the ledger")


def test_estimates_and_unknowns_are_marked(open_page, serve) -> None:
    """An estimate is marked, an unknown value is not zero, and a partly known one is marked."""
    unknown = {"cost_pico": None, "cost_status": "unpriced", "cost_reason": "unknown model"}
    meter = filled(
        call(model="guessed", usage_source="chars", cost_estimated=True),
        call(model="unknown", usage=Usage(None, None, None), usage_source="none", **unknown),
    )
    page = open_page(f"{serve(meter)}/dashboard?sort=name")
    assert cards(page)["Cost today"] == "~$0.350+"
    assert column(page, 7) == ["~$0.35", UNKNOWN]
    assert column(page, 6) == ["~1,050", UNKNOWN]
    assert page.inner_text("#calls tbody tr:not(.detail):has-text('unknown') td:nth-child(7)") == UNKNOWN


# --- names are data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["model", "agent", "user", "tag"])
def test_names_with_markup_are_shown_as_text(open_page, serve, group) -> None:
    """A name with markup is shown literally: in table, legend, tip, calls and advice."""
    names = {
        "model": NASTY,
        "agent": f"<b>bold</b>{NASTY}",
        "user": "<a href='//evil.example'>x</a>",
        "operation": NASTY,
    }
    meter = filled(
        *(call(**names, tags={"t": NASTY}, session="%{y}</script><script>alert(1)</script>") for _ in range(3)),
        thresholds=[openai_meter.Threshold("calls", 1, per="model")],
    )
    dialogs: list[str] = []
    page = open_page(f"{serve(meter)}/dashboard?group={group}&q=")
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    wanted = {"tag": f"t={NASTY}"}.get(group) or names[group]
    assert column(page, 0) == [wanted]
    until_drawn(page, 1)
    assert page.inner_text("#legend .name") == wanted
    point_at_the_last_bar(page, wanted)
    page.click("#calls .toggle button >> nth=0")
    page.wait_for_selector("#calls .detail .facts")
    assert NASTY in page.inner_text("#calls tbody")
    assert NASTY in page.inner_text("#advice .alert")
    markup = page.evaluate(
        "['main img', 'main a', 'main b', 'main script'].map(s => document.querySelectorAll(s).length)"
    )
    assert markup == [0, 0, 0, 0]
    assert dialogs == []


def test_markup_in_the_address_is_ignored(open_page, serve) -> None:
    """Text in the address is not markup, and unknown values are ignored."""
    page = open_page(
        f"{serve(filled(call()))}/dashboard?q={NASTY}&period=%22%5D&group=__proto__&metric=x&sort=-no&lang=xx"
    )
    assert page.input_value("#search") == NASTY
    assert page.locator("#period input[value='7d']").is_checked()
    assert page.locator("html").get_attribute("lang") == "en"


# --- languages, colours, sizes ----------------------------------------------------------------------------------------


def test_page_of_a_french_browser_is_french(open_page, serve) -> None:
    """With French numbers; another language can be selected and is kept with the choice."""
    page = open_page(f"{serve(filled(call(), call()))}/dashboard?group=agent", locale="fr-FR")
    assert page.locator("html").get_attribute("lang") == "fr"
    assert page.inner_text("h1") == "Utilisation d'OpenAI"
    assert re.sub(r"\s", " ", cards(page)["Coût aujourd'hui"]) == "0,700 $"
    assert page.inner_text("#chart-title") == "Coût par agent"
    assert page.inner_text("#connection") == "En direct"
    page.click(".languages a[lang=en]")
    until_ready(page)
    assert cards(page)["Cost today"] == "$0.700"
    assert "group=agent" in page.url


def test_times_are_in_the_timezone_of_the_browser(open_page, serve) -> None:
    """The time of a call is in the timezone of the viewer."""
    meter = filled(call(datetime(2026, 1, 15, 12, 30, 5, tzinfo=UTC)))
    page = open_page(f"{serve(meter)}/dashboard?period=all", timezone_id="Asia/Kolkata", locale="en-GB")
    page.wait_for_selector("#calls tbody time")
    assert "18:00" in page.inner_text("#calls tbody time")


def test_theme_follows_the_system_and_the_button(open_page, serve) -> None:
    """The system sets the theme, a button overrides it, and that is remembered; the chart follows."""
    page = open_page(f"{serve(filled(call()))}/dashboard", color_scheme="dark")
    until_drawn(page, 1)
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    bar = "document.getElementById('plot').data[0].marker.color"
    assert page.evaluate(ground) == "rgb(17, 19, 21)"
    dark_bar = page.evaluate(bar)
    page.click("#theme")
    assert page.evaluate(ground) == "rgb(246, 246, 243)"
    page.wait_for_function(f"dark => {bar} !== dark", arg=dark_bar)
    page.reload()
    until_ready(page)
    assert page.evaluate(ground) == "rgb(246, 246, 243)"


@pytest.mark.parametrize("lang", messages.languages())
def test_phone_does_not_scroll_sideways(open_page, serve, lang) -> None:
    """At 360 pixels nothing is wider than the page, whatever is open, however long a name is."""
    meter = filled(call(model="m" * 200, agent="a" * 200, user="u" * 90), call(), thresholds={"cost": "0.1"})
    size = {"width": 360, "height": 740}
    page = open_page(f"{serve(meter)}/dashboard?lang={lang}", viewport=size, has_touch=True, is_mobile=True)
    until_drawn(page, 2)
    page.locator("#calls .toggle button").first.click()
    page.wait_for_selector("#calls .detail .facts")
    page.click("#chart-figures summary")
    page.wait_for_selector("#advice .limits")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    wide = page.evaluate(
        "[...document.querySelectorAll('main > *')].filter(e => e.getBoundingClientRect().right > 360).map(e => e.id)"
    )
    assert wide == []


def test_keyboard_reaches_the_controls(open_page, serve) -> None:
    """The first stop is the link to the figures, a period is chosen by arrows, and the focus is visible."""
    page = open_page(f"{serve(filled(call()))}/dashboard")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.value") == "7d"
    page.keyboard.press("ArrowRight")
    page.wait_for_function("location.search.includes('period=30d')")
    outline = "getComputedStyle(document.activeElement.nextElementSibling).outlineStyle"
    assert page.evaluate(outline) == "solid"


@pytest.mark.parametrize(
    "settings",
    [
        {"color_scheme": "light"},
        {"color_scheme": "dark"},
        {"viewport": {"width": 360, "height": 740}},
        {"locale": "fr-FR"},
    ],
    ids=["light", "dark", "phone", "French"],
)
def test_axe_finds_no_serious_problem(open_page, serve, settings) -> None:
    """axe-core has no serious finding: with everything open, and in the dialog."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        skip_or_fail("axe-playwright-python is not installed")
    failed = call(model="gpt-4o", status="error", error_type="RateLimitError")
    meter = filled(call(), call(), failed, thresholds={"cost": "0.5"})
    page = open_page(f"{serve(meter)}/dashboard", **settings)
    until_drawn(page, 2)
    page.locator("#calls .toggle button").first.click()
    page.wait_for_selector("#calls .detail .facts + *")
    page.click("#chart-figures summary")
    page.wait_for_selector("#advice .limits")

    def findings() -> list[str]:
        found = Axe().run(page).response["violations"]
        return [
            f"{one['id']}: {node['html']}"
            for one in found
            if one["impact"] in {"serious", "critical"}
            for node in one["nodes"]
        ]

    assert findings() == []
    page.click("#reset")
    assert findings() == []


# --- the way to the server --------------------------------------------------------------------------------------------


def test_page_requests_the_token(open_page, serve) -> None:
    """Where the API needs a token the page requests it, shows when it is wrong, and keeps it for the tab."""
    url = serve(filled(call()), token=TOKEN)
    page = open_page(f"{url}/dashboard", ready=False, complains="status of 401")
    page.wait_for_selector("#token-dialog", state="visible")
    assert not page.locator("#cards .card").count()
    page.fill("#token", "not-the-token")
    page.keyboard.press("Enter")
    page.wait_for_selector("#token-wrong", state="visible")
    page.fill("#token", TOKEN)
    page.click("#token-form button[type=submit]")
    until_ready(page)
    assert cards(page)["Cost today"] == "$0.350"
    assert TOKEN not in page.url
    page.reload()
    until_ready(page)
    assert not page.locator("#token-dialog").is_visible()


def test_lost_server_is_shown_and_found_again(open_page, serve) -> None:
    """The page shows that it is not live, keeps its figures, and continues when the server is back."""
    meter = filled(call())
    url = serve(meter, port=free_port())
    page = open_page(f"{url}/dashboard", complains="ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY")
    serve.running[0].stop()
    page.wait_for_selector("#connection[data-state=lost]")
    assert page.inner_text("#connection").startswith("Not live; next try in ")
    assert cards(page)["Cost today"] == "$0.350"
    meter._take(call())
    serve(meter, port=int(url.rpartition(":")[2]))
    page.wait_for_selector("#connection[data-state=live]")
    until(page, "document.querySelector('.card .value').innerText", "$0.700")
    page.wait_for_selector("#failure", state="hidden")


def test_page_works_below_a_prefix(open_page) -> None:
    """The page works below any prefix of another application."""
    import uvicorn

    app = Starlette(routes=[Mount("/deep/meter", server.create_app(filled(call())))])
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=2))
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        deadline = threading.Event()
        for _ in range(PATIENCE // 20):
            if running.started or deadline.wait(0.02):
                break
        port = running.servers[0].sockets[0].getsockname()[1]
        page = open_page(f"http://127.0.0.1:{port}/deep/meter/dashboard")
        assert cards(page)["Cost today"] == "$0.350"
        until_drawn(page, 1)
        page.goto("about:blank")
    finally:
        running.should_exit = True
        thread.join()


# --- files ------------------------------------------------------------------------------------------------------------


def fetch(url: str, **headers: str) -> tuple[int, Any, bytes]:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_files_are_cached_by_version(serve) -> None:
    """A file has its edition in its address and is never requested again; under another edition it is checked."""
    url = serve(filled())
    page = fetch(f"{url}/dashboard")[2].decode()
    assets = re.search(r'data-assets="([^"]+)"', page)[1]
    status, headers, body = fetch(f"{url}/{assets}/app.js", accept_encoding="gzip")
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert headers["content-type"].startswith("text/javascript")
    assert gzip.decompress(body) == (STATIC / "app.js").read_bytes() == fetch(f"{url}/{assets}/app.js")[2]
    assert fetch(f"{url}/{assets}/app.js", if_none_match=headers["etag"])[::2] == (304, b"")
    assert fetch(f"{url}/static/older/app.js")[1]["cache-control"] == "no-cache"
    charts = fetch(f"{url}/{assets}/plotly.min.js", accept_encoding="br, gzip;q=0.5")
    assert charts[1]["content-encoding"] == "gzip"
    plain = fetch(f"{url}/{assets}/plotly.min.js", accept_encoding="gzip;q=0")
    assert plain[1]["content-encoding"] is None
    assert gzip.decompress(charts[2]) == plain[2] == dashboard._plotly().read_bytes()
    for name in ("nothing.js", "..%2fdashboard.py", "%2e%2e/dashboard.py", "__init__.py"):
        assert fetch(f"{url}/{assets}/{name}")[0] == 404


def test_page_policy_allows_nothing_inline(serve) -> None:
    """The policy of the page allows only the server's own files, and the page contains no figures."""
    _, headers, body = fetch(f"{serve(filled(call(agent='secret agent')))}/dashboard")
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert b"secret agent" not in body
    assert not re.search(rb"<script(?![^>]*(?:src=|application/json))|\son\w+=|\sstyle=", body)


def test_missing_extra_is_named(monkeypatch) -> None:
    """Without plotly the message of the server has the package to install."""
    monkeypatch.setattr(dashboard, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"plotly.*pip install"):
        server.create_app(filled())


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_every_message_of_a_script_is_in_the_catalog(path) -> None:
    """Every message of a script is in the catalog that the page gets."""
    catalog = messages.language("en").areas(*dashboard.AREAS)
    source = path.read_text(encoding="utf-8")
    whole = re.findall(r'"((?:page|row|dimension|by|column|table|unit|bill|prices)\.[a-z0-9_.]+)"', source)
    parts = re.findall(r"`((?:page|row|dimension|by|reason|unit)\.[a-z0-9_.]*)\$\{", source)
    assert [key for key in whole if key not in catalog] == []
    assert [start for start in parts if not any(key.startswith(start) for key in catalog)] == []
    assert "innerHTML" not in source
    assert "http" not in source.replace("https://www.w3.org", "")
