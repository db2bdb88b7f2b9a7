"""The texts of reconciliations in French."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BILLING"]

BILLING: Mapping[str, str | tuple[str, ...]] = {
    "reconcile.title": "Du {since} au {until} (UTC)",
    "reconcile.billed": "Facturé",
    "reconcile.metered": "Mesuré",
    "reconcile.difference": "Écart",
    "reconcile.coverage": "Couverture",
    "reconcile.tokens_head": "des tokens",
    "reconcile.day": "Jour",
    "reconcile.project": "Projet",
    "reconcile.model": "Modèle",
    "reconcile.line_item": "Ligne",
    "reconcile.cause": "Cause",
    "reconcile.causes": "Causes",
    "reconcile.covered": "Le registre contient {share} du montant facturé, ligne par ligne.",
    "reconcile.covered_tokens": (
        "Le registre contient {share} du montant facturé, ligne par ligne, et {tokens} des tokens."
    ),
    "reconcile.nothing_billed": "Rien n'a été facturé.",
    "reconcile.open": "En cours, hors des sommes : {days} ({billed} facturés, {metered} mesurés jusqu'ici).",
    "reconcile.same": "Chaque ligne de la facture est dans le registre, au même prix.",
    "reconcile.where": "D'où vient l'écart",
    "reconcile.not_read": "Non lus : {names}.",
    "reconcile.proposal": (
        'Les prix tels qu\'ils sont dans la facture. Enregistrez-les dans un fichier, et passez-le : prices="{file}".'
    ),
    "reconcile.below": "La couverture est de {share}, soit moins que {limit}.",
    "reconcile.no_project": "(sans projet)",
    "reconcile.no_model": "(sans modèle)",
    "reconcile.reading": "Lecture de {name} ({place} sur {number})",
    "reconcile.missing_key": (
        "donnez à OPENAI_ADMIN_KEY une clé d'administration de l'organisation, ou passez --usage et --costs"
    ),
    "reconcile.stored": (
        "{n:,} ligne d'usage et de coûts, {text}",
        "{n:,} lignes d'usage et de coûts, {text}",
    ),
    "reconcile.at": "{where} : {why}",
    "reconcile.cause.another_project": "Autre projet",
    "reconcile.cause.another_key": "Autre clé",
    "reconcile.cause.another_program": "Autre programme dans le projet",
    "reconcile.cause.tier": "Autre niveau de service",
    "reconcile.cause.cache_write_ttl": "Autre durée du cache",
    "reconcile.cause.tool_fee": "Frais d'un outil",
    "reconcile.cause.storage": "Stockage",
    "reconcile.cause.price": "Autre prix",
    "reconcile.cause.not_counted": "Non compté par le compteur",
    "reconcile.cause.estimated": "Tokens estimés",
    "reconcile.cause.time_zone": "Autour de minuit (UTC)",
    "reconcile.cause.not_billed": "Absent de la facture",
    "reconcile.cause.unexplained": "Inexpliqué",
    "reconcile.cause.open_day": "Jour en cours",
    "reconcile.why.another_project": (
        "{n:,} requête dans un projet absent du registre",
        "{n:,} requêtes dans un projet absent du registre",
    ),
    "reconcile.why.another_key": (
        "{n:,} requête avec la clé {text}, absente du registre",
        "{n:,} requêtes avec la clé {text}, toutes absentes du registre",
    ),
    "reconcile.why.another_program": "{billed:,} requêtes dans la facture, {metered:,} appels dans le registre",
    "reconcile.why.tier": "enregistré comme {metered}, facturé comme {billed}",
    "reconcile.why.cache_write_ttl": "enregistré comme {metered}, facturé comme {billed}",
    "reconcile.why.tool_fee": "{fee} : {billed:,} utilisations dans la facture, {metered:,} dans le registre",
    "reconcile.why.storage": "le registre contient les appels, pas ce qui est stocké",
    "reconcile.why.price": "les mêmes tokens à un autre prix : {prices}",
    "reconcile.why.price_of": "{slot} {billed} au lieu de {metered} par million",
    "reconcile.why.unpriced_of": "{slot} {billed} par million, et aucun prix ici",
    "reconcile.why.not_counted": "{billed:,} requêtes dans la facture, {metered:,} appels dans le registre",
    "reconcile.why.without_usage": (
        "{n:,} appel dont les tokens sont inconnus",
        "{n:,} appels dont les tokens sont inconnus",
    ),
    "reconcile.why.no_requests": "une ligne de la facture sans aucun appel dans le registre",
    "reconcile.why.estimated": (
        "{n:,} appel dont l'API n'a pas indiqué les tokens",
        "{n:,} appels dont l'API n'a pas indiqué les tokens",
    ),
    "reconcile.why.time_zone": (
        "{n:,} appel facturé la veille ou le lendemain",
        "{n:,} appels facturés la veille ou le lendemain",
    ),
    "reconcile.why.not_billed": "{metered:,} appels dans le registre, {billed:,} requêtes dans la facture",
    "reconcile.why.unexplained": "{metered:,} appels dans le registre, {billed:,} requêtes dans la facture",
    "reconcile.why.open_day": "les deux côtés augmentent encore",
}
