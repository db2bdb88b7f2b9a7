"""Starts metering: everything in the process (``install``), one client (``wrap``), a part of a program (``track``)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from openai_meter.alerts.dispatch import AlertDispatcher, Hooks, OnAlert, webhook_setting
from openai_meter.core import settings
from openai_meter.core.locale.choice import language, set_default
from openai_meter.errors import ConfigurationError, UnsupportedClientError
from openai_meter.instrumentation import include_usage
from openai_meter.instrumentation.http_clients.switch import checked_mode
from openai_meter.instrumentation.listening import MARK, ClientMark, registry
from openai_meter.instrumentation.patching import is_client, patcher
from openai_meter.metering.attribution import Surroundings, as_text, read_attribution
from openai_meter.metering.ledger_link import opened
from openai_meter.metering.meter import Block, Budgets, Limits, Meter
from openai_meter.metering.thread_context import threads as followed
from openai_meter.usage.providers import checked_hosts, hosts_from_environment, set_hosts

if TYPE_CHECKING:
    from openai_meter.budgets import Budget, BudgetView
    from openai_meter.budgets.stores import BudgetStore
    from openai_meter.core.money import Number
    from openai_meter.instrumentation.http_clients.switch import HttpMode
    from openai_meter.instrumentation.include_usage import StreamUsage
    from openai_meter.ledger import Ledger
    from openai_meter.pricing import Deployment, Price

__all__ = ["budget", "get_meter", "install", "track", "uninstall", "wrap"]

C = TypeVar("C")


def get_meter() -> Meter:
    """The process-wide meter; it is made on first use, and stays the same. Thread-safe."""
    with registry.lock:
        if registry.meter is None:
            registry.meter = Meter()
        return registry.meter


def install(
    *,
    meter: Meter | None = None,
    recent: int | None = None,
    prices: Mapping[str, Price] | str | Path | None = None,
    models: Mapping[str, str | Deployment] | None = None,
    discount: Number | None = None,
    hosts: Mapping[str, str] | None = None,
    stream_usage: StreamUsage | Collection[str] | None = None,
    http: HttpMode | None = None,
    threads: bool | None = None,
    thresholds: Limits = None,
    on_alert: OnAlert | None = None,
    ledger: Ledger | str | None = None,
    ledger_required: bool = False,
    webhook: Hooks = None,
    otel: bool | None = None,
    otel_spans: bool | None = None,
    lang: str | None = None,
    char_rule: str | None = None,
    budgets: Budgets = None,
    budget_store: str | BudgetStore | None = None,
) -> Meter:
    """Starts counting every call of every openai client in the process.

    Clients that exist already are counted too, and openai may be imported before or after. Calling it again changes
    nothing but the settings that are given. Thread-safe.

    Args:
        meter: the meter that is to count; the process-wide one (:func:`get_meter`) by default.
        recent: how many recent calls the meter keeps (10,000 by default); its totals go on for ever.
        prices: your own prices, by model (``{"my-model": Price(input=1, output=4)}``), or a TOML file of them.
        models: the models behind names of your own: ``{"my-deployment": "gpt-5.4-mini"}``, or a ``Deployment``.
        discount: the share (0 to 1) that OpenAI deducts for you.
        hosts: the provider behind hosts of your own, such as a proxy: ``{"llm.example.com": "openai"}``.
            Calls of other hosts have no OpenAI prices. Also ``OPENAI_METER_HOSTS=llm.example.com=openai,...``.
        stream_usage: where to request the usage of chat streams, invisible to callers that did not request it:
            ``"auto"`` (the default: OpenAI, Azure and ``hosts``), ``"always"``, ``"never"``, or more hosts that take
            ``stream_options``. Elsewhere the usage is estimated. Also ``OPENAI_METER_STREAM_USAGE``.
        http: whether HTTP libraries are watched too, for calls that do not pass through the openai package:
            ``"auto"`` (the default): where litellm, dspy or azure-ai-inference is loaded; ``True``: always, and
            ``http.client`` too; ``False``: never. Observed are httpx, httpx2, aiohttp, requests and urllib3, and only
            their requests to OpenAI, Azure and ``hosts``. No call is counted twice. Also ``OPENAI_METER_HTTP``.
        threads: whether attribution and blocks are passed on to threads: jobs of a ``ThreadPoolExecutor`` (and so of
            ``loop.run_in_executor``), and threads that are started. They do not by default (:func:`bind` takes them
            along by hand); ``asyncio`` tasks and ``asyncio.to_thread`` need neither.
        thresholds: the limits whose passing raises an alert; by default 100 calls, $1.00, 2,000 tokens per call and 5
            errors. A dict changes some (``{"cost": 5.0, "calls": None}``), a list of ``Threshold`` replaces them
            (also per agent, user, session or model, and in rolling windows), ``False`` switches them off.
        on_alert: is called with each ``Alert``, in a thread of the meter's own; alerts are also in ``meter.alerts``
            and go to the log ``openai_meter``.
        ledger: where every call is kept for ever: a URL such as ``"sqlite:///usage.db"`` or
            ``"postgresql+psycopg://user:password@host/database"``, or a ``Ledger``. Also ``OPENAI_METER_LEDGER``.
            A call is kept once it has its price, within a second or so, and no call waits for the database. Calls that
            only a ``track()`` block counts are not kept.
        ledger_required: whether a ledger that cannot be opened now (away, damaged, of a newer version) is an error.
            By default it is logged, calls wait in files, and opening it is tried again.
        otel: whether metrics go to OpenTelemetry, to the program's own ``MeterProvider``, set now or later; see
            ``openai_meter.exporters.otel``, whose ``attach`` has more settings. ``False`` ends it.
        otel_spans: whether usage and cost are also set on the span that is current when a call is made.
        webhook: where alerts are posted, in the background: a URL (of your own, of Slack or of Discord), a
            ``Webhook(url, secret=..., alerts=("cost",), ...)``, or a list of them; ``False``: nowhere. Also
            ``OPENAI_METER_WEBHOOK`` and ``OPENAI_METER_WEBHOOK_SECRET``. ``meter.webhooks`` has the counts.
        lang: the language of what people read (reports, alerts, the command line's summary): ``"en"`` or ``"fr"``. Also
            ``OPENAI_METER_LANG``; by default that of the locale.
        char_rule: how tokens are estimated where tiktoken's vocabulary is not on this machine: ``"script"`` (the
            default) by the script of the text, with 3.8 or 3.5 characters a token in French, as was measured;
            ``"plain"`` as :func:`estimate_tokens` counts, 3 in French and 4 in all else. ``Call.usage_rule`` names
            the rule of each estimate.
        budgets: caps that stop a call before it is sent: ``[Budget("prod", usd=500, every="month")]``. A call that a
            budget does not admit raises ``BudgetExceededError``. ``False`` or ``[]``: none. Their figures are in
            ``meter.budgets``. By default those of ``OPENAI_METER_BUDGET``, such as ``5/day,500/month``.
        budget_store: where several processes share the budgets: ``"sqlite:///usage.db"`` for those of one machine,
            ``"postgresql+psycopg://..."`` or ``"redis://..."`` for a fleet. Without it, a budget is that of one
            process. With a ledger, its calls in the window of a budget count as spent from the start.

    Returns:
        The meter that counts.

    Raises:
        ConfigurationError: a setting cannot be used; nothing is changed then.
        LedgerError: with ``ledger_required``: the ledger cannot be opened now.
        MissingExtraError: a ledger needs ``pip install "openai-meter[ledger]"``, ``otel`` ``"openai-meter[otel]"``, a
            webhook's secret ``"openai-meter[webhook]"``.
    """
    telemetry = _checked_telemetry(otel, otel_spans)
    if meter is not None and not isinstance(meter, Meter):
        raise ConfigurationError(f"meter={meter!r} is not an openai_meter.Meter; leave it out for the process-wide one")
    if threads is not None and not isinstance(threads, bool):
        raise ConfigurationError(f"threads={threads!r} is neither True nor False; say whether threads are followed")
    if lang is not None:
        language(lang)
    set_char_rule = _checked_char_rule(char_rule)
    set_http = _checked_http(http)
    behind = hosts_from_environment() if hosts is None else checked_hosts(hosts)
    current = meter or registry.installed or registry.meter
    kept = opened(ledger, None if current is None else current.ledger, required=ledger_required)
    with registry.lock:
        if stream_usage is not None or registry.installed is None:
            include_usage.configure(stream_usage or settings.get("stream_usage"))
        chosen = meter or registry.installed or get_meter()
        if budgets is None and chosen._budgets is None and settings.get("budget") is not None:
            from openai_meter.budgets.text_form import budgets_of_settings  # noqa: PLC0415 - few programs have them

            budgets = budgets_of_settings()
        chosen._configure(
            recent=recent, thresholds=thresholds, on_alert=on_alert, prices=prices, models=models, discount=discount,
            webhook=webhook_setting(webhook, chosen._store.dispatcher), budgets=budgets, budget_store=budget_store,
        )  # fmt: skip
        if kept is not None:
            chosen._keep(kept)
        telemetry(chosen)
        if behind or hosts is not None or registry.installed is None:
            set_hosts(behind)
        if lang is not None:
            set_default(lang)
        set_char_rule()
        set_http()
        registry.installed = chosen
        registry.update()
        if threads is not None:
            followed.follow() if threads else followed.unfollow()
        return chosen


def _checked_telemetry(otel: object, spans: object) -> Callable[[Meter], object]:
    """Applies the settings of OpenTelemetry to a meter."""
    for name, value in (("otel", otel), ("otel_spans", spans)):
        if value is not None and not isinstance(value, bool):
            raise ConfigurationError(f"{name}={value!r} is neither True nor False")
    if otel is False and spans:
        raise ConfigurationError("otel_spans=True needs OpenTelemetry; leave out otel=False")
    if otel or spans:
        from openai_meter.exporters import otel as there  # noqa: PLC0415 - an extra

        return lambda meter: there.switch(meter, spans=None if spans is None else bool(spans))
    loaded = sys.modules.get("openai_meter.exporters.otel")
    if loaded is None or (otel is None and spans is None):
        return lambda _: None
    return loaded.detach if otel is False else lambda meter: loaded.switch(meter, spans=False, only=True)


def _checked_http(mode: HttpMode | None) -> Callable[[], object]:
    """Applies the setting of HTTP libraries."""
    if mode is None and registry.installed is not None:
        return lambda: None
    checked = checked_mode(settings.get("http") if mode is None else mode)
    return lambda: setattr(patcher.http, "mode", checked)


def _checked_char_rule(name: str | None) -> Callable[[], object]:
    """Applies the setting of the rule for characters."""
    if name is None:
        return lambda: None
    from openai_meter.usage.estimation import chars  # noqa: PLC0415 - most programs set no rule

    rule = chars.checked_rule(name)
    return lambda: chars.set_rule(rule)


def uninstall() -> None:
    """Stops counting, for :func:`install` and :func:`wrap` alike, and restores the identical functions of openai.

    The counts stay readable. Where another library has patched on top, our wrapper stays below, and passes
    everything on. The same holds for the functions of threads, where those were followed. Streams that are being
    read are still counted. Thread-safe; harmless if nothing is installed.
    """
    with registry.lock:
        set_hosts(None)
        set_default(None)
        include_usage.configure("auto")
        if (chars := sys.modules.get("openai_meter.usage.estimation.chars")) is not None:
            chars.set_rule("script")
        patcher.http.mode = None
        registry.installed = None
        registry.has_wrapped = False
        registry.epoch += 1
        registry.update()
        followed.unfollow()


def wrap(client: C, meter: Meter | None = None) -> C:
    """Counts the calls of one client, and of all its ``with_options()`` and ``copy()`` descendants.

    Args:
        client: any client of the openai package, sync or async.
        meter: the meter that is to count; the process-wide one (:func:`get_meter`) by default.

    Returns:
        The same client.

    Raises:
        UnsupportedClientError: that is not a client of the openai package.
    """
    with registry.lock:
        if not is_client(client):
            raise UnsupportedClientError(
                f"wrap() takes a client of the openai package, such as openai.OpenAI(), not {type(client).__name__!r}"
            )
        if meter is not None and not isinstance(meter, Meter):
            raise ConfigurationError(
                f"meter={meter!r} is not an openai_meter.Meter; leave it out for the process-wide one"
            )
        registry.has_wrapped = True
        registry.update()
        vars(client)[MARK] = ClientMark(meter or get_meter(), registry.epoch)
    return client


class _Tracked(Block):
    """A block that keeps ``request`` patched while it is run."""

    def enter(self) -> None:
        """Begins the block; counts by itself where nothing is installed."""
        with registry.lock:
            registry.running_blocks += 1
            if registry.running_blocks == 1:
                registry.update()
        super().enter()

    def leave(self, *, noted: bool = False) -> bool:
        """Ends the block."""
        left = super().leave(noted=noted)
        if left:
            with registry.lock:
                registry.running_blocks -= 1
                if not registry.running_blocks:
                    registry.update()
        return left


def track(
    name: str | None = None,
    *,
    meter: Meter | None = None,
    thresholds: Limits = False,
    on_alert: OnAlert | None = None,
    webhook: Hooks = None,
    **attribution: object,
) -> Block:
    """A block with totals of its own: all calls that are made in it, from whatever client.

    Use it around some code (``with track("nightly") as run:``, ``async with``) or as a decorator. Blocks nest, follow
    asyncio tasks, and need no :func:`install`. A stream that is opened in the block and read after it counts.

    Args:
        name: a name for the block; its calls carry it.
        meter: the meter whose settings the block shares; the process-wide one by default.
        thresholds: limits for the block alone, as for :func:`install`; none by default.
        on_alert: is called with each ``Alert`` of the block.
        webhook: where the alerts of the block are posted, as for :func:`install`; by default where the meter's are.
        attribution: ``agent``, ``operation``, ``user``, ``session``; any other name is a tag. The calls carry these.
            Values are text or have a plain text form, as for :func:`tag`.

    Raises:
        ConfigurationError: a setting cannot be used, or a function is given for a name.
        MissingExtraError: a webhook's secret needs ``pip install "openai-meter[webhook]"``.
    """
    given: object = name
    if callable(given):
        raise ConfigurationError(f"track({name!r}) needs a name, not a function; as a decorator, write @track()")
    chosen = meter or registry.installed or get_meter()
    text = as_text("name", name)
    dispatcher = AlertDispatcher(thresholds, on_alert, webhook_setting(webhook, chosen._store.dispatcher), text)
    if dispatcher.has_fleet:
        raise ConfigurationError("a block cannot have a threshold with fleet=True; pass it to install(thresholds=...)")
    return _Tracked(text, read_attribution(attribution), chosen, dispatcher if dispatcher.watch.thresholds else None)


class _Budgeted(_Tracked):
    """A block that is a budget: one run of a part of a program, in memory."""

    def __init__(self, limit: Budget, meter: Meter) -> None:
        super().__init__(None, read_attribution({}), meter)
        self._limit = limit
        self._set_budgets((limit,))

    def around(self, outer: Surroundings) -> Surroundings:
        """The surroundings of code in the block. It goes in front: calls carry the name of the ``track()`` block."""
        return Surroundings(outer.attribution, (self, *outer.blocks), self, outer, outer.depth + 1)

    def for_call(self) -> _Budgeted:
        """As a decorator, each call of the function has the whole budget."""
        return _Budgeted(self._limit, self._meter)

    @property
    def budget(self) -> BudgetView:
        """The figures of the budget: ``limit``, ``spent``, ``held``, ``left``, ``overdrawn``."""
        return self.budgets[self._limit.name]

    def __repr__(self) -> str:
        return f"<budget {self._limit.name!r}>"


def budget(
    name: str = "run",
    *,
    usd: Number | None = None,
    tokens: int | None = None,
    calls: int | None = None,
    meter: Meter | None = None,
    **settings: Any,
) -> _Budgeted:
    """A budget for one run of a part of a program: all calls that are made in it, from whatever client.

    Use it around some code (``with budget(usd="0.50") as run:``, ``async with``) or as a decorator, where each call of
    the function has the whole budget. Budgets nest, follow asyncio tasks and generators as :func:`track` does, and need
    no :func:`install`. A call has to be admitted by all budgets around it. ``run.budget`` has its figures, and
    ``run.totals`` are its calls.

    Args:
        name: a name for messages.
        usd: US dollars. Exactly one of ``usd``, ``tokens`` and ``calls`` is given.
        tokens: input and output tokens.
        calls: calls.
        meter: the meter whose prices count; the process-wide one by default.
        settings: other settings of ``Budget``, such as ``when_spent``, ``match``, ``strict``, ``alert_at``: by default
            a run raises no alerts.

    Raises:
        ConfigurationError: a setting cannot be used, or a function is given for a name.
    """
    from openai_meter.budgets.budget import Budget  # noqa: PLC0415 - for programs with budgets only

    given: object = name
    if callable(given):
        raise ConfigurationError("budget() needs a limit, not a function; as a decorator, write @budget(usd=0.50)")
    for setting in settings.keys() - _OF_A_RUN:
        known = ", ".join(sorted(_OF_A_RUN))
        raise ConfigurationError(f"budget() has no setting {setting!r}; besides the limit there are {known}")
    limit = Budget(name, usd=usd, tokens=tokens, calls=calls, **{"alert_at": (), **settings})
    return _Budgeted(limit, meter or registry.installed or get_meter())


_OF_A_RUN = frozenset({"alert_at", "match", "on_fault", "per", "strict", "unpriced", "when_spent"})
"""The settings of a budget that a single run can have."""
