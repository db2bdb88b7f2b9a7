"""The jobs on the server that were counted already: a job is polled many times, and billed once."""

from __future__ import annotations

from openai_meter.core.bounded import Bounded
from openai_meter.core.usage import Usage
from openai_meter.usage.responses import ResponseState

__all__ = ["JobKey", "SeenJobs", "keep_growth"]

JobKey = tuple[str, str]
"""The name of the endpoint, and the id that the API gave the work."""

_REMEMBERED = 10_000


class SeenJobs:
    """The last 10,000 jobs that were counted, each with the usage that was counted last. Thread-safe."""

    def __init__(self) -> None:
        self._jobs: Bounded[JobKey, Usage | None] = Bounded(_REMEMBERED)

    def claim(self, key: JobKey, usage: Usage | None = None) -> bool:
        """Whether a job is seen for the first time; it is remembered. Of several threads, one gets ``True``."""
        return self._jobs.claim(key, usage)

    def usage(self, key: JobKey) -> Usage | None:
        """The usage that was remembered last for a job, for those whose usage grows."""
        return self._jobs.get(key)

    def forget(self, key: JobKey) -> None:
        """Removes a job: it has been restarted under the same id."""
        self._jobs.pop(key)

    def clear(self) -> None:
        """Removes all jobs: they belong to the parent of a forked child."""
        self._jobs.clear()


def keep_growth(seen: SeenJobs, key: JobKey, response: ResponseState, *, known: bool) -> bool:
    """Reduces a cumulative usage to its growth since it was last counted; ``False`` if there is none."""
    now = response.total()
    before = seen.usage(key)
    seen.forget(key)
    seen.claim(key, now or before)
    if now is None or before is None:
        return known or now is not None
    response.extra = {}
    response.usage = {
        "input_tokens": max((now.input_tokens or 0) - (before.input_tokens or 0), 0),
        "output_tokens": max((now.output_tokens or 0) - (before.output_tokens or 0), 0),
        "cached_tokens": max(now.cached_input_tokens - before.cached_input_tokens, 0),
        "reasoning_tokens": max(now.reasoning_tokens - before.reasoning_tokens, 0),
    }
    return (now.total_tokens or 0) > (before.total_tokens or 0)
