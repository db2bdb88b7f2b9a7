"""The texts of dashboards, rules, the live view, the commands of a ledger and the test of webhooks, in French."""

from __future__ import annotations

from collections.abc import Mapping

from openai_meter.core.version import DISTRIBUTION

__all__ = ["SCREENS"]

SCREENS: Mapping[str, str | tuple[str, ...]] = {
    # Prometheus and Grafana.
    "grafana.title": "Utilisation d'OpenAI",
    "grafana.job": "Job",
    "grafana.cost": "Coût",
    "grafana.calls": "Appels",
    "grafana.tokens": "Tokens",
    "grafana.errors": "Part d'erreurs",
    "grafana.unpriced": "Appels sans prix complet",
    "grafana.open": "Appels en cours",
    "grafana.cost_by_model": "Coût par heure et par modèle",
    "grafana.cost_by_basis": "Coût par heure : mesuré et estimé",
    "grafana.calls_by_model": "Appels par minute et par modèle",
    "grafana.errors_by_model": "Part d'erreurs par modèle",
    "grafana.tokens_by_type": "Tokens par minute",
    "grafana.token_parts": "Dont, par minute",
    "grafana.cached_share": "Part des tokens d'entrée en cache, par modèle",
    "grafana.thresholds": "Utilisation des seuils",
    "grafana.faults": "Pannes d'openai_meter",
    "grafana.ledger": "Appels confiés au registre",
    "rule.head": "Règles d'alerte pour les métriques d'openai_meter. Changez les limites selon vos besoins.",
    "rule.cost": "Les appels OpenAI coûtent plus de 10 $ en une heure",
    "rule.cost.do": "Regardez le coût par modèle et par agent : openai-meter report --by model,agent --since 1h",
    "rule.jump": "Les appels OpenAI coûtent trois fois plus que pendant une heure moyenne de la semaine",
    "rule.jump.do": "Regardez ce qui a changé : openai-meter report --by hour,model --since 24h",
    "rule.errors": "Plus d'un dixième des appels d'un modèle échouent",
    "rule.errors.do": "Regardez les exceptions dans le journal du programme, et status.openai.com.",
    "rule.threshold": "Un seuil d'openai_meter est dépassé",
    "rule.threshold.do": "meter.alerts contient le seuil et la valeur.",
    "rule.unpriced": "Des appels d'un modèle n'ont pas de prix complet : le coût affiché est trop bas",
    "rule.unpriced.do": "Donnez le prix : install(prices=...), ou openai-meter prices update.",
    "rule.unmeasured": "La consommation de certains appels d'un modèle est inconnue",
    "rule.unmeasured.do": f"Demandez l'usage des flux, ou installez {DISTRIBUTION}[offline] pour qu'il soit estimé.",
    "rule.faults": "openai_meter a eu des erreurs internes ; il peut manquer des enregistrements",
    "rule.faults.do": "Consultez le journal du programme, sous openai_meter.",
    "rule.away": "La base de données du registre est injoignable ; des appels attendent dans le spool",
    "rule.away.do": "Vérifiez la base de données ; les appels en attente sont enregistrés à son retour.",
    "rule.lost": "Des appels n'ont pas pu être gardés dans le registre",
    "rule.lost.do": "Le journal du programme en donne la raison, sous openai_meter.",
    # The live view.
    "live.of.process": "ce processus",
    "live.of.fleet": "tous les processus",
    "live.today": "Aujourd'hui",
    "live.since.process": "Depuis le début",
    "live.since.fleet": "Ce mois",
    "live.now": "Par minute",
    "live.column.rate": "$/min",
    "live.column.tokens": "Tokens/min",
    "live.column.calls": "Appels",
    "live.column.errors": "Erreurs",
    "live.column.share": "Part",
    "live.column.cost": "Coût",
    "live.column.trend": "Tendance",
    "live.total": "Tout",
    "live.others": "({n:,} autres)",
    "live.more": "... et {n:,} de plus",
    "live.idle": "Aucun appel : {window}.",
    "live.limits": "Limites",
    "live.budget": "budget {name}",
    "live.full_at": "{use} ; atteint le {at} à ce rythme",
    "live.limit": "{used} sur {limit}",
    "live.limit_per": "{name} par {per} ({key})",
    "live.limit_window": "{name} en {window}",
    "live.metric.calls": "appels",
    "live.metric.cost": "coût",
    "live.metric.errors": "erreurs",
    "live.metric.tokens": "tokens",
    "live.metric.tokens_per_call": "tokens/appel",
    "live.foot": "fenêtre : {window} · actualisation : {interval} · q pour quitter",
    "live.forgotten": "mémoire limitée : {seconds}",
    "live.waiting": "en attente de {name}",
    "live.again": "nouvel essai : {seconds}",
    "live.old": "chiffres vieux de {seconds}",
    "live.alerts": ("{n:,} limite dépassée", "{n:,} limites dépassées"),
    "live.line.today": "{cost} aujourd'hui",
    "live.line.since": "{cost} depuis {since}",
    "live.line.old": "il y a {age}",
    "live.line.away": "openai-meter : pas de chiffres",
    # Forecasts, comparisons, and the upkeep of a ledger.
    "upkeep.forecast.month": "Ce mois, {since} .. {until} ({timezone})",
    "upkeep.forecast.week": "Cette semaine, {since} .. {until} ({timezone})",
    "upkeep.forecast.day": "Aujourd'hui, {since} ({timezone})",
    "upkeep.spent": "Dépensé",
    "upkeep.expected": "Prévu à la fin",
    "upkeep.range": "Fourchette",
    "upkeep.range_of": "{low} .. {high} (quatre fois sur cinq)",
    "upkeep.days": ("D'après {n:,} jour.", "D'après {n:,} jours."),
    "upkeep.no_days": "Il n'y a encore aucun jour entier pour en juger.",
    "upkeep.unpriced": (
        "{n:,} appel n'a pas de prix complet : le coût sera plus élevé.",
        "{n:,} appels n'ont pas de prix complet : le coût sera plus élevé.",
    ),
    "upkeep.not_compared": (
        "{n:,} appel n'a pas de prix complet : son coût n'est pas compris.",
        "{n:,} appels n'ont pas de prix complet : leur coût n'est pas compris.",
    ),
    "upkeep.difference": "Différence",
    "upkeep.calls": "Appels",
    "upkeep.errors": "Erreurs",
    "upkeep.cost": "Coût",
    "upkeep.cost_per_call": "Coût par appel",
    "upkeep.input_tokens": "Tokens d'entrée par appel",
    "upkeep.cached_input_tokens": "En cache par appel",
    "upkeep.output_tokens": "Tokens de sortie par appel",
    "upkeep.reasoning_tokens": "Raisonnement par appel",
    "upkeep.causes": "D'où vient la différence",
    "upkeep.volume": "Volume",
    "upkeep.mix": "Modèles",
    "upkeep.tokens": "Tokens",
    "upkeep.price": "Prix",
    "upkeep.causes_are": (
        "Volume : plus ou moins d'appels. Modèles : autre répartition. Tokens : plus ou moins par appel. Prix : "
        "d'un token."
    ),
    "upkeep.repriced": ("{n:,} appel a maintenant un prix complet.", "{n:,} appels ont maintenant un prix complet."),
    "upkeep.left": ("{n:,} appel n'en a toujours pas.", "{n:,} appels n'en ont toujours pas."),
    "upkeep.nothing_old": "Il n'y a pas de détails d'appels avant le {day} (UTC).",
    "upkeep.ask": (
        "Supprimer les détails de {n:,} appel d'avant le {text} (UTC) ? Les sommes par jour restent. [o/N] ",
        "Supprimer les détails de {n:,} appels d'avant le {text} (UTC) ? Les sommes par jour restent. [o/N] ",
    ),
    "upkeep.say_yes": (
        "{n:,} appel d'avant le {text} (UTC) perdrait ses détails ; avec --yes, ils sont supprimés sans question",
        "{n:,} appels d'avant le {text} (UTC) perdraient leurs détails ; avec --yes, ils sont supprimés sans question",
    ),
    "upkeep.kept": "Rien n'a été supprimé.",
    "upkeep.pruned": (
        "Les détails de {n:,} appel d'avant le {text} (UTC) ont été supprimés.",
        "Les détails de {n:,} appels d'avant le {text} (UTC) ont été supprimés.",
    ),
    # Other commands.
    "cli.refused": "refusé par le budget {budget}, et pas envoyé : {calls}",
    "cli.no_file": "{file} ne peut pas être lu : il n'y a pas de fichier de ce nom",
    "cli.not_read": "{file} ne peut pas être lu : {error}",
    "cli.not_utf8": "{file} n'est pas un texte en UTF-8",
    "cli.source_missing": (
        "indiquez la source : --ledger sqlite:///usage.db, {variable} dans l'environnement, ou "
        "--url http://127.0.0.1:3000"
    ),
    "cli.explain.not_read": "l'entrée standard ou --at ne peut pas être lue : {error}",
    "cli.explain.not_an_object": (
        "l'entrée standard doit être un objet JSON : un objet usage, ou une réponse qui en contient un"
    ),
    "cli.explain.no_usage": "l'entrée standard ne contient pas d'usage",
    "cli.explain.no_model": "l'entrée standard ne contient pas de modèle ; indiquez-le avec --model",
    # Relevés.
    "statement.title": "Relevé : {dimension} {value}",
    "statement.all.title": "Relevés par {dimension}",
    "statement.period": "Du {first} au {last} ({timezone})",
    "statement.due": "Montant :",
    "statement.item": "Poste",
    "statement.cost": "Coût (USD)",
    "statement.shared_cost": "Coût partagé (USD)",
    "statement.amount": "Montant ({currency})",
    "statement.total": "Total",
    "statement.shared": "Coût partagé, {rule}",
    "statement.split.cost": "réparti selon le coût",
    "statement.split.calls": "réparti selon les appels",
    "statement.split.equal": "en parts égales",
    "statement.split.none": "non réparti",
    "statement.markup": "Marge (x {factor})",
    "statement.rate": "Cours de la Banque centrale européenne du {day} : 1 EUR = {dollars} USD = {other} {currency} "
    "({file}).",
    "statement.rate_of_euro": "Cours de la Banque centrale européenne du {day} : 1 EUR = {dollars} USD ({file}).",
    "statement.earlier_rate": "Il n'y a pas de cours du {wanted} ; le dernier cours précédent, du {day}, est utilisé.",
    "statement.unpriced": (
        "Le coût de {n:,} appel n'est pas connu, ou pas entièrement. Ce qui est inconnu n'est pas dans le montant.",
        "Le coût de {n:,} appels n'est pas connu, ou pas entièrement. Ce qui est inconnu n'est pas dans le montant.",
    ),
    "statement.estimated": "{cost} du coût reposent sur des quantités estimées.",
    "statement.open": "La période n'est pas terminée : ce sont les montants jusqu'au {at}.",
    "statement.rounding": "Les montants sont arrondis selon la méthode du plus fort reste : la somme des lignes est le "
    "total, et la somme des relevés est l'ensemble.",
    "statement.all.charged": "{calls} sans valeur ({cost}) : compris dans les montants, {rule}.",
    "statement.all.not_charged": "{calls} sans valeur ({cost}) : non compris dans les montants.",
    "statement.made": "Établi par openai-meter le {at}.",
    "cli.statement.suffix": "{file} ne finit pas par l'un de {names} ; renommez-le, ou ajoutez --html, --csv ou --json",
    "cli.statement.written": (
        "{n:,} relevé et la vue d'ensemble _total écrits dans {folder}",
        "{n:,} relevés et la vue d'ensemble _total écrits dans {folder}",
    ),
    "cli.export.excel": "--excel est pour le CSV, et la forme est {form} ; ajoutez --format csv",
    "cli.export.parquet": "le format Parquet n'est pas fait pour un terminal ; indiquez un fichier avec --output",
    "cli.export.folder": "{folder} est un dossier ; ajoutez le nom d'un fichier, par exemple {name}",
    "cli.export.written": ("{n:,} appel écrit dans {text}", "{n:,} appels écrits dans {text}"),
    "cli.export.focus_utc": "--timezone n'est pas pour FOCUS, dont les jours et les mois sont ceux d'UTC ; retirez-le",
    "cli.export.focus_progress": ("{n:,} appel lu", "{n:,} appels lus"),
    "cli.export.focus_written": (
        "{n:,} ligne de {calls} écrite dans {text} ; la somme de BilledCost est {cost}",
        "{n:,} lignes de {calls} écrites dans {text} ; la somme de BilledCost est {cost}",
    ),
    "cli.export.focus_unpriced": (
        (
            "{n:,} appel n'a pas de prix complet ; il est compté dans x_UnpricedCallCount, et son coût n'est pas 0. "
            "Après une mise à jour des prix : openai-meter reprice"
        ),
        (
            "{n:,} appels n'ont pas de prix complet ; ils sont comptés dans x_UnpricedCallCount, et leur coût n'est "
            "pas 0. Après une mise à jour des prix : openai-meter reprice"
        ),
    ),
    "cli.export.file_written": "fichier écrit : {path}",
    "cli.import.known": ("{n:,} déjà présent", "{n:,} déjà présents"),
    "cli.import.skipped": ("{n:,} ligne sans appel", "{n:,} lignes sans appel"),
    "cli.import.missing": (
        "{calls}, {tokens} et {cost} de ses totaux manquent dans ses détails, et ne peuvent pas être importés"
    ),
    "cli.import.missing_at_least": (
        "{calls}, {tokens} et au moins {cost} de ses totaux manquent dans ses détails, et ne peuvent pas être importés"
    ),
    "cli.import.priced_anew": (
        "{n:,} appel chiffré de nouveau : {text}",
        "{n:,} appels chiffrés de nouveau : {text}",
    ),
    "cli.import.costs": "{cost}, là où le fichier indique {stated}",
    "cli.webhook.missing": "indiquez le webhook : openai-meter webhook test URL, ou dans {variable}",
    # The lines of limits.
    "cli.limit.kept": "{name} : {use} ({share})",
    "cli.limit.passed": "{name} : {use} ({share}), limite dépassée",
    "cli.limit.at_least": "{name} : {use} ({share}), ou plus : il y a des appels de coût ou de taille inconnus",
    # A test of a webhook.
    "cli.webhook.taken": "{webhook} a accepté l'alerte d'essai : {status} en {ms:,} ms",
    "cli.webhook.refused": "{webhook} n'a pas accepté l'alerte d'essai : {status} en {ms:,} ms",
    "cli.webhook.redirect": (
        "{webhook} n'a pas accepté l'alerte d'essai : {status}, une redirection vers {host}, qui n'est jamais suivie "
        "({ms:,} ms)"
    ),
    "cli.webhook.not_posted": "{webhook} n'a pas été atteint : {error} ({ms:,} ms)",
    "cli.webhook.private": "Les noms d'hôtes de votre propre réseau demandent --allow-private, ou allow_private=True.",
    "cli.webhook.answer": "< {status} de {address}",
}
