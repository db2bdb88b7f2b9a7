"""Which work on the server was counted already: it is polled many times, and billed once."""

from __future__ import annotations

from openai_meter.core.bounded import Bounded
from openai_meter.core.usage import Usage

__all__ = ["JobKey", "SeenJobs"]

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
        """Forgets a job: it has begun anew under the same id."""
        self._jobs.pop(key)

    def clear(self) -> None:
        """Forgets all jobs: those so far belong to the parent of a forked child."""
        self._jobs.clear()
