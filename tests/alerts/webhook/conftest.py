"""What tests of webhooks share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from weakref import WeakSet

import pytest
import receivers

from openai_meter.alerts.webhook.delivery import Target


@pytest.fixture(autouse=True)
def targets_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Targets that still retry when a test ends give up: they would go on for a day, in the middle of other tests."""
    made: WeakSet[Target] = WeakSet()
    start_over = Target._start_over

    def remembered(target: Target) -> None:
        made.add(target)
        start_over(target)

    monkeypatch.setattr(Target, "_start_over", remembered)
    yield
    monkeypatch.undo()  # a test may have made threads fail
    for target in list(made):
        target._timing = target._timing._replace(clock=lambda: math.inf)
        target._kicks.put(None)
        target.start()  # what waits without a thread would be started by a later test
        receivers.until(lambda target=target: not target.waiting)
