"""Languages: which one is spoken, and that all of them say the same."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_meter import ConfigurationError
from openai_meter.core import locale
from openai_meter.core.locale import choice, en

LANGUAGES = locale.languages()
OTHERS = [code for code in LANGUAGES if code != "en"]


def forms(template: str | tuple[str, ...]) -> tuple[str, ...]:
    return template if isinstance(template, tuple) else (template,)


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("OPENAI_METER_LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_every_file_of_a_language_is_in_the_table() -> None:
    """A language is there because its file is."""
    files = Path(en.__file__).parent.glob("*.py")
    assert sorted(path.stem for path in files if path.stem not in {"__init__", "choice", "typography"}) == list(
        LANGUAGES
    )
    assert {"en", "fr"} <= set(LANGUAGES)


@pytest.mark.parametrize("code", OTHERS)
def test_all_languages_have_the_same_keys(code: str) -> None:
    """No sentence is missing in any language, none is left over, and they stand in the same order."""
    assert list(choice._load(code)._templates) == list(en.MESSAGES)


@pytest.mark.parametrize("code", LANGUAGES)
def test_all_languages_use_the_same_values(code: str) -> None:
    """A sentence has the same values in every language and in each of its forms."""
    for key, template in choice._load(code)._templates.items():
        expected = fields(forms(en.MESSAGES[key])[0])
        assert isinstance(template, tuple) == isinstance(en.MESSAGES[key], tuple), key
        assert all(fields(form) == expected for form in forms(template)), key


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("n", [0, 1, 2, 5, 11, 21, 100, 1_000_000, 10**30])
def test_every_number_has_a_plural_form(code: str, n: int) -> None:
    """The plural rule of a language finds a form of every sentence for every number."""
    m = locale.language(code)
    for key, template in m._templates.items():
        if isinstance(template, tuple):
            assert m(key, **dict.fromkeys(fields(template[0]), f"{n:,}") | {"n": n})


@pytest.mark.parametrize(
    ("code", "n", "said"),
    [
        ("en", 0, "0 calls"), ("en", 1, "1 call"), ("en", 2, "2 calls"), ("en", 1234, "1,234 calls"),
        ("fr", 0, "0 appel"), ("fr", 1, "1 appel"), ("fr", 2, "2 appels"), ("fr", 1234, "1\u202f234 appels"),
    ],
)  # fmt: skip
def test_zero_is_plural_in_english_and_singular_in_french(code: str, n: int, said: str) -> None:
    """In English 0 is plural; in French it is singular."""
    assert locale.language(code)("calls", n=n) == said


@pytest.mark.parametrize("name", ["fr", "FR", " fr ", "fr_FR", "fr-CA", "fr_FR.UTF-8", "fr@euro", "fr.UTF-8"])
def test_region_encoding_and_case_of_a_language_are_ignored(name: str, no_environment: pytest.MonkeyPatch) -> None:
    """In the argument and in the environment."""
    assert locale.language(name).code == "fr"
    for variable in ("OPENAI_METER_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(variable, name)
            assert locale.language().code == "fr"


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ({}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "fr"),
        ({"LANG": "fr_FR.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "fr_FR.UTF-8"}, "fr"),
        ({"LANG": "fr_FR.UTF-8", "LC_MESSAGES": "fr_FR.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": ""}, "fr"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "POSIX"}, "en"),
        ({"LANG": "tlh_KX"}, "en"),
        ({"LANG": "choice"}, "en"),
        ({"LANG": "en_GB", "OPENAI_METER_LANG": "fr"}, "fr"),
        ({"LANG": "fr_FR", "OPENAI_METER_LANG": ""}, "fr"),
        ({"LANG": "en_GB.UTF-8", "LANGUAGE": "fr"}, "fr"),
        ({"LANG": "de_DE.UTF-8", "LANGUAGE": "de:tlh:fr_CA:en"}, "fr"),
        ({"LANG": "fr_FR.UTF-8", "LANGUAGE": "de:tlh"}, "fr"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "C", "LANGUAGE": "fr"}, "en"),
        ({"LANG": "fr_FR.UTF-8", "LANGUAGE": ""}, "fr"),
        ({"LANGUAGE": "fr", "OPENAI_METER_LANG": "en"}, "en"),
    ],
)
def test_language_of_the_environment_is_the_default(
    environment: dict[str, str], code: str, no_environment: pytest.MonkeyPatch
) -> None:
    """Our own variable comes first, then the locale as POSIX reads it, then English."""
    for name, value in environment.items():
        no_environment.setenv(name, value)
    assert locale.language().code == code
    assert locale.language("en").code == "en"  # an argument comes before all


@pytest.mark.parametrize("name", ["xx", "", "choice", "french", "__init__", "../en", 3, b"fr", ["fr"]])
def test_unknown_language_raises_with_the_known_ones(name: object) -> None:
    """An argument that is no language is refused, and the languages there are are named."""
    with pytest.raises(ConfigurationError, match=r"use one of en, fr"):
        locale.language(name)  # type: ignore[arg-type]


def test_wrong_value_of_our_variable_raises(no_environment: pytest.MonkeyPatch) -> None:
    """It is refused like an argument, as it was set for openai_meter."""
    no_environment.setenv("OPENAI_METER_LANG", "xx")
    with pytest.raises(ConfigurationError, match=r"OPENAI_METER_LANG='xx'.*use one of"):
        locale.language()


@given(st.text())
def test_braces_in_a_value_are_kept(text: str) -> None:
    """What stands in a value is put in as it is, braces included."""
    assert locale.language("fr")("table.title_of", name=text) == f"Utilisation d'OpenAI\xa0: {text}"


def test_unknown_key_raises() -> None:
    """``in`` tests whether there is a key."""
    m = locale.language("en")
    assert "calls" in m
    assert "no_such_key" not in m
    with pytest.raises(KeyError):
        m("no_such_key")
