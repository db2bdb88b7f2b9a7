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


def _lines(key: str, unit: str, *queries: tuple[str, str], width: int = 12) -> _Panel:
    return _Panel(key, "timeseries", unit, width, queries)


_JOB = '{job=~"$job"}'
_RANGE = f"{_JOB}[$__range]"
_RATE = f"{_JOB}[$__rate_interval]"
_INPUT = '{type="input",job=~"$job"}[$__rate_interval]'
_CACHED = '{part="cached_input",job=~"$job"}[$__rate_interval]'

PANELS: tuple[_Panel, ...] = (
    _stat("cost", "currencyUSD", f"sum(increase(M_cost_usd_total{_RANGE}))"),
    _stat("calls", "short", f"sum(increase(M_calls_total{_RANGE}))"),
    _stat("tokens", "short", f"sum(increase(M_tokens_total{_RANGE}))"),
    _stat("errors", "percentunit", f"sum(increase(M_errors_total{_RANGE})) / sum(increase(M_calls_total{_RANGE}))"),
    _stat("unpriced", "short", f"sum(M_unpriced_calls{_JOB})"),
    _stat("open", "short", f"sum(M_open_calls{_JOB})"),
    _lines("cost_by_model", "currencyUSD", (f"sum by (model) (rate(M_cost_usd_total{_RATE})) * 3600", "{{model}}")),
    _lines("cost_by_basis", "currencyUSD", (f"sum by (basis) (rate(M_cost_usd_total{_RATE})) * 3600", "{{basis}}")),
    _lines("calls_by_model", "reqpm", (f"sum by (model) (rate(M_calls_total{_RATE})) * 60", "{{model}}")),
    _lines(
        "errors_by_model",
        "percentunit",
        (f"sum by (model) (rate(M_errors_total{_RATE})) / sum by (model) (rate(M_calls_total{_RATE}))", "{{model}}"),
    ),
    _lines("tokens_by_type", "short", (f"sum by (type) (rate(M_tokens_total{_RATE})) * 60", "{{type}}")),
    _lines("token_parts", "short", (f"sum by (part) (rate(M_token_parts_total{_RATE})) * 60", "{{part}}")),
    _lines(
        "cached_share",
        "percentunit",
        (
            f"sum by (model) (rate(M_token_parts_total{_CACHED})) / sum by (model) (rate(M_tokens_total{_INPUT}))",
            "{{model}}",
        ),
    ),
    _lines(
        "thresholds",
        "percentunit",
        (f"max by (metric, window) (M_threshold_use_ratio{_JOB})", "{{metric}} ({{window}})"),
    ),
    _lines("faults", "short", (f"sum(increase(M_faults_total{_RATE}))", "openai_meter"), width=12),
    _lines("ledger", "short", (f"sum by (fate) (increase(M_ledger_calls_total{_RATE}))", "{{fate}}"), width=12),
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


ALERTS = (
    _Alert("CostPerHour", "cost", "warning", "sum(increase(M_cost_usd_total[1h])) > 10", "0m"),
    _Alert(
        "CostJump",
        "jump",
        "warning",
        "sum(increase(M_cost_usd_total[1h])) > 3 * sum(increase(M_cost_usd_total[7d])) / 168"
        " and sum(increase(M_cost_usd_total[1h])) > 1",
        "15m",
    ),
    _Alert(
        "Errors",
        "errors",
        "warning",
        "sum by (model) (increase(M_errors_total[10m])) / sum by (model) (increase(M_calls_total[10m])) > 0.1"
        " and sum by (model) (increase(M_errors_total[10m])) >= 5",
        "5m",
    ),
    _Alert(
        "ThresholdPassed", "threshold", "warning", "max by (metric, per, window) (M_thresholds_passed) > 0", "0m"
    ),
    _Alert("UnpricedCalls", "unpriced", "info", "sum by (model) (M_unpriced_calls) > 0", "15m"),
    _Alert("Unmeasured", "unmeasured", "info", "sum by (model) (increase(M_unmeasured_calls_total[1h])) > 0", "0m"),
    _Alert("Faults", "faults", "warning", "sum by (job) (increase(M_faults_total[1h])) > 0", "0m"),
    _Alert("LedgerAway", "away", "warning", "max by (job) (M_ledger_away) > 0", "5m"),
    _Alert(
        "CallsLost",
        "lost",
        "critical",
        'sum by (fate) (increase(M_ledger_calls_total{fate=~"dropped|refused|damaged"}[1h])) > 0',
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
