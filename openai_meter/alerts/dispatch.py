"""Sends the alerts of a meter to the log, a callback and webhooks, in the background. No call waits for that."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from openai_meter.alerts import Alert, ThresholdMonitor, chosen_thresholds, read_thresholds
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
    """The thresholds of a meter or a block, and where their alerts go: the log, a callback, webhooks.

    The log gets the alerts of the limits that the program has set. Those of the default limits go to the callback and
    the webhooks, if there are any, and are always in ``meter.alerts``.

    Args:
        thresholds: the limits, as a setting.
        on_alert: called with each :class:`Alert` in a background thread, one alert after the other.
        webhook: where alerts are posted, as a setting.
        block: the name of the block whose limits these are.

    Raises:
        ConfigurationError: one of them cannot be used.
        MissingExtraError: a webhook needs a package.
    """

    def __init__(
        self, thresholds: Any = None, on_alert: OnAlert | None = None, webhook: Any = None, block: str | None = None
    ) -> None:
        self.watch = ThresholdMonitor(read_thresholds(thresholds))
        self._logged = chosen_thresholds(thresholds)
        self.on_alert = checked_callback(on_alert)
        self.targets = _targets_of(webhook)
        self._block = block

    def changed(self, thresholds: Any, on_alert: OnAlert | None, webhook: Any) -> AlertDispatcher:
        """A dispatcher with other settings; ``None`` keeps the present one.

        Thresholds that change count from zero. Equal thresholds go on counting.

        Raises:
            ConfigurationError: one of them cannot be used; nothing is changed then.
            MissingExtraError: a webhook needs a package.
        """
        new = AlertDispatcher(False if thresholds is None else thresholds, on_alert, webhook, self._block)
        if thresholds is None:
            new._logged = self._logged
        if thresholds is None or set(new.watch.thresholds) == set(self.watch.thresholds):
            new.watch = self.watch
        new.on_alert = new.on_alert or self.on_alert
        new.targets = self.targets if new.targets is None else new.targets
        return new

    @property
    def has_fleet(self) -> bool:
        """Whether a threshold counts the calls of all processes."""
        return any(threshold.fleet for threshold in self.watch.thresholds)

    def webhook_stats(self) -> tuple[WebhookStats, ...]:
        """The counts of each webhook: sent, retried, failed, dropped, waiting."""
        return tuple([target.stats() for target in self.targets or ()])

    def record(self, call: Call) -> None:
        """Checks the limits after a call was counted. Never raises, never waits; one thread at a time."""
        if alerts := self.watch.record(call):
            self._pass_on(alerts)

    def repriced(self, before: Call, after: Call) -> None:
        """Checks the limits after the price of a call has changed."""
        if alerts := self.watch.repriced(before, after):
            self._pass_on(alerts)

    def announce(self, alert: Alert) -> None:
        """Sends an alert that was raised elsewhere: of a budget, or of a threshold of a fleet. Never waits."""
        self._pass_on((alert,))

    def _pass_on(self, alerts: Sequence[Alert]) -> None:
        try:
            for target in self.targets or ():
                for alert in alerts:
                    target.put(alert, self._block)
        except Exception as error:
            faults.caught(error, "putting an alert into the queue of a webhook")
        # With a thousand jobs in the queue the notification is dropped. The alert stays in ``meter.alerts``.
        worker.submit(partial(self._notify, alerts))
        worker.start()

    def _notify(self, alerts: Sequence[Alert]) -> None:
        for target in self.targets or ():
            target.start()
        for alert in alerts:
            if alert.budget is not None or alert.threshold in self._logged:
                logger.warning("%s", alert.message("en"))
            if self.on_alert is not None:
                self._call(self.on_alert, alert)

    @staticmethod
    def _call(on_alert: OnAlert, alert: Alert) -> None:
        """Calls the program's function. What it raises, ``sys.exit()`` included, must not end the background thread."""
        try:
            on_alert(alert)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise  # Ctrl-C, while the main thread waits for the alerts
            logger.warning("on_alert raised %s; the alert is in meter.alerts", type(error).__name__)


def webhook_setting(setting: Any, current: AlertDispatcher | None) -> Any:
    """A ``webhook`` setting; ``None`` stands for the present webhooks, else for those of the environment."""
    if setting is not None:
        return setting
    if current is not None and current.targets is not None:
        return current.targets
    return settings.get("webhook")


def _targets_of(webhook: Any) -> tuple[Target, ...] | None:
    """The targets of a setting; ``None`` for no setting."""
    if webhook is None:
        return None
    from openai_meter.alerts.webhook.config import read_webhooks  # noqa: PLC0415
    from openai_meter.alerts.webhook.delivery import Target, targets_for  # noqa: PLC0415 - loads http and ssl

    if isinstance(webhook, tuple) and all(isinstance(one, Target) for one in webhook):
        return webhook
    return targets_for(read_webhooks(webhook))


def flush_webhooks(end: float, settle: Callable[[], object]) -> bool:
    """Waits until the webhooks have accepted all alerts so far; see ``webhook.delivery.flush``.

    Args:
        end: the time on the monotonic clock until which to wait.
        settle: finishes estimates and prices first, which may raise the last alerts.
    """
    targets = sys.modules.get("openai_meter.alerts.webhook.delivery")
    if targets is None:
        return True
    settle()
    return bool(targets.flush(max(0.0, end - time.monotonic())))


def finish_webhooks() -> None:
    """Posts the alerts that wait, at the end of the process, for five seconds at most."""
    if (targets := sys.modules.get("openai_meter.alerts.webhook.delivery")) is not None:
        targets.finish()
