"""French, with French numbers: ``32 000``, ``0,1240 $``."""

from __future__ import annotations

from collections.abc import Mapping

from openai_meter.core.formatting import FRENCH
from openai_meter.core.locale.advice.fr import ADVICE
from openai_meter.core.locale.billing.fr import BILLING
from openai_meter.core.locale.page.fr import PAGE
from openai_meter.core.locale.screens.fr import SCREENS
from openai_meter.core.locale.typography import french_catalog
from openai_meter.core.version import install_command

__all__ = ["MESSAGES", "plural"]


NUMBERS = FRENCH


def plural(n: float) -> int:
    """All below 2 is singular: ``0 appel``, ``1.5 seconde``, ``2 appels``."""
    return 0 if n < 2 else 1


_TEMPLATES: Mapping[str, str | tuple[str, ...]] = {
    # Counts.
    "calls": ("{n:,} appel", "{n:,} appels"),
    "tokens": ("{text} token", "{text} tokens"),
    "errors": ("{n:,} erreur", "{n:,} erreurs"),
    "faults": ("{n:,} incident", "{n:,} incidents"),
    "seconds": ("{n:,} seconde", "{n:,} secondes"),
    "minutes": ("{n:,} minute", "{n:,} minutes"),
    "hours": ("{n:,} heure", "{n:,} heures"),
    "days": ("{n:,} jour", "{n:,} jours"),
    # Rows that are no names.
    "row.unattributed": "(non attribué)",
    "row.unknown_model": "(modèle inconnu)",
    "row.no_block": "(hors bloc)",
    "row.other_models": "(autres modèles)",
    "row.other_agents": "(autres agents)",
    "row.other_operations": "(autres opérations)",
    "row.other_users": "(autres utilisateurs)",
    "row.other_sessions": "(autres sessions)",
    "row.other_tags": "(autres étiquettes)",
    "row.other_endpoints": "(autres points d'accès)",
    "row.other_providers": "(autres fournisseurs)",
    "row.other_blocks": "(autres blocs)",
    "row.other_organizations": "(autres organisations)",
    "row.other_projects": "(autres projets)",
    "row.pruned": "(détails supprimés)",
    # Budgets: why a call was not sent.
    "budget.of": "{budget}, {key}",
    "budget.spent": (
        "l'appel n'a pas été envoyé : il demande jusqu'à {needed}. Budget {budget} : limite {limit}, dépensé {spent}, "
        "réservé pour les appels en cours {held}."
    ),
    "budget.resets": " Le budget recommence le {at}.",
    "budget.unpriced": (
        "l'appel n'a pas été envoyé : le modèle {model} n'a pas de prix ({detail}), donc le budget {budget} ne peut "
        'pas être tenu. Donnez-lui un prix avec install(prices={{"{model}": Price(input=1, output=4)}}), ou autorisez '
        'ces appels avec Budget(unpriced="allow").'
    ),
    "budget.host": (
        " Si {host} est un proxy ou une passerelle vers OpenAI, ses appels ont les prix d'OpenAI avec "
        "install(hosts={{'{host}': 'openai'}}), OPENAI_METER_HOSTS={host}=openai, ou openai-meter run --host {host}."
    ),
    "budget.unbounded": (
        "l'appel n'a pas été envoyé : son coût n'a pas de maximum ({detail}), et le budget {budget} est strict. "
        "Budget(strict=False) admet ces appels d'après ce qu'ils ont coûté jusqu'ici."
    ),
    "budget.fault": (
        "l'appel n'a pas été envoyé : openai_meter a eu une erreur en vérifiant le budget {budget}, qui a "
        'on_fault="refuse". Le journal openai_meter en donne la cause.'
    ),
    "budget.outage": (
        "l'appel n'a pas été envoyé : le stockage des budgets ne répond pas, et ce processus n'a plus assez du "
        "budget {budget} : l'appel demande {needed}. Budget(on_outage=0.01) le laisserait continuer avec un centième "
        "de la limite."
    ),
    "cli.budget.line": "{name} : {spent} sur {limit} ({share}), réservé {held}",
    "cli.budget.resets": " ; recommence le {at} UTC",
    "cli.budget.none": "Le stockage n'a aucun budget dans une période en cours.",
    "cli.budget.no_store": "indiquez le stockage : --store sqlite:///budgets.db, ou {variable} dans l'environnement",
    "cli.budget.away": "le stockage des budgets ne répond pas : {error}",
    "budget.unknown": "un montant inconnu",
    "budget.no_model": "(sans modèle)",
    # Dimensions.
    "dimension.model": "Modèle",
    "dimension.models": "Modèles",
    "dimension.agent": "Agent",
    "dimension.operation": "Opération",
    "dimension.user": "Utilisateur",
    "dimension.session": "Session",
    "dimension.tag": "Étiquettes",
    "dimension.endpoint": "Point d'accès",
    "dimension.provider": "Fournisseur",
    "dimension.block": "Bloc",
    "dimension.organization": "Organisation",
    "dimension.project": "Projet",
    "dimension.hour": "Heure",
    "dimension.day": "Jour",
    "dimension.week": "Semaine",
    "dimension.month": "Mois",
    "by.model": "modèle",
    "by.agent": "agent",
    "by.operation": "opération",
    "by.user": "utilisateur",
    "by.session": "session",
    "by.tag": "étiquettes",
    "by.endpoint": "point d'accès",
    "by.provider": "fournisseur",
    "by.block": "bloc",
    "by.organization": "organisation",
    "by.project": "projet",
    "by.hour": "heure",
    "by.day": "jour",
    "by.week": "semaine",
    "by.month": "mois",
    "by.and": " et ",
    # CSV for Excel.
    "csv.separator": ";",
    "csv.decimal": ",",
    # The table.
    "table.title": "Utilisation d'OpenAI",
    "table.title_of": "Utilisation d'OpenAI : {name}",
    "table.total": "Total",
    "column.calls": "Appels",
    "column.input": "Entrée",
    "column.cached": "Cache",
    "column.output": "Sortie",
    "column.reasoning": "Raisonnement",
    "column.total": "Total",
    "column.errors": "Erreurs",
    "column.retries": "Relances",
    "column.cost": "Coût",
    # Notes below the numbers, and what stands between them.
    "separator": " ; ",
    "note.part": "{part} est compris dans {whole}",
    "note.errors": ("{n:,} erreur.", "{n:,} erreurs."),
    "note.unmeasured": (
        "{n:,} appel de taille inconnue (? et +) : l'API n'a pas dit ce qui a été consommé.",
        "{n:,} appels de taille inconnue (? et +) : l'API n'a pas dit ce qui a été consommé.",
    ),
    "note.estimated": (
        "{n:,} appel de taille estimée (~) : l'API n'a pas dit ce qui a été consommé.",
        "{n:,} appels de taille estimée (~) : l'API n'a pas dit ce qui a été consommé.",
    ),
    "note.cost": "Coût (~) : mesuré {measured} + estimé {estimated}.",
    "note.unpriced": "Aucun prix pour {model} : {calls} ({reason}).",
    "note.no_usage": "Consommation de {model} inconnue : {calls}. L'API ne l'a pas donnée, le coût est donc inconnu.",
    "note.unpriced_calls": (
        "{n:,} appel sans prix complet (+) : le coût est au moins celui qui est affiché.",
        "{n:,} appels sans prix complet (+) : le coût est au moins celui qui est affiché.",
    ),
    "note.host": (
        "Si {host} est un proxy ou une passerelle vers OpenAI, indiquez-le : install(hosts={{'{host}': 'openai'}}), "
        "OPENAI_METER_HOSTS={host}=openai, ou openai-meter run --host {host} ; puis openai-meter reprice --host {host}."
    ),
    "note.unpriced_more": "Aucun prix pour {n:,} de plus ; le rapport JSON les contient tous.",
    "note.overflow_calls": (
        "{n:,} appel est compté dans une ligne « autres » : il y avait trop de noms.",
        "{n:,} appels sont comptés dans des lignes « autres » : il y avait trop de noms.",
    ),
    "note.pending": ("{n:,} appel pas encore terminé.", "{n:,} appels pas encore terminés."),
    "note.internal_errors": (
        "{n:,} incident dans openai_meter : voir le journal ; des appels peuvent manquer.",
        "{n:,} incidents dans openai_meter : voir le journal ; des appels peuvent manquer.",
    ),
    # Why something has no price.
    "reason.unknown_model": "modèle inconnu",
    "reason.no_price": "aucun prix",
    "reason.not_sold_by_OpenAI": "non vendu par OpenAI",
    "reason.model_not_stated": "modèle non indiqué",
    "reason.usage_unknown": "consommation inconnue",
    "reason.prices_are_being_read": "prix en cours de lecture",
    "reason.a_fault_inside_openai_meter": "un incident dans openai_meter",
    "reason.provider": "vendu par {what}",
    "reason.tier": "niveau de service : {what}",
    "reason.price": "prix : {what}",
    "reason.window": "délai : {what}",
    "reason.azure_deployment_type": "type de déploiement azure : {what}",
    # One line.
    "line.unmeasured": ("{n:,} appel de taille inconnue", "{n:,} appels de taille inconnue"),
    "line.pending": "{n:,} en cours",
    "line.session": "💡 Session : {line}",
    "line.named": "💡 {name} : {line}",
    # The summary as a tree.
    "tree.title": "📊 RÉSUMÉ DES TOKENS & COÛTS",
    "tree.title_of": "📊 RÉSUMÉ DES TOKENS & COÛTS : {name}",
    "tree.since": "🕐 Session démarrée: {since}",
    "tree.since_of": "🕐 Depuis: {since}",
    "tree.calls": "📞 Nombre d'appels API: {calls}",
    "tree.tokens": "🔤 Tokens totaux: {tokens}",
    "tree.input": "   ├─ Input:  {tokens}",
    "tree.output": "   └─ Output: {tokens}",
    "tree.cost": "💰 Coût total: {cost}",
    "tree.details": "📊 Détails par {dimensions}:",
    "tree.note": "📝 {note}",
    "tree.recommendations": "💡 Recommandations:",
    # A branch of the tree.
    "branch.calls": "Appels: {calls}",
    "branch.tokens": "Tokens: {tokens}",
    "branch.errors": "Erreurs: {errors}",
    "branch.cost": "Coût: {cost}",
    # The report for chats.
    "chat.title": "📊 **Statistiques d'utilisation OpenAI**",
    "chat.title_of": "📊 **Statistiques d'utilisation OpenAI : {name}**",
    "chat.duration": "⏱️ Durée : {duration}",
    "chat.calls": "Appels : {calls}",
    "chat.tokens": "Tokens : {tokens}",
    "chat.errors": "Erreurs : {errors}",
    "chat.cost": "Coût : {cost}",
    "chat.totals": "**📈 Totaux**",
    "chat.total_cost": "Coût total : {cost}",
    "chat.recommendations": "**💡 Recommandations**",
    # Prices and bills.
    "prices.title": "Prix en dollars US par million de tokens",
    "prices.tier": "Niveau",
    "prices.written": "Écrit",
    "prices.other": "Autres",
    "prices.source": "Source",
    "prices.long": "{tier}, long",
    "prices.low_confidence": "(peu sûr)",
    "bill.title": "Ce que l'appel a coûté",
    "bill.item": "Poste",
    "bill.quantity": "Quantité",
    "bill.unit_price": "Prix unitaire",
    "bill.amount": "Montant",
    "bill.unknown": "inconnu",
    "bill.estimate": "~ est une estimation",
    "bill.status_partial": "prix partiel",
    "bill.status_unpriced": "sans prix",
    "bill.status_free": "gratuit",
    "unit.token": ("{text} token", "{text} tokens"),
    "unit.second": ("{text} seconde", "{text} secondes"),
    "unit.character": ("{text} caractère", "{text} caractères"),
    "unit.image": ("{text} image", "{text} images"),
    "unit.call": ("{text} appel", "{text} appels"),
    "unit.unit": ("{text} unité", "{text} unités"),
    # Alerts.
    "alert.value.calls": ("{text} appel API", "{text} appels API"),
    "alert.value.cost": "{text}",
    "alert.value.errors": ("{text} erreur", "{text} erreurs"),
    "alert.value.tokens": ("{text} token", "{text} tokens"),
    "alert.value.tokens_per_call": ("{text} token par appel en moyenne", "{text} tokens par appel en moyenne"),
    "alert.at_least": "{value} au moins",
    "alert.calls": "⚠️ Alerte : {value}{where}{during} (limite : {limit})",
    "alert.cost": "💰 Alerte : Coût de {value}{where}{during} (limite : {limit})",
    "alert.errors": "⚠️ Alerte : {value}{where}{during} (limite : {limit}) ; vérifiez la clé API",
    "alert.tokens": "⚠️ Alerte : {value}{where}{during} (limite : {limit})",
    "alert.tokens_per_call": "⚠️ Alerte : {value}{where}{during} (limite : {limit}) ; raccourcissez les prompts",
    "alert.agent": " par l'agent {name}",
    "alert.user": " par l'utilisateur {name}",
    "alert.session": " dans la session {name}",
    "alert.model": " sur le modèle {name}",
    "alert.per": " pour {per} {name}",
    "alert.budget": "💰 Alerte : Budget {budget} : {spent} sur {limit} dépensés{during} ({share})",
    "alert.budget_refuses": (
        "⛔ Alerte : le budget {budget} refuse des appels : {spent} sur {limit} dépensés{during} ({share})"
    ),
    "alert.during": " en {window}",
    # Windows by the calendar, at the end of the name of a limit.
    "this.minute": "cette minute",
    "this.hour": "cette heure",
    "this.day": "aujourd'hui",
    "this.week": "cette semaine",
    "this.month": "ce mois-ci",
    # Alerts as webhooks post them.
    "webhook.of_block": "{text} dans le bloc {name}",
    "webhook.test": "Test d'openai_meter : {text}",
    # Recommendations.
    **ADVICE,
    **BILLING,
    # The command line.
    "cli.nothing": "aucun appel à OpenAI n'a été fait",
    "cli.nothing_here": "ce processus n'a fait aucun appel à OpenAI",
    "cli.processes": ("les chiffres sont ceux de {n:,} processus", "les chiffres sont ceux de {n:,} processus"),
    "cli.unmetered_processes": (
        "{n:,} processus Python n'a pas été mesuré : openai_meter n'est pas installé pour son Python",
        "{n:,} processus Python n'ont pas été mesurés : openai_meter n'est pas installé pour leur Python",
    ),
    "cli.forked": "processus fils {process} :",
    "cli.not_full": "(pas de résumé complet : {error})",
    "cli.not_written": "le résumé n'a pas pu être écrit dans {path} ({error})",
    "cli.not_saved": "le rapport n'a pas pu être écrit dans {path} ({error})",
    "cli.not_started": "la mesure n'a pas pu démarrer ({error}) ; le programme a tourné sans mesure",
    "cli.no_price": "il n'y a pas de prix pour {model} ; openai-meter prices liste les modèles qui en ont un",
    "cli.not_fetched": "le catalogue n'a pas pu être téléchargé : {error}",
    "cli.rolling_up": "calcul des totaux : {n:,} appels, une seule fois après une mise à jour…",
    "cli.ledger_missing": "indiquez le registre : --ledger sqlite:///usage.db, ou {variable} dans l'environnement",
    "cli.ledger_not_found": "il n'y a pas de registre {file} ; openai-meter run --ledger {url} PROGRAM en crée un",
    "cli.unknown_name": "aucun appel du registre n'a cette valeur de « {dimension} » : {name}.",
    "cli.explain.waiting": (
        "en attente de JSON : collez un objet usage ou une réponse de l'API, puis tapez Ctrl-D sur une ligne vide"
    ),
    "cli.demo.next": "Et ensuite :",
    "cli.demo.run": "la même chose pour votre programme",
    "cli.demo.ledger": "et garder chaque appel",
    "cli.demo.serve": "le tableau de bord de soixante jours",
    "cli.demo.docs": "la documentation",
    "cli.near": "Vouliez-vous dire {names} ?",
    "cli.docs.choose": "openai-meter docs PAGE montre une de ces pages.",
    "cli.docs.missing": "il n'y a pas de page {topic} ; il y a {topics}.",
    "cli.estimate.tokens": "tokens en entrée : {tokens}",
    "cli.estimate.cost": "coût en entrée : {cost}",
    "cli.estimate.no_model": "coût en entrée : inconnu ; indiquez le modèle avec --model",
    "cli.estimate.unknown": "inconnu",
    "cli.estimate.about": "environ ",
    "cli.estimate.at_least": "au moins ",
    "cli.estimate.not_counted": "non compté : {parts}",
    "cli.estimate.sampled": "le texte est long : il a été compté par échantillons",
    "cli.estimate.by_characters": (
        "compté par caractères, ce qui est approximatif : le vocabulaire n'est pas sur cette machine ; "
        f"{install_command('offline')} l'apporte"
    ),
    # The server.
    "server.reset": "Statistiques réinitialisées avec succès",
    "server.at": "le tableau de bord est sur {url}/dashboard",
    "proxy.at": "les requêtes à {url} sont transmises à {upstream}",
    "proxy.end": "passé par le proxy : {summary}",
    "proxy.no_program": "{program} ne peut pas être exécuté : {error}",
    "server.stop": "Ctrl-C l'arrête",
    "server.empty": (
        "il n'y a pas de registre : ce sont les chiffres de ce processus, qui ne fait aucun appel. Indiquez-en un "
        "(--ledger sqlite:///usage.db, ou OPENAI_METER_LEDGER), ou servez ceux d'un programme : "
        "openai-meter run --serve 3000 PROGRAMME"
    ),
    "server.no_file": "le registre {file} n'existe pas encore ; ses chiffres apparaîtront quand un programme y écrira",
    "server.not_started": "le tableau de bord n'a pas pu démarrer : {error}",
    # The page in the browser.
    **PAGE,
    # What is shown beside reports.
    **SCREENS,
    # Notebooks, and a start by the environment.
    "notebook.cell": "cette cellule",
    "auto.not_started": "la mesure n'a pas pu démarrer ({error}) ; le programme continue sans mesure",
    # The pytest plugin.
    "pytest.exceeded": "Les appels OpenAI de ce test dépassent ses limites :",
    "pytest.cost": "  coût : {value}, limite : {limit}",
    "pytest.cost_unknown": "  coût : inconnu pour {calls} ; il peut dépasser la limite de {limit}",
    "pytest.tokens": "  tokens : {value}, limite : {limit}",
    "pytest.tokens_unknown": "  tokens : inconnus pour {calls} ; ils peuvent dépasser la limite de {limit}",
    "pytest.calls": "  appels : {value}, limite : {limit}",
    "pytest.dearest": "Les tests les plus chers :",
}

_PLAIN = ("alert", "branch", "chat", "line", "tree")
"""The layouts of the guides have plain spaces."""
MESSAGES: Mapping[str, str | tuple[str, ...]] = french_catalog(_TEMPLATES, _PLAIN)
