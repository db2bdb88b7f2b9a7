"""The command line in French: help, output and errors have no line that is half English, and no English number."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from openai_meter import Call, Usage
from openai_meter.cli.app import COMMANDS
from openai_meter.cli.doctor.locale import en as doctor_en
from openai_meter.cli.doctor.locale import fr as doctor_fr
from openai_meter.core.call import new_call_id
from openai_meter.core.locale import en, fr
from openai_meter.core.locale.help import en as help_en
from openai_meter.core.locale.help import fr as help_fr

NOW = datetime.now(UTC)
CALL = Call(
    "", NOW, 0.5, "responses", "openai", "gpt-4o-mini", "gpt-4o-mini", "ok", Usage(1_234_567, 50, 1_234_617), "api",
    agent="tarif", cost_pico=1_234_500_000_000_000, cost_status="priced",
)  # fmt: skip

_WORD = re.compile(r"[A-Za-zÀ-ÿ]{3,}")
_CODE = re.compile(
    r"https?://\S+|\S*[_./=\\@]\S*|(?<!\w)--?[\w-]+|(?<!\w)'[^'\s]*'|\{[^}]*\}|\[[A-Z ]+\]|\b[A-Z][A-Z_]+\b|"
    r"openai-meter(?: [a-z]+)?|\b\w+ \| \w+(?: \| [\w-]+)*|^  [a-z]+(?=  )",
    re.MULTILINE,
)
"""Names of options, files, settings, metavars and commands, which are the same in every language."""


def _words(texts: Iterable[str | tuple[str, ...]]) -> set[str]:
    joined = " ".join(text if isinstance(text, str) else " ".join(text) for text in texts)
    return {word.lower() for word in _WORD.findall(_CODE.sub(" ", joined))}


def _catalog(*catalogs: Mapping[str, Any]) -> set[str]:
    return set().union(*(_words(catalog.values()) for catalog in catalogs))


ENGLISH = _catalog(en.MESSAGES, help_en.HELP, doctor_en.MESSAGES) - _catalog(
    fr.MESSAGES, help_fr.HELP, doctor_fr.MESSAGES
)
"""The words of our English sentences that are in none of the French ones."""
VALUES = {
    "errors", "day", "week", "month", "calls", "model", "agent", "default", "flex", "priority", "batch", "equal",
    "none",
}  # fmt: skip
"""What is typed, and what the API calls its tiers: the same in every language."""
TYPER = {
    "usage",
    "try",
    "error",
    "missing",
    "such",
    "argument",
    "unexpected",
    "extra",
    "invalid",
    "value",
    "show",
    "exit",
}


def english_words(text: str) -> set[str]:
    """The words of a French text that are English. ``usage`` and ``argument`` are words of both languages."""
    return _words([text]) & (ENGLISH | TYPER) - {"usage", "argument", "extra"} - VALUES


@pytest.fixture(autouse=True)
def french(monkeypatch: pytest.MonkeyPatch) -> None:
    """The locale is French, as a terminal in France has it."""
    monkeypatch.delenv("OPENAI_METER_LANG", raising=False)
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    monkeypatch.setenv("COLUMNS", "100")


def _names() -> list[str]:
    names = [name.partition(".")[0].replace("import_calls", "import") for name in COMMANDS]
    return ["", *names, "webhook test"]


def test_list_of_english_words_is_plausible() -> None:
    """The list of English words has the everyday ones, and what a French text may contain is not in it."""
    assert {"the", "with", "write", "which", "unknown"} <= ENGLISH
    assert not {"token", "tokens", "total", "les", "avec"} & ENGLISH
    assert english_words("Usage : openai-meter report [OPTIONS]\nÉcrire the summary") == {"the", "summary"}


@pytest.mark.parametrize("name", _names())
def test_french_help_has_no_english_word(name: str, invoke: Any) -> None:
    """Each page of help is French from its heading to its examples, with the spaces of French typography."""
    result = invoke(*name.split(), "--help")
    page = result.out.partition("Exemples")[0]
    assert (result.code, result.err) == (0, "")
    assert page.startswith("Usage\xa0: openai-meter")
    assert english_words(page) == set()
    assert "<str>" not in page
    assert re.findall(r".{9} [;!?:](?=\s)", page) == []


def _call(ago: float = 0, **changes: Any) -> Call:
    return replace(CALL, id=new_call_id(), started_at=NOW - timedelta(days=ago), **changes)


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """The URL of a ledger with ten days, a model without a price, an error and an estimate."""
    pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed: this is NOT tested")
    from openai_meter.ledger import Ledger

    url = f"sqlite:///{tmp_path}/registre.db"
    history = Ledger(url)
    history.import_calls([
        *(_call(ago) for ago in range(10)),
        _call(1, model="maison", cost_pico=None, cost_status="unpriced", cost_reason="unknown model"),
        _call(1, model="gpt-4o", status="error", error_type="Panne", cost_pico=0, cost_status="free"),
        _call(1, agent="autre", usage_source="tiktoken", cost_estimated=True),
    ])  # fmt: skip
    history.close()
    return url


_NUMBER = re.compile(r"\$\d|[1-9]\d*,\d{3}(?!\d|\xa0\$)|\d\.\d+\b(?!\.)(?=\s|\xa0)")
"""An English amount, number with thousands, or decimal point."""


def _is_french(text: str) -> None:
    assert english_words(text) == set()
    assert _NUMBER.findall(text) == []


@pytest.mark.parametrize(
    "line",
    [
        "check --limit cost=50/month", "report", "report --by model,agent --breakdown",
        "report --by model --chart", "report --by agent --compact",
        "report --by model --format markdown", "report --model rien", "forecast", "forecast day", "compare 7d 30d",
        "compare agent=tarif agent=autre", "reprice", "prune 5d --yes", "prune 900d --yes", "top --once --by agent",
        "statusline", "statusline --since 7d", "export --output appels.jsonl", "export --format csv --excel -o a.csv",
    ],
)  # fmt: skip
def test_french_output_about_a_ledger_has_no_english_word(
    line: str, ledger: str, invoke: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers and amounts are French, too."""
    monkeypatch.chdir(tmp_path)
    result = invoke(*line.split(), "--ledger", ledger)
    assert result.code in {0, 1, 3}  # 3: a limit is exceeded
    assert result.out + result.err
    _is_french(result.out + result.err)


def test_french_output_without_a_ledger_has_no_english_word(
    invoke: Any, tmp_path: Path, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prices, bills, estimates, imports, exports for monitoring."""
    monkeypatch.chdir(tmp_path)
    question = tmp_path / "question.txt"
    question.write_text("Bonjour " * 2_000, encoding="utf-8")
    calls = tmp_path / "appels.jsonl"
    calls.write_text("".join(f"{json.dumps(_call().to_dict())}\n" for _ in range(2)), encoding="utf-8")
    usage = json.dumps({"prompt_tokens": 3_245_000, "completion_tokens": 1_892})
    outputs = [
        invoke("prices", "gpt-4o-mini"),
        invoke("prices", "rien"),
        invoke("explain", "-m", "gpt-4o-mini", stdin=usage),
        invoke("explain", stdin=usage),
        invoke("explain", stdin="[]"),
        invoke("estimate", question, "-m", "gpt-4o-mini"),
        invoke("estimate", tmp_path / "rien.txt"),
        invoke("import", calls, "--ledger", ledger),
        invoke("import", calls, "--ledger", ledger),
        invoke("export", "grafana", "-o", tmp_path / "grafana.json"),
        invoke("export", "--excel"),
        invoke("report"),
        invoke("top", "--once"),
        invoke("webhook", "test"),
    ]
    for result in outputs[:1]:  # the source of a price is data
        assert "$" not in result.out
        assert "0,15" in result.out
    for result in outputs[1:]:
        _is_french(re.sub(r"genai-prices \S+|openai_meter \S+", "", result.out + result.err))


def test_french_run_without_calls_ends_with_a_french_sentence(tmp_path: Path) -> None:
    """The sentence at the end of a program that made no call."""
    program = tmp_path / "programme.py"
    program.write_text("", encoding="utf-8")
    command = [sys.executable, "-m", "openai_meter", "run", str(program)]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, check=True)
    assert "aucun appel" in result.stderr
    _is_french(result.stderr)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rep", "la commande 'rep' n'existe pas. Vouliez-vous dire 'report', 'reprice'\u202f?"),
        ("report --nope", "l'option --nope n'existe pas."),
        ("import", "l'argument 'FILE' manque."),
        ("compare a", "l'argument 'B' manque."),
        ("report x y", "ces arguments sont de trop\xa0: x y."),
        ("report --by", "l'option '--by' demande une valeur."),
        ("report --json=3", "l'option '--json' ne prend pas de valeur."),
        ("serve --port abc", "la valeur de '--port' / '-p' ne convient pas. Indiquez un nombre."),
        ("forecast an", "il n'y a pas de prévision pour 'an'\u202f; utilisez day, week ou month"),
        ("report --sort zz", "'zz' n'est pas un ordre de lignes\u202f; utilisez name, cost"),
        ("run", "l'argument 'PROGRAM' manque."),
        ("webhook tset", "la commande 'tset' n'existe pas."),
    ],
)
def test_french_argument_errors_have_no_english_word(line: str, message: str, invoke: Any) -> None:
    """They name what is wrong, the nearest valid value, and the help."""
    result = invoke(*line.split())
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert english_words(result.err) == set()


def test_english_reason_in_french_output_has_its_own_line(invoke: Any) -> None:
    """Messages of exceptions are English: no line is in two languages."""
    result = invoke("report", "--lang", "tlh")
    head, reason = result.err.splitlines()[-2:]
    assert head == "Erreur\xa0: la valeur de '--lang' ne convient pas."
    assert reason == "  lang='tlh' is not a language of openai_meter; use one of en, fr"


def test_english_argument_errors_name_no_python_type(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An English user reads what typer writes, and no type of Python."""
    monkeypatch.setenv("OPENAI_METER_LANG", "en")
    assert "Error: Missing argument 'FILE'." in invoke("import").err
    assert "<" not in invoke("import", "--help").out
