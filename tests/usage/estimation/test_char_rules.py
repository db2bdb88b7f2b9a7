"""The rule for counts by characters: chosen for the process, and named in each record."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import openai_meter
from openai_meter.errors import ConfigurationError
from openai_meter.usage.estimation import Output, chars, encodings, estimate_call, estimate_tokens, ratio_tokens
from openai_meter.usage.estimation.counter import Counter

FRENCH = "Voilà l'été où les élèves répétèrent à l'école ce qui les gênait déjà."


@pytest.fixture(autouse=True)
def _usual_rule() -> Iterator[None]:
    yield
    chars.set_rule("script")


def test_counter_without_a_vocabulary_counts_by_the_rule() -> None:
    """The plain rule counts a token for 3 characters of French; the other rule uses measured ratios."""
    assert Counter(None, "o200k_base").tok(FRENCH) == ratio_tokens(FRENCH, "o200k_base")
    chars.set_rule("plain")
    assert Counter(None, "o200k_base").tok(FRENCH) == estimate_tokens(FRENCH) == -(-len(FRENCH) // 3)
    assert Counter(None, "cl100k_base").tok("x" * 9) == 3


@pytest.mark.parametrize("name", ["script", "plain"])
def test_estimate_names_the_rule_of_characters(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An estimate by characters has the name of the rule."""
    monkeypatch.setattr(encodings, "encoding", lambda _: None)
    chars.set_rule(name)
    found = estimate_call("completions", {"prompt": FRENCH}, [Output("oui")], "gpt-4o")
    assert (found.source, found.rule) == ("chars", name)


def test_install_sets_the_rule_and_uninstall_restores_it() -> None:
    """install(char_rule=...) applies to the process, until uninstall()."""
    try:
        openai_meter.install(meter=openai_meter.Meter(), char_rule="plain")
        assert chars.rule() == "plain"
    finally:
        openai_meter.uninstall()
    assert chars.rule() == "script"


def test_install_refuses_an_unknown_rule() -> None:
    """A rule that does not exist is an error that names the rules, and changes nothing."""
    with pytest.raises(ConfigurationError, match="'script', 'plain'"):
        openai_meter.install(meter=openai_meter.Meter(), char_rule="french")
    assert chars.rule() == "script"
