"""What each route of the API answers, over a meter and over a ledger."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_client import call, client, documented, filled, kept

import openai_meter
from openai_meter import Meter
from openai_meter.reports.model_stats import undated
from openai_meter.server.app import ROUTES

csv.field_size_limit(10_000_000)
CALLS = []


@pytest.fixture(autouse=True)
def made_now() -> None:
    """The calls are of the last minutes, whenever the test runs."""
    CALLS[:] = [
        call("gpt-4o", (2000, 500), agent="planner", user="ann", tags={"env": "prod"}),
        call("gpt-4o-mini", (1000, 100), agent="planner", user="bob"),
        call("gpt-4o-mini-2024-07-18", (500, 50), agent=None, status="error", error_type="RateLimitError"),
        call(None, (10, 1), agent="writer", started_at=datetime.now(UTC) - timedelta(minutes=3)),
    ]


@pytest.fixture(params=["meter", "ledger", "meter with a ledger"])
def api(request, tmp_path, made_now):
    """The API over each kind of source, all with the same calls."""
    if request.param == "meter":
        return client(filled(*CALLS))
    ledger = kept(tmp_path, *CALLS)
    if request.param == "ledger":
        return client(ledger=ledger)
    return client(filled(*CALLS), ledger)


def test_every_route_answers_with_its_content_type(api) -> None:
    """Every row of the table answers, and says what it is."""
    for row in ROUTES:
        path = row.path.replace("{id}", CALLS[0].id)
        response = api.request(row.method, path)
        assert response.status_code in {200, *row.errors}, (row.path, response.text)
        if response.status_code == 200:
            assert response.headers["content-type"].partition(";")[0] in row.types


# --- the document's routes --------------------------------------------------------------------------------------------


def test_stats_have_the_documented_keys_and_values() -> None:
    """``/api/stats`` has exactly the keys of the guide with the right values, and our additional fields."""
    one = documented()
    answer = client(filled(one)).get("/api/stats?lang=fr").json()
    assert [*answer][:6] == ["success", "timestamp", "stats", "threshold", "recommendations", "report"]
    assert answer["success"] is True
    assert abs(answer["timestamp"] / 1000 - datetime.now(UTC).timestamp()) < 60
    assert answer["stats"] == {
        "gpt-4o-mini": {
            "totalCalls": 1,
            "totalPromptTokens": 3245,
            "totalCompletionTokens": 1892,
            "totalTokens": 5137,
            "estimatedCost": 0.00162195,
            "lastCallTimestamp": (one.started_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1),
            "errorCount": 0,
        }
    }
    assert answer["threshold"] is None
    assert answer["recommendations"] == []
    assert answer["report"].replace("  \n", "\n").splitlines() == [
        "📊 **Statistiques d'utilisation OpenAI**",
        "",
        answer["report"].replace("  \n", "\n").splitlines()[2],
        "",
        "**gpt-4o-mini**",
        "├─ Appels : 1",
        "├─ Tokens : 5,137",
        "└─ Coût : $0.001622",
        "",
        "**📈 Totaux**",
        "└─ Coût total : $0.001622",
    ]
    assert answer["report"].splitlines()[2].startswith("⏱️ Durée : ")
    assert (answer["scope"], answer["totals"]["cost"], answer["alerts"]) == ("process", "0.00162195", [])


def test_reset_clears_the_figures() -> None:
    """``POST /api/stats/reset`` returns the answer of the guide, and starts the session again."""
    meter = filled(documented())
    began = meter.started_at
    api = client(meter)
    answer = api.post("/api/stats/reset?lang=fr").json()
    assert [*answer][:3] == ["success", "message", "timestamp"]
    assert answer["success"] is True
    assert answer["message"] == "Statistiques réinitialisées avec succès"
    assert isinstance(answer["timestamp"], int)
    assert answer["before"]["cost"] == "0.00162195"
    after = api.get("/api/stats").json()
    assert (after["stats"], after["totals"]["calls"]) == ({}, 0)
    assert meter.started_at > began
    assert api.get("/api/calls").json() == {"calls": [], "next": None}


def test_ledger_cannot_be_reset(tmp_path) -> None:
    """Resetting a ledger is refused, and a meter's reset does not change its ledger."""
    ledger = kept(tmp_path, *CALLS)
    refused = client(ledger=ledger).post("/api/stats/reset")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_possible")
    api = client(filled(*CALLS), ledger)
    assert api.post("/api/stats/reset").status_code == 200
    assert api.get("/api/stats").json()["totals"]["calls"] == 0
    assert api.get("/api/overview").json()["cards"]["period"]["calls"] == 4


def test_exceeded_threshold_is_in_stats_and_alerts() -> None:
    """``threshold`` is the most urgent alert, in the requested language; ``alerts`` are all."""
    meter = filled(*(call(agent="a") for _ in range(3)), thresholds={"calls": 2, "errors": None})
    api = client(meter)
    answer = api.get("/api/stats?lang=fr").json()
    assert answer["threshold"]["alert"] is True
    assert answer["threshold"]["message"].startswith("⚠️ Alerte : 3 appels API")
    assert answer["threshold"]["kind"] == "calls"
    assert api.get("/api/alerts?lang=fr").json()["alerts"] == answer["alerts"]
    assert len(answer["alerts"]) == 1


# --- the dashboard's --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["model", "agent", "user", "tag", "endpoint"])
def test_overview_rows_and_series_add_up_to_the_card(api, group: str) -> None:
    """The rows of an overview sum up to its card, and so do its series."""
    answer = api.get(f"/api/overview?period=24h&group={group}&timezone=Europe/Paris").json()
    card = answer["cards"]["period"]
    assert card["calls"] == 4
    assert sum(row["calls"] for row in answer["rows"]) == 4
    assert sum(Decimal(row["cost"]) for row in answer["rows"] if row["cost"]) == Decimal(card["cost"])
    assert answer["partial"] is False
    series = answer["series"]
    assert all(len(one["cost"]) == len(series["starts"]) == len(one["calls"]) for one in series["groups"])
    assert sum(sum(one["calls"]) for one in series["groups"]) == 4
    assert answer["cards"]["month"]["calls"] >= answer["cards"]["today"]["calls"]


def test_overview_of_a_ledger_has_its_periods(tmp_path) -> None:
    """Its figures are those of the calls, period by period, in the requested timezone."""
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    calls = [call(started_at=noon - timedelta(days=days)) for days in (1, 2, 2, 9, 40)]
    answer = client(ledger=kept(tmp_path, *calls)).get("/api/overview?period=7d&lang=fr").json()
    cards = answer["cards"]
    assert (cards["today"]["calls"], cards["period"]["calls"]) == (0, 3)
    assert cards["previous"]["calls"] == 1
    series = answer["series"]
    assert series["step"] == "day"
    assert len(series["starts"]) == 7
    assert series["groups"] == [
        {
            "name": "gpt-4o-mini",
            "cost": [0, 0, 0, 0, float(calls[0].cost) * 2, float(calls[0].cost), 0],
            "calls": [0, 0, 0, 0, 2, 1, 0],
            "tokens": [0, 0, 0, 0, 2200, 1100, 0],
        }
    ]
    assert answer["forecast"]["period"] == "month"
    assert (
        Decimal(answer["forecast"]["low"]) <= Decimal(answer["forecast"]["cost"]) <= Decimal(answer["forecast"]["high"])
    )
    everything = client(ledger=kept(tmp_path)).get("/api/overview?period=all").json()
    assert everything["cards"]["period"]["calls"] == 5
    assert len(everything["series"]["starts"]) == 41
    assert everything["cards"]["previous"] is None


def test_unknown_cost_is_null(tmp_path) -> None:
    """An unknown cost is null in cards, rows and series, and not 0."""
    one = call("no-such-model")
    for api in (client(filled(one)), client(ledger=kept(tmp_path, one))):
        answer = api.get("/api/overview?period=today").json()
        assert answer["cards"]["period"]["cost"] is None
        assert answer["rows"][0]["cost"] is None
        assert None in answer["series"]["groups"][0]["cost"]
        assert api.get("/api/stats").json()["stats"]["no-such-model"]["estimatedCost"] is None


def test_series_shows_eight_groups_and_the_rest() -> None:
    """The eight largest groups have their own line; the rest is one line that is marked as such."""
    meter = filled(*(call(agent=f"agent {n}", tokens=(1000 * n, 10)) for n in range(1, 13)))
    meter.started_at -= timedelta(minutes=5)
    answer = client(meter).get("/api/overview?group=agent&period=all").json()
    groups = answer["series"]["groups"]
    assert [one["name"] for one in groups] == [*(f"agent {n}" for n in range(12, 4, -1)), None]
    assert groups[-1]["other"] is True
    assert sum(groups[-1]["calls"]) == 4
    assert len(answer["rows"]) == 12


def test_overview_is_partial_when_calls_have_left_the_ring() -> None:
    """A period that the recent calls do not cover is marked; totals since the start are exact."""
    meter = filled(call(started_at=datetime.now(UTC) - timedelta(days=2)), *(call() for _ in range(9)), recent=4)
    api = client(meter)
    whole = api.get("/api/overview?period=all").json()
    assert (whole["cards"]["period"]["calls"], whole["partial"]) == (10, True)
    part = api.get("/api/overview?period=24h").json()
    assert (part["cards"]["period"]["calls"], part["partial"]) == (4, True)
    assert part["cards"]["previous"] is None
    assert client(filled(*(call() for _ in range(10)))).get("/api/overview?period=all").json()["partial"] is False


def test_calls_are_paged_newest_first(api) -> None:
    """Each call is on one page, the latest first, and the last page is marked as the last."""
    seen, cursor = [], None
    for _ in range(5):
        answer = api.get("/api/calls", params={"limit": 1} | ({"cursor": cursor} if cursor else {})).json()
        seen += answer["calls"]
        cursor = answer["next"]
        if cursor is None:
            break
    assert [one["id"] for one in seen] == sorted((one.id for one in CALLS), reverse=True)
    assert seen == api.get("/api/calls").json()["calls"]
    assert {json.dumps(one, sort_keys=True) for one in seen} == {
        json.dumps(one.to_dict(), sort_keys=True) for one in CALLS
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("agent=planner", 2),
        ("agent=planner&agent=writer", 3),
        ("agent=", 1),
        ("model=gpt-4o-mini", 2),
        ("model=", 1),
        ("status=error", 1),
        ("status=ok&user=ann", 1),
        ("tag=env=prod", 1),
        ("tag=env=", 3),
        ("user=nobody", 0),
    ],
)
def test_filters_apply_to_calls_and_reports(api, query: str, expected: int) -> None:
    """The same filters apply to both."""
    assert len(api.get(f"/api/calls?{query}").json()["calls"]) == expected
    if "status" not in query:
        assert api.get(f"/api/report?{query}").json()["totals"]["calls"] == expected


def test_explain_lines_add_up_to_the_cost(api) -> None:
    """The lines of a bill sum up to the cost; an unknown id is not found."""
    answer = api.get(f"/api/explain/{CALLS[0].id}").json()
    assert answer["id"] == CALLS[0].id
    assert sum(Decimal(line["usd"]) for line in answer["lines"]) == Decimal(answer["cost"]) == CALLS[0].cost
    assert answer["explained"] is True
    assert {line["item"] for line in answer["lines"]} == {"input", "output"}
    for unknown in ("nothing", "%00", "a" * 300, "<script>"):
        response = api.get(f"/api/explain/{unknown}")
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


def test_live_route_has_the_calls_of_the_window(api) -> None:
    """A pulse has the calls of the window, by the requested dimension."""
    answer = api.get("/api/live?group=agent&window=600").json()
    assert {one["name"]: one["calls"] for one in answer["groups"]} == {"planner": 2, "writer": 1, None: 1}
    assert answer["window"] == 600
    assert answer["totals"]["calls"] == 4


FORMS = {
    "json": "application/json",
    "csv": "text/csv",
    "markdown": "text/markdown",
    "chat": "text/markdown",
    "table": "text/plain",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("by", ["model", "day,model", "month", "week,agent", "hour", "tag:env"])
def test_report_formats_add_up(api, form: str, by: str) -> None:
    """Every form of a report, by times and dimensions, has its content type and adds up."""
    response = api.get("/api/report", params={"by": by, "format": form, "since": "7d", "timezone": "Asia/Kolkata"})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == f"{FORMS[form]}; charset=utf-8"
    if form == "json":
        assert sum(row["calls"] for row in response.json()["rows"]) == 4
    if form == "csv":
        rows = [*csv.DictReader(io.StringIO(response.text))]
        assert sum(int(row["calls"]) for row in rows) == 4
        assert response.headers["content-disposition"] == 'attachment; filename="report.csv"'


@pytest.mark.parametrize("by", ["model", "day,model", "agent"])
def test_reports_fold_snapshots_on_request(api, by: str) -> None:
    """The snapshots of a model are in its row; the totals are the same."""
    plain, folded = (
        api.get("/api/report", params={"by": by, "fold_snapshots": folds}).json() for folds in ("false", "true")
    )
    assert folded["totals"] == plain["totals"]
    names = {undated(row["model"]) for row in plain["rows"]} if "model" in by else set()
    assert {row["model"] for row in folded["rows"] if "model" in row} == names


def test_report_language_follows_the_request(api) -> None:
    """A report for people is in the requested language."""
    assert "| Coût |" in api.get("/api/report?format=markdown&lang=fr").text
    assert "| Coût |" in api.get("/api/report?format=markdown", headers={"Accept-Language": "fr-CA, en;q=0.5"}).text
    assert "| Cost |" in api.get("/api/report?format=markdown", headers={"Accept-Language": "de, en;q=0.5"}).text
    assert "| Cost |" in api.get("/api/report?format=markdown&lang=en", headers={"Accept-Language": "fr"}).text


def test_metrics_route_has_exact_totals(api) -> None:
    """Prometheus reads the exact totals."""
    response = api.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    lines = [line for line in response.text.splitlines() if line.startswith("openai_meter_calls_total{")]
    assert sum(float(line.rpartition(" ")[2]) for line in lines) == 4


def test_health_and_home_answer(api) -> None:
    """The health route answers, and the root redirects a browser to the dashboard."""
    assert api.get("/healthz").json() == {"status": "ok", "version": openai_meter.__version__}
    home = api.get("/", follow_redirects=False)
    assert (home.status_code, home.headers["location"]) == (307, "/dashboard")
    assert api.get("/dashboard").headers["content-type"].startswith("text/html")


def test_app_without_a_meter_serves_the_installed_one() -> None:
    """It is the meter that is installed when the request comes."""
    api = client()
    own = Meter(thresholds=False)
    openai_meter.install(meter=own)
    own._take(call())
    assert api.get("/api/stats").json()["totals"]["calls"] == 1
    openai_meter.uninstall()
    assert api.get("/api/stats").json()["totals"]["calls"] == 0


# --- what cannot be answered ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api/overview?period=8d", "/api/overview?group=colour", "/api/overview?timezone=Europe/Atlantis",
        "/api/overview?timezone=../../etc/passwd", "/api/overview?timezone=" + "a" * 900, "/api/overview?lang=xx",
        "/api/overview?period=7d&period=7d", "/api/overview?perido=7d", "/api/calls?limit=0", "/api/calls?limit=501",
        "/api/calls?limit=-1", "/api/calls?limit=1e2", "/api/calls?limit=%C2%B2", "/api/calls?cursor=nonsense",
        "/api/calls?cursor=WzEsMl0", "/api/calls?cursor=" + "W1tb" * 200, "/api/calls?status=great",
        "/api/calls?tag=env", "/api/calls?model=%00", "/api/calls?model=%FF", "/api/calls?model=" + "a" * 1001,
        "/api/live?window=5", "/api/live?window=100000", "/api/live?window=nan", "/api/report?by=colour",
        "/api/report?by=", "/api/report?by=minute", "/api/report?by=day,model,agent,user,session",
        "/api/report?since=soon", "/api/report?since=2026-13-41", "/api/report?since=2026-02-01&until=2026-01-01",
        "/api/report?format=pdf", "/api/calls?" + "&".join(["agent=a"] * 100), "/api/calls?agent=" + "a" * 5000,
    ],
)  # fmt: skip
def test_invalid_parameters_are_refused(api, path: str) -> None:
    """The error is JSON and names the valid values."""
    response = api.get(path)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "bad_request")
    assert error["message"]
    assert error["hint"]
    assert len(response.text) < 1_500


def test_extreme_times_are_clamped(api) -> None:
    """No moment is too early or too late for a request."""
    for since in ("0001-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31", "1969-12-31T23:59:59Z", "99999d", "99999w"):
        for zone in ("Pacific/Kiritimati", "UTC", "America/New_York"):
            response = api.get("/api/report", params={"by": "day", "since": since, "timezone": zone})
            assert response.status_code in {200, 400}, response.text


def test_unknown_paths_and_methods_are_refused(api) -> None:
    """A wrong method gets the right one; an unknown address is not found. Both in JSON."""
    response = api.post("/api/stats", headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD" or set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}
    for path in ("/api", "/api/nothing", "/api/stats/", "/../etc/passwd", "/static/x/../../app.py"):
        response = api.get(path, follow_redirects=False)
        assert response.status_code == 404 or (path == "/api/stats/" and response.status_code == 307)


# --- what callers name things -----------------------------------------------------------------------------------------

ODD = [
    "<script>alert(1)</script>",
    "a\r\nSet-Cookie: x=1",
    "\x00\x1b[31m",
    "=1+1",
    "\u202eabc",
    "\ud800",
    "x" * 1_000_000,
]


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
def test_odd_names_are_escaped_in_every_answer(name: str, tmp_path) -> None:
    """No name of a caller becomes markup, a header or a formula, whatever it is and however long."""
    one = call(agent=name, user=name, tags={"tag": name})
    meter = filled(one)
    meter._take(call(name))
    for api in (client(meter), client(ledger=kept(tmp_path, one))):
        for path in (
            "/api/stats", "/api/overview?group=agent", "/api/overview?group=tag", "/api/calls", "/api/alerts",
            "/api/live?group=user", "/api/report?by=agent", "/api/report?by=agent&format=csv",
            "/api/report?by=agent&format=markdown", "/api/report?by=agent&format=table", "/metrics",
            f"/api/explain/{one.id}",
        ):  # fmt: skip
            response = api.get(path)
            assert response.status_code == 200, (path, response.text[:500])
            assert "set-cookie" not in response.headers
            if response.headers["content-type"].startswith("application/json") and not path.startswith("/api/report"):
                assert "<" not in response.text
                response.json()
            if "csv" in path:
                cell = [*csv.reader(io.StringIO(response.text, newline=""))][1][0]
                assert not cell.startswith(("=", "+", "-", "@"))


def test_long_name_is_not_shortened_in_json() -> None:
    """JSON gives names as they are."""
    for name in ODD[:5]:
        rows = client(filled(call(agent=name))).get("/api/overview?group=agent&period=all").json()["rows"]
        assert [row["name"] for row in rows] == [name]


# --- extreme numbers --------------------------------------------------------------------------------------------------

COUNTS = st.one_of(
    st.integers(0, 5), st.sampled_from([2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64, 10**30, 10**308, 10**309, 10**400])
)
COSTS = st.one_of(st.none(), st.integers(0, 10**12), st.sampled_from([10**30, 10**320, 10**412, 10**600]))


@settings(max_examples=60)
@given(st.lists(st.tuples(COUNTS, COUNTS, COSTS, st.booleans()), min_size=1, max_size=4), st.booleans())
def test_every_route_answers_with_huge_numbers(numbers, limited: bool) -> None:
    """Counts and costs that fit neither a float nor a column are answered by every route, in every format."""
    limits = {"cost": "1", "tokens": 10, "tokens_per_call": 5, "calls": 10**400} if limited else False
    calls = [
        call(
            tokens=(input_tokens, output_tokens), cost_pico=cost, cost_status="unpriced" if cost is None else "priced",
            cost_estimated=estimated,
        )
        for input_tokens, output_tokens, cost, estimated in numbers
    ]  # fmt: skip
    api = client(filled(*calls, thresholds=limits))
    for row in ROUTES:
        if row.method == "GET":
            response = api.get(row.path.replace("{id}", calls[0].id))
            assert response.status_code == 200, (row.path, response.text)
    for form in ("csv", "markdown", "table", "tree", "line"):
        assert api.get(f"/api/report?format={form}&by=model,agent").status_code == 200, form


# --- health -----------------------------------------------------------------------------------------------------------


def test_health_is_degraded_while_a_call_waits_for_long(tmp_path) -> None:
    """Calls of another process that wait in the spool for over a minute are a fault, even if new ones are stored."""
    ledger = kept(tmp_path, *CALLS)
    api = client(ledger=ledger)
    assert api.get("/healthz").json()["status"] == "ok"
    now = datetime.now(UTC).timestamp()
    ledger.spool.mkdir(exist_ok=True)
    for age, status in ((5, "ok"), (3_600, "degraded")):
        waiting = ledger.spool / f"{int((now - age) * 1e9):020d}-1-of-another-process.jsonl"
        waiting.write_bytes(b"")
        assert api.get("/healthz").json()["status"] == status
    ledger._writer._is_back()  # the newest call is stored now, and the oldest one waits as before
    stats = ledger.stats
    assert stats.away is False
    assert stats.waiting_since < stats.stored_at
    assert api.get("/healthz").json()["status"] == "degraded"
    waiting.unlink()
    assert api.get("/healthz").json()["status"] == "ok"


def test_health_is_degraded_once_a_call_is_lost(tmp_path) -> None:
    """A call that neither the database nor the spool took is a permanent fault."""
    ledger = kept(tmp_path, *CALLS)
    ledger._writer.intake.drop(1, "there is no room")
    assert client(ledger=ledger).get("/healthz").json()["status"] == "degraded"
