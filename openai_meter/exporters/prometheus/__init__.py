"""Metrics for Prometheus, made of a meter's exact totals at each scrape. Needs ``openai-meter[prometheus]``.

::

    from prometheus_client import REGISTRY, start_http_server

    REGISTRY.register(openai_meter.prometheus.Collector(openai_meter.install()))
    start_http_server(9464)

or, in a web application, ``body, content_type = exposition(meter, request.headers.get("accept"))``.

Calls have no extra cost: the metrics are made of totals that exist anyway. Counters never go down. ``meter.reset()``
resets the gauges, not the counters. If a call gets a lower price than it had, the counter of the cost stays where it is
until further calls have made up for the difference. A forked child counts from zero, like a new process.

**Labels** are dimensions of the totals; the default is :data:`LABELS`. A meter keeps a thousand values of each
dimension, a collector keeps :data:`SERIES` combinations. Further values share a series, such as ``(other models)``, so
that sums stay complete. The label of ``tag:team`` is ``tag_team``.

**Several processes.** The multiprocess mode of ``prometheus_client`` does not support collectors. Either scrape each
worker, or give all workers a ledger and expose that in one process: ``Collector(ledger)`` has the totals of all
processes, from the roll-ups of the ledger.

To add a counter, add a row to :data:`COUNTERS`. ``sources.py`` reads the totals.
"""

from importlib.util import find_spec

from openai_meter.core.version import install_command
from openai_meter.errors import MissingExtraError

if find_spec("prometheus_client") is None:
    raise MissingExtraError(f"metrics for Prometheus need its client; install it with: {install_command('prometheus')}")

from openai_meter.exporters.prometheus.collector import COUNTERS, LABELS, SERIES, Collector, exposition

__all__ = ["COUNTERS", "LABELS", "SERIES", "Collector", "exposition"]
