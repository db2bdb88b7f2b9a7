"""French sentences of the doctor; those of the other reports are in ``openai_meter.core.locale``."""

from __future__ import annotations

from collections.abc import Mapping

from openai_meter.core.locale.fr import plural
from openai_meter.core.locale.typography import french_catalog
from openai_meter.core.version import install_command

__all__ = ["MESSAGES", "plural"]

_TEMPLATES: Mapping[str, str | tuple[str, ...]] = {
    "head": "openai-meter {meter}, openai {sdk}, Python {python}",
    "none": "(pas installé)",
    "yes": "oui",
    "no": "NON",
    "trying": "essai de chaque sorte d'appel",
    "tried": ("{n} sorte d'appel est bien comptée", "{n} sortes d'appel sont bien comptées"),
    "problems": ("{n} problème", "{n} problèmes"),
    "warnings": ("{n} avertissement", "{n} avertissements"),
    "absent": "Impossible ici avec openai {version} : {names}",
    "miscounted": (
        "Des appels ne sont pas comptés ici comme il faut. Mettez à jour openai-meter et openai ; si le résultat "
        "reste le même, signalez ce tableau."
    ),
    "column.call": "Appel",
    "column.sync": "Sync",
    "column.async": "Async",
    "column.tokens": "Tokens",
    "column.unchanged": "Inchangé",
    "column.outcome": "Résultat",
    "usage.api": "API",
    "usage.estimate": "estimés",
    "usage.none": "-",
    "outcome.metered": "compté",
    "outcome.free": "gratuit",
    "outcome.absent": "absent de ce SDK",
    "outcome.watched": "suivi, pas essayé",
    "outcome.not_covered": "pas couvert",
    "outcome.untried": "échoue sans mesure",
    "outcome.missed": "PAS COMPTÉ",
    "outcome.twice": "COMPTÉ DEUX FOIS",
    "outcome.changed": "RÉPONSE CHANGÉE",
    "outcome.request_changed": "REQUÊTE CHANGÉE",
    "outcome.raised": "LÈVE UNE ERREUR",
    "outcome.no_usage": "TOKENS INCONNUS",
    "outcome.fault": "FAUTE DU COMPTEUR",
    "area.trials": "Appels",
    "area.python": "Python",
    "area.sdk": "SDK",
    "area.extras": "Extras",
    "area.vocabularies": "Vocabulaires",
    "area.prices": "Prix",
    "area.threads": "Threads",
    "area.http": "HTTP",
    "area.environment": "Environnement",
    "area.patchers": "Autres patchs",
    "area.ledger": "Registre",
    "area.clock": "Horloge",
    "trials.no_python": "aucun appel n'a été essayé : le chemin de l'interpréteur est inconnu",
    "trials.late": (
        "seuls les {tried} appels ci-dessus ont été essayés : leur temps ({n} seconde de processeur) était écoulé",
        "seuls les {tried} appels ci-dessus ont été essayés : leur temps ({n} secondes de processeur) était écoulé",
    ),
    "trials.late.do": "Donnez-lui plus de temps : --patience 60. Si le résultat est le même, un appel se bloque ici.",
    "trials.crashed": "le processus qui essaie les appels s'est arrêté trop tôt : {error}",
    "trials.check_failed": "une vérification a échoué : {error}",
    "python.supported": "{version}",
    "python.untested": "{version} n'est pas parmi les versions avec lesquelles openai-meter est testé",
    "sdk.supported": "openai {version} est pris en charge",
    "sdk.missing": "openai n'est pas installé pour ce Python : il n'y a rien à mesurer",
    "sdk.missing.do": "Lancez openai-meter avec le Python de votre programme : python -m openai_meter doctor",
    "sdk.too_old": "openai {version} est plus ancien que {oldest}",
    "sdk.too_old.do": "pip install -U openai",
    "sdk.too_new": "openai {version} est plus récent que ce avec quoi openai-meter est testé (avant {limit}.0)",
    "sdk.too_new.do": "Le tableau ci-dessus montre ce qui est compté avec lui. pip install -U openai-meter",
    "extras.some": "installés : {there} ; pas installés : {absent}",
    "extras.some.do": "S'il vous les faut : {install}",
    "extras.all": "installés : {there}",
    "vocabularies.found": "{name} : {place}",
    "vocabularies.missing": "{name} n'est pas sur cette machine ({why}) : les estimations comptent les caractères",
    "vocabularies.missing.do": install_command("offline"),
    "prices.fresh": "{models} modèles ; genai-prices {catalog}, nos propres lignes vérifiées le {date}",
    "prices.old": (
        "{models} modèles ; genai-prices {catalog}, nos propres lignes vérifiées il y a {n} jour ({date})",
        "{models} modèles ; genai-prices {catalog}, nos propres lignes vérifiées il y a {n} jours ({date})",
    ),
    "prices.old.do": "pip install -U openai-meter genai-prices ; openai-meter prices update montre ce qui a changé.",
    "prices.none": "aucun prix n'est lisible ; genai-prices {catalog}, nos propres lignes du {date}",
    "prices.none.do": "pip install --force-reinstall openai-meter genai-prices",
    "prices.no_catalog": "genai-prices n'est pas installé : la plupart des modèles n'ont pas de prix",
    "prices.no_catalog.do": "pip install genai-prices",
    "threads.followed": "l'attribution et les blocs sont transmis aux threads",
    "threads.not_followed": (
        "l'attribution et les blocs ne sont pas transmis aux tâches d'un ThreadPoolExecutor ; les appels y "
        "sont comptés aussi"
    ),
    "threads.not_followed.do": (
        "Si des agents travaillent dans des threads : install(threads=True), ou bind(fonction)."
    ),
    "http.auto": (
        "les appels du paquet openai sont comptés ; ceux de litellm et de dspy aussi, dès qu'ils sont importés"
    ),
    "http.auto.do": "Si un programme appelle lui-même l'API par httpx, aiohttp ou requests : install(http=True).",
    "http.watched": "{names} : ce qui est envoyé sans le paquet openai est compté aussi",
    "http.all": "les appels par httpx, aiohttp, requests, urllib3 et http.client sont comptés aussi",
    "http.off": "seuls les appels du paquet openai sont comptés ; pas ce que d'autres envoient eux-mêmes : {names}",
    "http.off.do": "Retirer http=False, et définir OPENAI_METER_HTTP=auto.",
    "environment.known": "variables d'openai-meter : {names}",
    "environment.misspelled": "{name} n'est pas une variable d'openai-meter ; vouliez-vous dire {near} ?",
    "environment.misspelled.do": "export {near}=... ; unset {name}",
    "environment.unknown": "{name} n'est pas une variable d'openai-meter{near}",
    "environment.unusable": "{name} n'est pas utilisable : {error}",
    "patchers.none": "aucun autre paquet n'a patché openai",
    "patchers.idle": "installés, mais pas actifs ici : {names}",
    "patchers.active": (
        "{name} entoure {n} méthode ({places}) ; les appels sont comptés une fois ici",
        "{name} entoure {n} méthodes ({places} ...) ; les appels sont comptés une fois ici",
    ),
    "patchers.active.do": "Il tient ses propres chiffres : ne les ajoutez pas aux nôtres.",
    "patchers.emitting": (
        "{name} entoure {n} méthode ({places}) et envoie les tokens à OpenTelemetry",
        "{name} entoure {n} méthodes ({places} ...) et envoie les tokens à OpenTelemetry",
    ),
    "patchers.emitting.do": (
        "Les appels sont comptés une fois ici. Si openai_meter envoie aussi à OpenTelemetry, les mêmes "
        "tokens y sont deux fois : qu'un seul envoie."
    ),
    "patchers.unknown": (
        "{name} entoure {n} méthode d'openai : {places}",
        "{name} entoure {n} méthodes d'openai : {places} ...",
    ),
    "patchers.unknown.do": "Si cela compte aussi les appels, n'ajoutez pas ses chiffres aux nôtres.",
    "patchers.bypassed": "{names} : remis en place après install() ; les appels qui y passent ne sont pas comptés",
    "patchers.bypassed.do": "Appelez openai_meter.install() à nouveau : il garde ses réglages et ses comptes.",
    "ledger.none": "aucun registre n'est indiqué : les chiffres sont perdus à la fin du processus",
    "ledger.none.do": (
        'Pour garder chaque appel : install(ledger="sqlite:///usage.db"), ou la variable OPENAI_METER_LEDGER.'
    ),
    "ledger.new": "{url} n'existe pas encore ; le premier appel le crée",
    "ledger.folder_read_only": "{url} n'existe pas, et son dossier n'est pas accessible en écriture",
    "ledger.empty": "{url} est joignable ; le premier appel crée les tables",
    "ledger.ready": "{url} est joignable (schéma {version})",
    "ledger.older": "{url} est joignable (schéma {version} sur {newest} ; le prochain appel le met à jour)",
    "ledger.newer": (
        "{url} a été écrit par un openai-meter plus récent (schéma {version} ; cette version prend en charge {newest})"
    ),
    "ledger.newer.do": "pip install -U openai-meter",
    "ledger.read_only": "{url} n'est pas accessible en écriture",
    "ledger.read_only.do": (
        "Donnez à l'utilisateur INSERT et UPDATE sur les tables, et nommez le serveur primaire, pas un réplica."
    ),
    "ledger.unusable": "{error}",
    "ledger.unusable.do": (
        "Les appels attendent dans des fichiers son retour ; vérifiez l'URL, le serveur et les droits."
    ),
    "ledger.no_extra": "un registre est nommé, mais ce qu'il lui faut n'est pas installé",
    "ledger.no_extra.do": install_command("ledger"),
    "ledger.waiting": (
        "{n} fichier d'appels attend le registre dans {folder} ({size:,} octets)",
        "{n} fichiers d'appels attendent le registre dans {folder} ({size:,} octets)",
    ),
    "ledger.waiting.do": "Le prochain programme qui écrit dans ce registre les enregistre.",
    "clock.alone": "pas vérifiée : il n'y a pas de base de données avec laquelle comparer",
    "clock.same_machine": "pas vérifiée : le registre est sur cette machine",
    "clock.agrees": "d'accord avec celle de la base de données ({seconds:+.1f} s)",
    "clock.skewed": "diffère de celle de la base de données de {seconds:+.1f} s",
    "clock.skewed.do": (
        "Mettez les deux machines à la même heure (NTP) : les jours et l'ordre des appels en dépendent."
    ),
    "clock.behind": "est avant le {date}, où les prix ont été vérifiés pour la dernière fois",
    "clock.behind.do": "Réglez l'horloge : un appel est facturé au prix du jour où il est fait.",
}

MESSAGES: Mapping[str, str | tuple[str, ...]] = french_catalog(_TEMPLATES)
