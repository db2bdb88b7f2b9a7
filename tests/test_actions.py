"""The chat action: which messages it answers, in which language, and what it shows."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import openai_meter
from openai_meter import ConfigurationError, Meter, Price, actions
from openai_meter.actions import SHOW_API_STATS, ShowApiStats

ASKING = [
    ("Montre-moi les stats API", "fr"),
    ("Combien de tokens ?", "fr"),
    ("API usage", "en"),
    ("Consommation", "fr"),
    ("montre moi les STATS api!!!", "fr"),
    ("consommation", "fr"),
    ("CONSOMMATION ?", "fr"),
    ("conso", "fr"),
    ("Quelle est ma consommation aujourd'hui ?", "fr"),
    ("Quelle est ma consommation aujourd\u2019hui ?", "fr"),
    ("combien de jetons ai-je dépensés ?", "fr"),
    ("Combien d'appels API ?", "fr"),
    ("Combien d\u2019appels a\u0300 l\u2019API ?", "fr"),  # an accent as a character of its own
    ("Quel est le coût de l'API ?", "fr"),
    ("quel est le cout de l api", "fr"),
    ("Statistiques d'utilisation OpenAI", "fr"),
    ("Combien m'a coûté OpenAI cette semaine ? Donne le coût.", "fr"),
    ("show me the API stats", "en"),
    ("How many tokens?", "en"),
    ("how many tokens did I use so far", "en"),
    ("How much did the OpenAI calls cost?", "en"),
    ("What's my usage?", "en"),
    ("usage", "en"),
    ("Token usage, please", "en"),
    ("stats api", None),
    ("\uff21\uff30\uff29 \uff55\uff53\uff41\uff47\uff45", "en"),  # full-width letters
    ("  API\tusage\n", "en"),
]

NOT_ASKING = [
    "",
    "   ",
    "???",
    "Bonjour",
    "Montre-moi mon portefeuille",
    "consommation électrique de ma voiture",
    "Quelle est la consommation d'essence de ma voiture ?",
    "consommation d'eau",
    "Combien de tokens ETH ai-je dans mon portefeuille ?",
    "How many tokens does my wallet hold?",
    "How many tokens does the context window support?",
    "Combien de tokens contient ce texte ?",
    "Combien de temps prend un appel à l'API ?",
    "combien de pommes ?",
    "Explain how the OpenAI API works",
    "What is a token?",
    "API usage example in Python",
    "Google Maps API usage",
    "usage de mon téléphone",
    "the usage of the subjunctive",
    "How many calls did Ben answer?",
    "statistiques de vente",
    "stats",
    "coût de la vie",
    "therapist usages",
    "apiculture : consommation de miel",
    "API usage " * 100,
]


@pytest.fixture
def own() -> Meter:
    """A meter that has counted one call, of $1.50."""
    meter = Meter(prices={"gpt-4o-mini": Price(input=1, output=1)})
    meter.track_call("gpt-4o-mini", 1_000_000, 500_000)
    return meter


class Said:
    """An alert or a recommendation that says its language."""

    def __init__(self, text: str) -> None:
        self.text = text

    def message(self, lang: str | None = None) -> str:
        return f"{self.text} in {lang}"


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No threshold is exceeded, and there is nothing to recommend."""
    taken = Meter.snapshot
    monkeypatch.setattr(Meter, "snapshot", lambda self: replace(taken(self), alerts=()))
    monkeypatch.setattr(Meter, "recommendations", lambda self: ())


@pytest.fixture
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """A threshold is exceeded, and there is something to recommend."""
    taken = Meter.snapshot
    monkeypatch.setattr(Meter, "snapshot", lambda self: replace(taken(self), alerts=(Said("alert"),)))
    monkeypatch.setattr(actions, "recommendations", lambda *_: (Said("advice"), Said("more")))


# --- which messages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [text for text, _ in ASKING])
def test_message_about_usage_matches(text: str) -> None:
    """The triggers of the guide and similar questions, whatever accents, case and punctuation."""
    assert SHOW_API_STATS.matches(text)


@pytest.mark.parametrize("text", NOT_ASKING)
def test_message_about_something_else_does_not_match(text: str) -> None:
    """Electricity, crypto tokens, the length of a text, other APIs, and talk."""
    assert not SHOW_API_STATS.matches(text)


@pytest.mark.parametrize("trigger", SHOW_API_STATS.triggers)
def test_every_similar_phrase_matches(trigger: str) -> None:
    """The action answers every phrase that it lists for a runtime, in capitals and small letters too."""
    assert all(SHOW_API_STATS.matches(text) for text in (trigger, trigger.upper(), trigger.lower(), f"« {trigger} »"))


@pytest.mark.parametrize("text", [None, 5, b"API usage", ["API", "usage"]])
def test_message_without_text_does_not_match(text: Any) -> None:
    """A message without text is nobody's question, and no error."""
    assert not SHOW_API_STATS.matches(text)


@given(st.text(max_size=200))
def test_any_text_has_a_stable_answer(text: str) -> None:
    """Any text has an answer, the same each time."""
    assert SHOW_API_STATS.matches(text) is SHOW_API_STATS.matches(text)


# --- what it shows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "lang"), ASKING)
@pytest.mark.usefixtures("loud")
def test_answer_is_in_the_language_of_the_question(own: Meter, text: str, lang: str | None) -> None:
    """Where the words do not show it, it is the environment's language."""
    answer = SHOW_API_STATS.handle(text, own)
    assert f"alert in {lang}" in answer
    assert ("Statistiques" in answer) is (lang == "fr")


@pytest.mark.usefixtures("loud")
def test_answer_is_alert_report_and_recommendations(own: Meter) -> None:
    """The alert comes first, then the report, then what would save money."""
    answer = SHOW_API_STATS.handle("Montre-moi les stats API", own)
    places = [
        answer.index(part)
        for part in (
            "alert in fr",
            "📊 **Statistiques d'utilisation OpenAI**",
            "⏱️ Durée : ",
            "**gpt-4o-mini**",
            "├─ Appels : 1",
            "├─ Tokens : 1,500,000",
            "└─ Coût : $1.500000",
            "**📈 Totaux**",
            "└─ Coût total : $1.500000",
            "**💡 Recommandations**",
            "advice in fr",
            "more in fr",
        )
    ]
    assert places == sorted(places)
    assert places[0] == 0


@pytest.mark.usefixtures("quiet")
def test_answer_without_alert_and_advice_is_the_report(own: Meter) -> None:
    """Where all is well, the answer is the report alone."""
    answer = SHOW_API_STATS.handle("Consommation", own)
    assert answer.startswith("📊 **Statistiques d'utilisation OpenAI**")
    assert "Recommandations" not in answer
    assert answer == own.generate_report("fr")


def test_answer_begins_with_thresholds_and_ends_with_advice(own: Meter) -> None:
    """$1.50 is above the default limit of $1.00, and five refused keys give advice."""
    for _ in range(5):
        own.track_error("gpt-4o-mini", type("AuthenticationError", (Exception,), {}))
    answer = SHOW_API_STATS.handle("Consommation", own)
    report = answer.index("📊 **Statistiques d'utilisation OpenAI**")
    assert answer.index("💰 Alerte : Coût de 1,50\xa0$") < report
    assert answer.index("AuthenticationError") > answer.index("**💡 Recommandations**") > report


@pytest.mark.usefixtures("loud")
def test_given_language_takes_precedence_over_the_question(own: Meter) -> None:
    """An unknown one is refused."""
    assert "alert in en" in SHOW_API_STATS.handle("Consommation", own, lang="en")
    with pytest.raises(ConfigurationError, match="tlh"):
        SHOW_API_STATS.handle("Consommation", own, lang="tlh")


@pytest.mark.usefixtures("quiet")
def test_action_without_a_meter_uses_the_installed_one(own: Meter) -> None:
    """Else the process-wide one."""
    assert "gpt-4o-mini" not in SHOW_API_STATS.handle("API usage")
    openai_meter.install(meter=own)
    assert "gpt-4o-mini" in SHOW_API_STATS.handle("API usage")
    openai_meter.uninstall()
    openai_meter.get_meter().track_call("gpt-5-nano", 1, 1)
    assert "gpt-5-nano" in SHOW_API_STATS.handle()


# --- as a tool --------------------------------------------------------------------------------------------------------


def test_chat_tool_has_the_form_of_chat_completions() -> None:
    """Strict, with every parameter required."""
    tool = SHOW_API_STATS.tool()
    assert list(tool) == ["type", "function"]
    function = tool["function"]
    assert (tool["type"], function["name"], function["strict"]) == ("function", "SHOW_API_STATS", True)
    assert function["parameters"]["required"] == list(function["parameters"]["properties"]) == ["lang"]
    assert function["parameters"]["properties"]["lang"]["enum"] == ["en", "fr", None]
    assert function["parameters"]["additionalProperties"] is False


def test_responses_tool_has_its_fields_next_to_its_type() -> None:
    """The same in the form of the Responses API, where the function's fields stand beside its type."""
    assert SHOW_API_STATS.tool("responses") == {"type": "function", **SHOW_API_STATS.tool()["function"]}
    assert json.loads(json.dumps(SHOW_API_STATS.tool("responses"))) == SHOW_API_STATS.tool("responses")
    with pytest.raises(ConfigurationError, match="assistants"):
        SHOW_API_STATS.tool("assistants")


@pytest.mark.parametrize(
    ("arguments", "lang"),
    [
        ('{"lang": "fr"}', "fr"),
        ({"lang": "fr"}, "fr"),
        ('{"lang": "en"}', "en"),
        ('{"lang": null}', "None"),
        ("{}", "None"),
        ("", "None"),
        (None, "None"),
        ("no JSON", "None"),
        ("[" * 100_000, "None"),
        ('["fr"]', "None"),
        ('{"lang": "tlh"}', "None"),
        ('{"lang": 5}', "None"),
        ('{"language": "fr", "key": "x"}', "None"),
    ],
)
@pytest.mark.usefixtures("loud")
def test_arguments_of_a_model_never_raise(own: Meter, arguments: Any, lang: str) -> None:
    """Valid ones are used, others are ignored."""
    assert f"alert in {lang}" in SHOW_API_STATS.handle_tool_call(arguments, own)


@pytest.mark.usefixtures("quiet")
def test_model_can_call_the_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """The local API takes both definitions, and its tool call is answered."""
    from openai import OpenAI

    from openai_meter.testing.fake_api.server import DemoServer

    meter = openai_meter.install()
    with DemoServer() as server, OpenAI(base_url=server.base_url, api_key="sk-secret", max_retries=0) as client:
        chat: Any = client.chat.completions.create(
            model="gpt-5-nano", messages=[{"role": "user", "content": "my secret"}], tools=[SHOW_API_STATS.tool()]
        )  # type: ignore[call-overload]
        client.responses.create(model="gpt-5-nano", input="my secret", tools=[SHOW_API_STATS.tool("responses")])  # type: ignore[list-item]
    calls = chat.choices[0].message.tool_calls or []
    answer = SHOW_API_STATS.handle_tool_call(calls[0].function.arguments if calls else "{}")
    assert meter.totals.calls == 2
    assert "gpt-5-nano" in answer
    assert "secret" not in answer


def test_action_has_no_state() -> None:
    """There is nothing in it that two threads could share, and any object of it is as good as another."""
    assert not vars(ShowApiStats())
    assert ShowApiStats().tool() == SHOW_API_STATS.tool()
