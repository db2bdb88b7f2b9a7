"""Metrics for Prometheus, made of a meter's exact totals when it scrapes. Needs ``openai-meter[prometheus]``.

::

    from prometheus_client import REGISTRY, start_http_server

    REGISTRY.register(openai_meter.exporters.prometheus.Collector(openai_meter.install()))
    start_http_server(9464)

or, in a web application of one's own, ``body, content_type = exposition(meter, request.headers.get("accept"))``.

A call costs nothing more for it: families are made of the totals that are there. Counters never go down. They go on
through ``meter.reset()`` (which the gauges follow), and where a call gets a lower price than it had, the counter of
the cost stays until others have made up for it. A forked child counts from zero, as a new process does.

**Labels** are dimensions of the totals (:data:`LABELS` if nothing is said). The meter remembers a thousand values of
each, a collector :data:`SERIES` combinations of them; what comes later is in all sums, under ``(other models)`` and so
on. A tag is named as ``tag:team``, and its label is ``tag_team``.

**Several processes.** The multiprocess mode of ``prometheus_client`` shares the metrics that it makes itself; it knows
no collectors, this one included. Either each worker is scraped, or all have a ledger and one process exposes that:
``Collector(ledger)`` has the totals of the whole fleet, for ever, from its roll-ups.

To add a counter, add a row to :data:`COUNTERS`. ``sources.py`` knows where totals come from.
"""

from importlib.util import find_spec

from openai_meter.errors import MissingExtraError

if find_spec("prometheus_client") is None:
    raise MissingExtraError(
        'metrics for Prometheus need its client; install it with: pip install "openai-meter[prometheus]"'
    )

from openai_meter.exporters.prometheus.collector import COUNTERS, LABELS, SERIES, Collector, exposition

__all__ = ["COUNTERS", "LABELS", "SERIES", "Collector", "exposition"]
