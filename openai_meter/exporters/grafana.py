"""A dashboard for Grafana and alert rules for Prometheus, as files to import.

To add a panel, add a row to :data:`PANELS` and its title ``grafana.KEY`` to each language. To add an alert, add a row
to :data:`ALERTS` and its texts ``rule.KEY`` and ``rule.KEY.do``. In expressions, ``M_`` stands for the namespace of the
metrics.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from openai_meter.core.locale import Messages, language

__all__ = ["ALERTS", "FILES", "PANELS", "grafana", "rules"]


class _Panel(NamedTuple):
    key: str
    """The title is the message ``grafana.KEY``."""
    kind: str
    """``stat`` or ``timeseries``."""
    unit: str
    """A unit of Grafana."""
    width: int
    """Columns; a row of the dashboard has 24."""
    queries: tuple[tuple[str, str], ...]
    """Expressions, each with the name of its lines (``{{model}}``: the value of that label)."""


def _stat(key: str, unit: str, query: str) -> _Panel:
    return _Panel(key, "stat", unit, 4, ((query, ""),))


def _lines(key: str, unit: str, *queries: tuple[str, str]) -> _Panel:
    return _Panel(key, "timeseries", unit, 12, queries)


_JOB = 'job=~"$job"'
_RANGE = "$__range"
_RATE = "$__rate_interval"
_UNITS = {"m": 60, "h": 3_600, "d": 86_400}


def _seconds(window: str) -> str:
    """The length of a window in seconds. PromQL has no function for that: steps of a second are counted."""
    if window.startswith("$"):
        return f"scalar(count_over_time(vector(1)[{window}:1s]))"
    return str(int(window[:-1]) * _UNITS[window[-1]])


def _increase(metric: str, window: str, label: str, selector: str, start: str) -> str:
    """What was added to a counter in a window, by series.

    ``increase()`` alone takes the first value that Prometheus sees of a series for its starting point. The series of a
    model starts with its first call, so that call would never be shown. So of a series that starts in the window the
    whole value counts. It starts in the window if Prometheus has no sample from before, and if ``start`` is in the
    window: a process that Prometheus scrapes for the first time may have run for weeks.

    If the process was restarted in between, the value before (the maximum) and the last one count. After several
    restarts in one window that is a lower bound, and ``increase()`` plus the minimum may be a better one.

    Args:
        metric: the counter, without its namespace.
        window: a duration, or a variable of Grafana.
        label: the counter's own label, which ``start`` does not have.
        selector: label matchers of the counter, besides that of the job.
        start: the gauge with the time when the series started, without its namespace.
    """
    job = _JOB if window.startswith("$") else ""
    matchers = ",".join(filter(None, (selector, job)))
    series = f"M_{metric}{{{matchers}}}" if matchers else f"M_{metric}"
    started = f"M_{start}{{{job}}}[{window}]" if job else f"M_{start}[{window}]"
    over = f"{series}[{window}]"
    ignoring = f"ignoring ({label}) " if label else ""
    return (
        f"((max_over_time({over}) > last_over_time({over})) + last_over_time({over})"
        f" or (increase({over}) + min_over_time({over})) and resets({over}) > 0"
        f" or last_over_time({over}))"
        f" unless {series} offset {window}"
        f" and {ignoring}last_over_time({started}) > time() - {_seconds(window)}"
        f" or increase({over})"
    )


def _sum(metric: str, window: str, by: str = "", label: str = "", selector: str = "") -> str:
    """The sum over a counter of calls."""
    increase = _increase(metric, window, label, selector, "series_start_timestamp_seconds")
    return f"sum by ({by}) ({increase})" if by else f"sum ({increase})"


def _process_sum(metric: str, window: str, by: str = "", label: str = "", selector: str = "") -> str:
    """The sum over a counter of the process itself."""
    increase = _increase(metric, window, label, selector, "start_timestamp_seconds")
    return f"sum by ({by}) ({increase})" if by else f"sum ({increase})"


def _per(seconds: int, metric: str, by: str, label: str = "") -> str:
    """A sum as a rate: what was added in so many seconds."""
    return f"{_sum(metric, _RATE, by, label)} / {_seconds(_RATE)} * {seconds}"


PANELS: tuple[_Panel, ...] = (
    _stat("cost", "currencyUSD", _sum("cost_usd_total", _RANGE, label="basis")),
    _stat("calls", "short", _sum("calls_total", _RANGE)),
    _stat("tokens", "short", _sum("tokens_total", _RANGE, label="type")),
    _stat("errors", "percentunit", f"{_sum('errors_total', _RANGE)} / {_sum('calls_total', _RANGE)}"),
    _stat("unpriced", "short", f"sum(M_unpriced_calls{{{_JOB}}})"),
    _stat("open", "short", f"sum(M_open_calls{{{_JOB}}})"),
    _lines("cost_by_model", "currencyUSD", (_per(3_600, "cost_usd_total", "model", "basis"), "{{model}}")),
    _lines("cost_by_basis", "currencyUSD", (_per(3_600, "cost_usd_total", "basis", "basis"), "{{basis}}")),
    _lines("calls_by_model", "reqpm", (_per(60, "calls_total", "model"), "{{model}}")),
    _lines(
        "errors_by_model",
        "percentunit",
        (f"{_sum('errors_total', _RATE, 'model')} / {_sum('calls_total', _RATE, 'model')}", "{{model}}"),
    ),
    _lines("tokens_by_type", "short", (_per(60, "tokens_total", "type", "type"), "{{type}}")),
    _lines("token_parts", "short", (_per(60, "token_parts_total", "part", "part"), "{{part}}")),
    _lines(
        "cached_share",
        "percentunit",
        (
            _sum("token_parts_total", _RATE, "model", "part", 'part="cached_input"')
            + " / "
            + _sum("tokens_total", _RATE, "model", "type", 'type="input"'),
            "{{model}}",
        ),
    ),
    _lines(
        "thresholds",
        "percentunit",
        (f"max by (metric, window) (M_threshold_use_ratio{{{_JOB}}})", "{{metric}} ({{window}})"),
    ),
    _lines("faults", "short", (_process_sum("faults_total", _RATE), "openai_meter")),
    _lines("ledger", "short", (_process_sum("ledger_calls_total", _RATE, "fate", "fate"), "{{fate}}")),
)
"""The panels of the dashboard, row by row."""


class _Alert(NamedTuple):
    name: str
    key: str
    """Its texts are the messages ``rule.KEY`` and ``rule.KEY.do``."""
    severity: str
    expression: str
    duration: str
    """For how long the expression must hold before the alert fires."""


_HOUR, _WEEK = (_sum("cost_usd_total", window, label="basis") for window in ("1h", "7d"))
_ERRORS, _CALLS = (_sum(metric, "10m", "model") for metric in ("errors_total", "calls_total"))
_LOST = _process_sum("ledger_calls_total", "1h", "fate", "fate", 'fate=~"dropped|refused|damaged"')

ALERTS = (
    _Alert("CostPerHour", "cost", "warning", f"{_HOUR} > 10", "0m"),
    _Alert("CostJump", "jump", "warning", f"{_HOUR} > 3 * {_WEEK} / 168 and {_HOUR} > 1", "15m"),
    _Alert("Errors", "errors", "warning", f"{_ERRORS} / {_CALLS} > 0.1 and {_ERRORS} >= 5", "5m"),
    _Alert(
        "ThresholdPassed", "threshold", "warning", "max by (metric, per, window) (M_thresholds_passed) > 0", "0m"
    ),
    _Alert("UnpricedCalls", "unpriced", "info", "sum by (model) (M_unpriced_calls) > 0", "15m"),
    _Alert("Unmeasured", "unmeasured", "info", f"{_sum('unmeasured_calls_total', '1h', 'model')} > 0", "0m"),
    _Alert("Faults", "faults", "warning", f"{_process_sum('faults_total', '1h', 'job')} > 0", "0m"),
    _Alert("LedgerAway", "away", "warning", "max by (job) (M_ledger_away) > 0", "5m"),
    _Alert(
        "CallsLost",
        "lost",
        "critical",
        f"{_LOST} > 0",
        "0m",
    ),
)  # fmt: skip
"""The alert rules. Their limits are examples to adapt."""


def grafana(lang: str | None = None, *, namespace: str = "openai_meter") -> dict[str, Any]:
    """A dashboard for Grafana 10 and later, as JSON values. Import it and choose a Prometheus data source.

    Args:
        lang: the language of its titles, ``en`` or ``fr``. Default: that of the environment.
        namespace: the prefix of the names of the metrics.

    Raises:
        ConfigurationError: the language does not exist.
    """
    m = language(lang)
    source = {"type": "prometheus", "uid": "${source}"}
    job = {
        "name": "job", "type": "query", "label": m("grafana.job"), "datasource": source, "refresh": 2,
        "query": f"label_values({namespace}_build_info, job)", "includeAll": True, "allValue": ".*", "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip
    return {
        "title": m("grafana.title"),
        "uid": namespace.replace("_", "-")[:40],
        "tags": ["openai", "cost"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus"}, job]},
        "panels": _positioned(m, source, namespace),
    }


def _positioned(m: Messages, source: dict[str, str], namespace: str) -> list[dict[str, Any]]:
    """The panels with their positions: from left to right, row by row."""
    panels, x, y, height = [], 0, 0, 0
    for number, panel in enumerate(PANELS, 1):
        if x + panel.width > 24:
            x, y = 0, y + height
        height = 4 if panel.kind == "stat" else 8
        targets = [
            {
                "refId": chr(ord("A") + position), "datasource": source, "legendFormat": legend,
                "expr": _with_namespace(query, namespace),
                "instant": panel.kind == "stat", "range": panel.kind != "stat",
            }
            for position, (query, legend) in enumerate(panel.queries)
        ]  # fmt: skip
        panels.append({
            "id": number, "type": panel.kind, "title": m(f"grafana.{panel.key}"), "datasource": source,
            "gridPos": {"x": x, "y": y, "w": panel.width, "h": height},
            "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
            "targets": targets,
        })  # fmt: skip
        x += panel.width
    return panels


def rules(lang: str | None = None, *, namespace: str = "openai_meter") -> str:
    """Alert rules for Prometheus, as YAML. Add the file to ``rule_files``.

    Args:
        lang: the language of the alerts, ``en`` or ``fr``. Default: that of the environment.
        namespace: the prefix of the names of the metrics.

    Raises:
        ConfigurationError: the language does not exist.
    """
    m = language(lang)
    lines = [f"# {m('rule.head')}", "groups:", f"  - name: {namespace}", "    rules:"]
    title = "".join(word.capitalize() for word in namespace.split("_"))
    for alert in ALERTS:
        # A JSON string is a valid YAML string.
        summary, do = (json.dumps(m(key), ensure_ascii=False) for key in (f"rule.{alert.key}", f"rule.{alert.key}.do"))
        lines += [
            f"      - alert: {title}{alert.name}",
            f"        expr: {json.dumps(_with_namespace(alert.expression, namespace))}",
            f"        for: {alert.duration}",
            "        labels:",
            f"          severity: {alert.severity}",
            "        annotations:",
            f"          summary: {summary}",
            f"          description: {do}",
        ]
    return "\n".join(lines) + "\n"


def _with_namespace(expression: str, namespace: str) -> str:
    return re.sub(r"\bM_", f"{namespace}_", expression)


def _grafana_file(lang: str | None) -> str:
    return json.dumps(grafana(lang), indent=2, ensure_ascii=False) + "\n"


FILES = {"grafana": _grafana_file, "prometheus-rules": rules}
"""The files that ``openai-meter export`` writes besides calls, by name; each function takes a language."""
