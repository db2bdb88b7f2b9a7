"""Carries alerts from the thresholds to whoever wants to hear of them, beside the program: no call waits for that."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from openai_meter.alerts import Alert, ThresholdMonitor, read_thresholds
from openai_meter.core import faults, settings
from openai_meter.core.background import worker
from openai_meter.core.call import Call
from openai_meter.errors import ConfigurationError

if TYPE_CHECKING:
    from openai_meter.alerts.webhook import Webhook, WebhookStats
    from openai_meter.alerts.webhook.delivery import Target

__all__ = [
    "AlertDispatcher",
    "Hooks",
    "OnAlert",
    "checked_callback",
    "finish_webhooks",
    "flush_webhooks",
    "webhook_setting",
]

logger = logging.getLogger("openai_meter")

OnAlert = Callable[[Alert], object]
Hooks: TypeAlias = "str | Webhook | Sequence[str | Webhook] | bool | None"


def checked_callback(on_alert: object) -> OnAlert | None:
    """A callback from a setting.

    Raises:
        ConfigurationError: it cannot be called.
    """
    if on_alert is None or callable(on_alert):
        return on_alert
    raise ConfigurationError(f"on_alert={on_alert!r} cannot be called; pass a function that takes an Alert")


class AlertDispatcher:
    """The thresholds of a meter or a block, and who hears of their alerts: the log, a callback, webhooks.

    Args:
        thresholds: the limits, as a setting.
        on_alert: is called with each :class:`Alert`, in a thread of the meter's own, one alert after the other.
        webhook: where they are posted, as a setting.
        block: the name of the block whose limits these are.

    Raises:
        ConfigurationError: one of them cannot be used.
        MissingExtraError: a webhook needs a package.
    """

    def __init__(
        self, thresholds: Any = None, on_alert: OnAlert | None = None, webhook: Any = None, block: str | None = None
    ) -> None:
        self.watch = ThresholdMonitor(read_thresholds(thresholds))
        self.on_alert = checked_callback(on_alert)
        self.targets = _targets_of(webhook)
        self._block = block

    def changed(self, thresholds: Any, on_alert: OnAlert | None, webhook: Any) -> AlertDispatcher:
        """The alarms with other settings, those that are not ``None``; other thresholds count from zero.

        Raises:
            ConfigurationError: one of them cannot be used; nothing is changed then.
            MissingExtraError: a webhook needs a package.
        """
        new = AlertDispatcher(False if thresholds is None else thresholds, on_alert, webhook, self._block)
        if thresholds is None:
            new.watch = self.watch
        new.on_alert = new.on_alert or self.on_alert
        new.targets = self.targets if new.targets is None else new.targets
        return new

    def deliveries(self) -> tuple[WebhookStats, ...]:
        """What became of the alerts for each webhook."""
        return tuple([target.deliveries() for target in self.targets or ()])

    def record(self, call: Call) -> None:
        """Hears of a call that was counted. Never raises, never waits; one thread at a time."""
        if alerts := self.watch.record(call):
            self._pass_on(alerts)

    def repriced(self, before: Call, after: Call) -> None:
        """Hears that a call has another price now."""
        if alerts := self.watch.repriced(before, after):
            self._pass_on(alerts)

    def _pass_on(self, alerts: Sequence[Alert]) -> None:
        try:
            for target in self.targets or ():
                for alert in alerts:
                    target.put(alert, self._block)
        except Exception as error:
            faults.caught(error, "handing an alert to a webhook")
        # Where there are a thousand jobs before it, it is not told; it still stands in the reports.
        worker.submit(partial(self._tell, alerts))
        worker.start()

    def _tell(self, alerts: Sequence[Alert]) -> None:
        for target in self.targets or ():
            target.start()
        for alert in alerts:
            logger.warning("%s", alert.message("en"))
            if self.on_alert is not None:
                try:
                    self.on_alert(alert)
                except Exception as error:
                    logger.warning("on_alert raised %s; the alert is in meter.alerts", type(error).__name__)


def webhook_setting(said: Any, current: AlertDispatcher | None) -> Any:
    """A ``webhook`` setting, with what stands for ``None``: what there is, or what the environment says."""
    if said is not None:
        return said
    if current is not None and current.targets is not None:
        return current.targets
    return settings.get("webhook")


def _targets_of(webhook: Any) -> tuple[Target, ...] | None:
    """The targets of a setting; ``None`` if it says nothing."""
    if webhook is None:
        return None
    from openai_meter.alerts.webhook.config import read_webhooks  # noqa: PLC0415
    from openai_meter.alerts.webhook.delivery import Target, targets_for  # noqa: PLC0415 - loads http and ssl

    if isinstance(webhook, tuple) and all(isinstance(one, Target) for one in webhook):
        return webhook
    return targets_for(read_webhooks(webhook))


def flush_webhooks(end: float, settle: Callable[[], object]) -> bool:
    """Waits until the webhooks have taken all alerts so far, if there are any; see ``webhook.targets.flush``.

    Args:
        end: until when on the monotonic clock.
        settle: does what has to be done before the last alert is raised: a call's size or price may be unknown yet.
    """
    targets = sys.modules.get("openai_meter.alerts.webhook.delivery")
    if targets is None:
        return True
    settle()
    return bool(targets.flush(max(0.0, end - time.monotonic())))


def finish_webhooks() -> None:
    """Posts what waits, for some seconds at most, at the end of the process."""
    if (targets := sys.modules.get("openai_meter.alerts.webhook.delivery")) is not None:
        targets.finish()
