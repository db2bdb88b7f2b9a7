"""An action for chat agents: shows the usage of API calls, when a user requests it.

``SHOW_API_STATS`` answers a message (:meth:`~ShowApiStats.matches`, :meth:`~ShowApiStats.handle`), or is given to a
model as a tool (:meth:`~ShowApiStats.tool`, :meth:`~ShowApiStats.handle_tool_call`). It shows counts, costs and names
of models: no prompt, no completion, no key, since a meter keeps none.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from openai_meter.api import get_meter
from openai_meter.core.locale import languages
from openai_meter.errors import ConfigurationError
from openai_meter.instrumentation.listening import registry
from openai_meter.metering.meter import Meter
from openai_meter.reports.advice import recommendations
from openai_meter.reports.report import of_snapshot

__all__ = ["SHOW_API_STATS", "ShowApiStats"]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# The words of messages, without accents. To let the action answer further messages, add a word to one of these.
_API = _set("api apis openai llm gpt chatgpt")
_TOKENS = _set("token tokens jeton jetons")
_CALLS = _set("appel appels call calls requete requetes request requests")
_FIGURES = _set(
    "stat stats statistique statistiques statistics usage utilisation consommation conso consumption metrics metriques "
    "depense depenses depensons cout couts coute coutent cost costs spend spent spending facture bill billing bilan"
)
_MANY = _set("combien nombre many much number")
_ALONE = _set("consommation conso consumption usage")
"""Words that ask for it by themselves, with nothing but small words around."""
_SMALL = _set(
    "montre montrez moi nous affiche affichez donne donnez dis voir quel quelle quels quelles est sont ma mon mes ta "
    "ton tes sa notre nos votre vos la le les l un une de du des d cette ce cet ici actuelle actuel total totale jour "
    "jours semaine mois session aujourd hui hier en et pour je peux peut tu vous svp stp s il te plait merci bonjour "
    "show me us give tell what whats is are the my our your this that s current total today yesterday day week month "
    "session so far please now for of and can you i hello hi thanks"
)
_ELSEWHERE = _set(
    "eth btc bitcoin ethereum erc20 erc crypto cryptos wallet portefeuille portfolio nft solana usdc swap staking "
    "airdrop blockchain contrat contract "  # tokens of another kind
    "texte text phrase sentence document mot word contient contains contenir contain contexte context fenetre window "
    "limite limit maximum max supporte support "  # how long something is, or may be
    "exemple exemples example examples tutoriel tutorial documentation docs doc politique policy conditions terms "
    "gateway google maps stripe weather meteo "  # other APIs, or how to use this one
    "electrique electricite essence eau gaz energie electricity fuel water gas power energy temps time"
)
"""Words of questions about something else."""

_FRENCH = _SMALL & _set(
    "montre montrez moi nous affiche affichez donne donnez dis voir quel quelle quels quelles est sont ma mon mes ta "
    "ton tes sa notre nos votre vos la le les l un une de du des d cette ce cet ici actuelle actuel totale jour jours "
    "semaine mois aujourd hui hier en et pour je peux peut tu vous svp stp il te plait merci bonjour"
) | _set(
    "combien nombre statistique statistiques utilisation consommation conso metriques depense depenses depensons cout "
    "couts coute coutent facture bilan jeton jetons appel appels requete requetes"
)
_ENGLISH = _SMALL & _set(
    "show me us give tell what whats is are the my our your this that current today yesterday day week month so far "
    "please now for of and can you i hello hi thanks"
) | _set(
    "many much number statistics usage consumption metrics cost costs spend spent spending bill billing call calls"
)


def _words(text: str) -> list[str]:
    """The words of a text in small letters, without accents, apostrophes and punctuation."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.findall(r"[^\W_]+", letters)


class ShowApiStats:
    """Shows alerts, the report per model and recommendations. Holds no state; safe to use from any thread."""

    name = "SHOW_API_STATS"
    triggers = ("Montre-moi les stats API", "Combien de tokens ?", "API usage", "Consommation")
    """Messages that the action answers, for the prompt of a model that chooses actions."""
    similes = ("API_STATS", "API_USAGE", "TOKEN_USAGE", "OPENAI_STATS", "SHOW_USAGE", "CONSOMMATION_API", "STATS_API")
    """Other names of the action, for runtimes that look for those."""
    description = (
        "Shows how many OpenAI API calls and tokens were used in this session and what they cost, per model, with "
        "alerts and recommendations."
    )

    def matches(self, text: object) -> bool:
        """Whether a message asks for this: whatever its accents, case, punctuation and apostrophes.

        It does if it names the API or its tokens together with a figure (stats, usage, cost, how many), or asks for
        the consumption of nothing else. Questions about electricity, crypto tokens or the length of a text do not.
        A value that is not text does not match.
        """
        if not isinstance(text, str):
            return False
        words = set(_words(text[:_LONGEST]))
        if len(text) > _LONGEST or words & _ELSEWHERE:
            return False
        if words & (_API | _TOKENS) and words & _FIGURES:
            return True
        if words & _MANY and (words & _TOKENS or (words & _API and words & _CALLS)):
            return True
        return bool(words & _ALONE) and words <= _ALONE | _FIGURES | _SMALL

    def handle(self, text: str | None = None, meter: Meter | None = None, lang: str | None = None) -> str:
        """The answer in Markdown: exceeded thresholds, the report, and recommendations.

        Args:
            text: the message; the answer is in its language if that is recognised.
            meter: whose figures; those of the installed meter by default.
            lang: ``"en"`` or ``"fr"``, whatever the message is in.

        Raises:
            ConfigurationError: there is no such language.
        """
        if meter is None:
            meter = registry.installed or get_meter()
        lang = lang or _language(text)
        found = meter.snapshot()  # report and recommendations are of the same calls
        advice = recommendations(found.calls, found.totals, meter.prices)
        report = replace(
            of_snapshot(meter, found, ("model",), lang),
            recommendations=tuple(one.message(lang) for one in advice),
        )
        return report.render("chat", lang=lang)

    def tool(self, api: str = "chat.completions") -> dict[str, Any]:
        """The definition that lets a model call the action.

        Args:
            api: the form that it is for: ``"chat.completions"`` or ``"responses"``.

        Raises:
            ConfigurationError: there is no such form.
        """
        function: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "parameters": {
                "type": "object",
                "properties": {
                    "lang": {
                        "type": ["string", "null"],
                        "enum": [*languages(), None],
                        "description": "The language of the answer: that of the conversation, if it is one of these.",
                    }
                },
                "required": ["lang"],
                "additionalProperties": False,
            },
            "strict": True,
        }
        if api == "chat.completions":
            return {"type": "function", "function": function}
        if api == "responses":
            return {"type": "function", **function}
        raise ConfigurationError(f'there is no tool for {api!r}; there is one for "chat.completions" and "responses"')

    def handle_tool_call(self, arguments: str | Mapping[str, Any] | None = None, meter: Meter | None = None) -> str:
        """The answer to a model's tool call, to be sent back as its output.

        Args:
            arguments: the call's arguments as the model wrote them: JSON, or what was read from it. Values that
                cannot be used are ignored: the model wrote them, not the program.
            meter: whose figures; those of the installed meter by default.
        """
        given: object = arguments
        if isinstance(arguments, str):
            try:
                given = json.loads(arguments)
            except (ValueError, RecursionError):
                given = None
        lang = given.get("lang") if isinstance(given, Mapping) else None
        return self.handle(meter=meter, lang=lang if isinstance(lang, str) and lang in languages() else None)


SHOW_API_STATS = ShowApiStats()
"""The action."""

_LONGEST = 500
"""Characters of a message; a longer one is not such a question."""


def _language(text: str | None) -> str | None:
    """The language of a message, if its words show it."""
    words = _words(text[:_LONGEST]) if isinstance(text, str) else []
    french, english = (sum(word in known for word in words) for known in (_FRENCH, _ENGLISH))
    return None if french == english else "fr" if french > english else "en"
