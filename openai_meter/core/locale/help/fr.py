"""The texts of ``--help`` in French."""

from __future__ import annotations

from collections.abc import Mapping

from openai_meter.core.locale.typography import french_catalog

__all__ = ["HELP"]

_TEMPLATES: Mapping[str, str] = {
    # The page itself.
    "usage": "Usage : ",
    "error": "Erreur : {message}",
    "try_help": "« {command} » affiche l'aide.",
    "command_and_args": "COMMANDE [ARGUMENTS]...",
    "error.no_such_option": "l'option {name} n'existe pas.",
    "error.no_such_command": "la commande {name} n'existe pas.",
    "error.missing_argument": "l'argument {name} manque.",
    "error.missing_option": "l'option {name} manque.",
    "error.missing_command": "indiquez une commande.",
    "error.extra": "ces arguments sont de trop : {name}.",
    "error.needs_value": "l'option {name} demande une valeur.",
    "error.takes_no_value": "l'option {name} ne prend pas de valeur.",
    "error.invalid": "la valeur de {name} ne convient pas.",
    "error.invalid_value": "une valeur ne convient pas.",
    "error.not_a_number": "Indiquez un nombre.",
    "error.not_in_range": "Indiquez un nombre dans l'intervalle {limit}.",
    "error.too_large": "Indiquez {limit} au plus.",
    "error.too_small": "Indiquez {limit} au moins.",
    "error.order": "{name} n'est pas un ordre de lignes ; utilisez {names}",
    "error.excel": "l'option est pour le CSV ; ajoutez --csv",
    "error.forecast": "il n'y a pas de prévision pour {name} ; utilisez day, week ou month",
    "error.export": "{name} ne peut pas être écrit ; utilisez {names}",
    "error.near": "Vouliez-vous dire {names} ?",
    "options": "Options :",
    "arguments": "Arguments :",
    "commands": "Commandes :",
    "examples": "Exemples :",
    "show_help": "Afficher cette page et quitter.",
    "install_completion": "Installer la complétion par la touche tab pour ce shell.",
    "show_completion": "Afficher le script de cette complétion.",
    "required": "[obligatoire]",
    "default": "par défaut :",
    "app": "Compter et chiffrer les appels OpenAI d'un programme Python, sans modifier le programme.",
    "version": "Afficher la version et quitter.",
    # Options of several commands.
    "option.ledger": "L'URL du registre. Par défaut, la valeur de OPENAI_METER_LEDGER.",
    "option.since": "Le premier moment : 7d, 12h, today, 2026-10, 2026-10-31, ou une date ISO avec heure.",
    "option.until": "Le dernier moment ; une date est comprise. Par défaut, maintenant.",
    "option.timezone": "Le fuseau des jours et des dates : Europe/Paris, local. Par défaut UTC, comme la facture "
    "d'OpenAI.",
    "option.tag": "Seulement les appels avec cette étiquette.",
    "option.filter": "Seulement les appels dont la dimension {dimension} a cette valeur. Peut être donné plusieurs "
    "fois.",
    "option.json": "Écrire du JSON.",
    "option.lang": "La langue : en ou fr. Par défaut, celle de la locale.",
    "option.quiet": "Écrire le résumé sur une seule ligne.",
    "option.format": "La forme : table (par défaut), tree, markdown, chat, line, json ou csv.",
    "option.by": "Le regroupement : model (par défaut), agent, operation, user, session, endpoint, provider, block, "
    "organization, project, tag:NOM. Plusieurs sont séparés par des virgules : agent,model.",
    "option.report": "Enregistrer aussi un rapport dans ce fichier. Le suffixe est la forme : .json, .csv, .md ou "
    ".txt.",
    "option.excel": "Écrire le CSV comme Excel l'ouvre : avec une marque d'ordre des octets et le "
    "séparateur de la langue.",
    "option.host": "Un proxy ou une passerelle à vous, qui transmet les appels à OpenAI ; HOST=azure pour Azure. Peut "
    "être donné plusieurs fois.",
    "option.limit": "Une limite du registre : cost=50/month, calls=1000/day, tokens=2000000/week, errors=20/hour ; la "
    "période peut aussi être minute ou total, et day par défaut. cost=2/day/user est une limite pour "
    "chaque utilisateur, de même agent ou model. Peut être donné plusieurs fois.",
    "option.output": "Écrire le résumé dans ce fichier au lieu de l'erreur standard.",
    # Commands.
    "run": "Exécuter un programme comme le fait python, et écrire à la fin ce que ses appels ont coûté. Les options "
    "d'openai-meter viennent avant PROGRAM. Tout ce qui suit appartient au programme.",
    "run.program": "Un script, un dossier ou une archive zip avec un __main__.py, ou le nom d'une commande Python ; "
    "puis ses arguments.",
    "run.module": "PROGRAM est un module, comme pour python -m.",
    "run.ledger": "Garder chaque appel dans cette base : sqlite:///usage.db, ou postgresql+psycopg://...",
    "run.budget": "Refuser les appels avant leur envoi quand ce montant est dépensé : 5/day et 500/month sont en "
    "dollars ; aussi 1000calls/hour, 2000000tokens/day, et 2/day/user pour chaque utilisateur. Peut être donné "
    "plusieurs fois. Chaque processus a le sien, sauf avec un --budget-store. Par défaut : "
    "OPENAI_METER_BUDGET.",
    "run.budget_store": "Où tous les processus partagent les budgets : sqlite:///budgets.db, "
    "postgresql+psycopg://..., redis://... Par défaut : OPENAI_METER_BUDGET_STORE.",
    "run.no_children": "Mesurer ce processus seulement. Par défaut, les processus Python que lance le programme sont "
    "mesurés aussi, et le résumé est celui de tous.",
    "run.serve": "Montrer le tableau de bord sur ce port pendant l'exécution ; 0 est un port libre.",
    "demo": "Montrer ce que fait le compteur, avec un travail de quatre agents. Les agents appellent une imitation "
    "locale de l'API OpenAI : sans clé, sans réseau.",
    "demo.serve": "Servir plutôt le tableau de bord de soixante jours d'appels fictifs.",
    "report": "Montrer ce que contient un registre : par défaut les 30 derniers jours, jour par jour.",
    "report.by": "Le regroupement : hour, day, week, month, model, agent ... Plusieurs : day,agent.",
    "report.breakdown": "Montrer les modèles de chaque ligne en dessous d'elle.",
    "report.fold_snapshots": "Ajouter les versions datées d'un modèle à la ligne du modèle.",
    "report.compact": "Montrer seulement les appels, les tokens et le coût.",
    "report.chart": "Dessiner des barres au lieu d'un tableau.",
    "report.sort": "L'ordre des lignes : name, cost, tokens, input, output, calls ou errors. Par défaut le coût, et le "
    "temps pour les périodes.",
    "report.top": "Montrer seulement les premières lignes, et la somme des autres en une ligne.",
    "report.csv": "Écrire du CSV.",
    "check": "Vérifier les limites d'un registre, pour des scripts. Le code de sortie est 0 si toutes sont "
    "respectées, 3 si l'une est dépassée, 1 si le registre ne peut être lu.",
    "check.strict": "Sortir avec le code 3 aussi quand des appels de coût ou de taille inconnus peuvent dépasser une "
    "limite.",
    "budgets": "Montrer ce que les budgets d'un stockage ont dépensé et réservé, pour tous les processus qui "
    "le partagent.",
    "budgets.store": "Le stockage : sqlite:///budgets.db, postgresql+psycopg://..., redis://... Par défaut : "
    "OPENAI_METER_BUDGET_STORE.",
    "top": "Suivre les dépenses en direct dans le terminal. Il montre les dollars et les tokens par minute selon le "
    "modèle, l'agent ..., et les limites. La touche q ou Ctrl-C l'arrête. Sans terminal, il écrit du texte simple, "
    "page après page.",
    "top.by": "Le regroupement : model, agent, operation, user, session, endpoint, provider, project, tag:NOM.",
    "top.interval": "Le temps entre deux pages.",
    "top.once": "Montrer une page et finir.",
    "top.json": "Écrire du JSON, une ligne par page.",
    "live.url": "Un serveur d'openai-meter serve comme source, au lieu d'un registre.",
    "live.window": "La durée de la fenêtre des derniers appels : 10s à 1h.",
    "live.timezone": "Le fuseau dont minuit est le début d'aujourd'hui. Par défaut UTC.",
    "statusline": "Écrire une ligne pour une invite de commande, tmux ou une barre d'état. La ligne contient le coût "
    "d'aujourd'hui et les dernières minutes. Si la source ne répond pas à temps, la ligne est courte, et le code de "
    "sortie est quand même 0.",
    "statusline.format": 'La forme de la ligne, par exemple "{{cost}} {{calls}} {{tokens}} {{errors}} {{rate}} '
    '{{spark}}".',
    "statusline.since": "Le début des sommes : today, ou comme pour report : 7d, 12h, 2026-10.",
    "statusline.timeout": "Le temps que la source peut prendre.",
    "statusline.color": "Utiliser des couleurs, même hors d'un terminal.",
    "serve": "Servir le tableau de bord et l'API HTTP d'un registre, sur cette machine.",
    "proxy": "Mesurer le trafic OpenAI d'un programme dans n'importe quel langage : il passe ici, inchangé.",
    "proxy.program": "Le programme et ses arguments. OPENAI_BASE_URL est défini pour lui. Le code de sortie est "
    "le sien.",
    "proxy.token": "Ce que les requêtes doivent avoir dans l'en-tête x-openai-meter-token. Exigé pour les adresses "
    "hors de cette machine. D'autres utilisateurs peuvent le lire dans la liste des processus : préférez "
    "OPENAI_METER_TOKEN.",
    "proxy.upstream": "L'URL de base de l'API. Par défaut OPENAI_BASE_URL, ou celle d'OpenAI.",
    "proxy.serve": "Le port d'un tableau de bord de ce qui passe.",
    "serve.host": "L'adresse d'écoute. Les adresses hors de cette machine demandent un jeton.",
    "serve.port": "Le port ; 0 est un port libre.",
    "serve.token": "Le jeton « bearer » des requêtes. D'autres utilisateurs peuvent le lire dans la liste des "
    "processus : mieux vaut définir OPENAI_METER_TOKEN.",
    "serve.timezone": "Le fuseau horaire des jours et des mois des limites : Europe/Paris, local. Par défaut UTC.",
    "serve.allow_host": "Un nom d'hôte du serveur, en plus de localhost. Peut être donné plusieurs fois.",
    "forecast": "Prévoir ce que ce jour, cette semaine ou ce mois aura coûté à la fin.",
    "forecast.period": "La période ; par défaut, le mois.",
    "compare": "Comparer deux parties de l'historique. Le résultat montre le coût et les tokens par appel de "
    "chacune, et d'où vient la différence de coût.",
    "compare.a": "Une partie de l'historique : 2026-10, 7d, 2026-10-01..2026-10-15, agent=planner, tag:prompt=v2.",
    "compare.b": "L'autre partie. Les différences sont B moins A.",
    "statement": "Écrire ce qu'il faut facturer à un client, une équipe ou un utilisateur pour un mois : le coût par "
    "modèle, une part du coût des appels sans valeur, et la marge, chacun sur sa ligne.",
    "statement.for": "L'objet du relevé : tag:customer=acme, user=ann, project=x. Sans valeur, un relevé pour chaque "
    "valeur.",
    "statement.month": "Le mois, par exemple 2026-11 ; ou utilisez --since et --until.",
    "statement.markup": "Le facteur qui multiplie les coûts : 1.25 ajoute un quart.",
    "statement.split": "La répartition du coût des appels sans valeur. Par défaut, il n'est pas facturé.",
    "statement.currency": "La monnaie des montants. Par défaut, USD.",
    "statement.rates": "Le fichier eurofxref-hist.csv de la Banque centrale européenne. Le cours du dernier jour est "
    "utilisé, ou le dernier cours précédent.",
    "statement.html": "Écrire une page HTML imprimable.",
    "statement.csv": "Écrire du CSV, une ligne par poste.",
    "statement.output": "Écrire dans ce fichier ; sans valeur dans --for, un fichier par valeur dans ce dossier.",
    "error.statement": "{names} sont plusieurs formes ; utilisez-en une",
    "export": "Écrire les appels d'un registre pour d'autres programmes, ou un tableau de bord, ou des règles "
    "d'alerte. Grafana reçoit un tableau de bord, Prometheus des règles d'alerte ; les deux lisent les métriques "
    "d'openai_meter.prometheus.",
    "export.what": "Ce qui est écrit ; par défaut, calls. focus est un jeu de données des coûts selon la spécification "
    "FOCUS.",
    "export.format": "La forme des appels : csv, jsonl (par défaut), parquet ou litellm. Celle de focus : csv ou "
    "parquet ; par défaut, le suffixe du fichier.",
    "export.version": "Pour focus : la version de la spécification.",
    "export.by": "Pour focus : d'autres dimensions qui séparent les lignes : agent, operation, user, session, block.",
    "export.bill": "Pour focus 1.4 : les coûts d'OpenAI dans un fichier, comme pour reconcile --costs. Les jeux de "
    "données InvoiceDetail et BillingPeriod sont écrits à côté du fichier.",
    "export.account": "Pour focus : le BillingAccountId. Par défaut l'organisation, sinon le fournisseur.",
    "export.output": "Écrire dans ce fichier au lieu de la sortie standard.",
    "reconcile": "Comparer un registre avec la facture d'OpenAI de certains jours, et montrer d'où vient un écart. La "
    "commande lit l'usage et les coûts de l'organisation avec la clé d'OPENAI_ADMIN_KEY, ou dans des fichiers. Code de "
    "sortie 1 : la couverture est inférieure à --fail-under, ou la facture ne peut pas être lue.",
    "reconcile.period": "Un mois (2026-11), une semaine, une date, 7d ou 2026-11-01..2026-11-15 ; des jours en UTC.",
    "reconcile.by": "Par quoi grouper les lignes : day, project, model, line_item. Séparer par des virgules.",
    "reconcile.fail_under": "Terminer avec 1 si le registre contient moins que cette part du montant facturé : 0.98.",
    "reconcile.usage": "L'usage d'un fichier téléchargé, au lieu d'une clé. Peut être donné plusieurs fois.",
    "reconcile.costs": "Les coûts d'un tel fichier. Peut être donné plusieurs fois.",
    "reconcile.prices": "Vos propres prix, dans un fichier TOML.",
    "import": "Enregistrer dans un registre les appels de fichiers. Il lit les lignes JSON exportées, les journaux de "
    "dépenses de LiteLLM (JSON ou CSV), les rapports de "
    "TokenTracker et les sorties de l'API Batch. Un fichier peut être importé de nouveau : aucun appel ne compte deux "
    "fois. Les sorties de l'API Batch ont le prix des lots ; n'importez pas celle d'un lot qu'un programme mesuré a "
    "suivi jusqu'à sa fin, car ce programme l'a compté. Après le mot openai-usage, les fichiers sont l'usage et les "
    "coûts tels qu'OpenAI les exporte : ils sont conservés pour reconcile.",
    "import.files": "Les fichiers à lire.",
    "import.timezone": "Le fuseau des heures qui n'indiquent pas le leur. Par défaut, local.",
    "reprice": "Chiffrer de nouveau les appels sans prix complet, chacun au prix de son jour.",
    "reprice.prices": "Vos propres prix, dans un fichier TOML.",
    "prune": "Supprimer les détails des anciens appels. Leurs sommes par jour restent, avec le modèle, l'agent, "
    "l'utilisateur et plus ; les sessions et les étiquettes de ces jours sont perdues. Seuls des jours entiers en UTC "
    "sont supprimés. La commande demande confirmation.",
    "prune.before": "Le jour avant lequel les détails sont supprimés : 90d, 2026-08, 2026-08-01.",
    "prune.yes": "Ne pas demander de confirmation.",
    "prices": "Montrer les prix des appels, ou télécharger le catalogue le plus récent. Après une mise à jour, la "
    "commande montre les prix qui ont changé.",
    "prices.model": "Un modèle ; par défaut, tous. Le mot update télécharge le catalogue le plus récent.",
    "explain": "Expliquer le coût d'un appel. La commande lit du JSON sur l'entrée standard : un objet usage, ou une "
    "réponse entière de l'API.",
    "explain.model": "Le modèle, si le JSON ne l'indique pas.",
    "explain.endpoint": "Le point d'accès : chat.completions, responses, embeddings ...",
    "explain.tier": "Le niveau de service qui a servi l'appel.",
    "explain.batch": "L'appel était une ligne d'un lot.",
    "explain.at": "Quand l'appel a été fait (ISO 8601, UTC). Par défaut, maintenant.",
    "explain.host": "L'hôte qui a répondu.",
    "estimate": "Estimer les tokens d'un texte ou d'une requête, et ce qu'ils coûteraient en entrée.",
    "estimate.file": "Le fichier à lire ; - est l'entrée standard.",
    "estimate.model": "Le modèle auquel il est destiné.",
    "estimate.request": "Le fichier est le corps d'une requête, en JSON.",
    "estimate.endpoint": "Le point d'accès de la requête : chat.completions, responses, embeddings ...",
    "webhook": "Essayer les webhooks qui reçoivent les alertes.",
    "webhook.test": "Envoyer une alerte d'essai à un webhook, et écrire s'il l'a acceptée.",
    "webhook.url": "Le webhook ; par défaut, celui de OPENAI_METER_WEBHOOK.",
    "webhook.secret": "Le secret qui signe la requête (whsec_...). D'autres utilisateurs peuvent le lire dans la liste "
    "des processus : mieux vaut définir OPENAI_METER_WEBHOOK_SECRET.",
    "webhook.format": "standard, slack ou discord. Par défaut, celle de l'hôte.",
    "webhook.timeout": "Les secondes que la requête peut prendre ; 10 par défaut.",
    "webhook.allow_private": "Permettre un hôte avec une adresse privée.",
    "webhook.json": "Écrire en JSON ce qui a été envoyé et reçu.",
    "webhook.verbose": "Montrer ce qui a été envoyé et reçu.",
    "doctor": "Examiner cette installation. La commande essaie quels appels sont comptés ici, et trouve quels "
    "autres paquets modifient openai, et ce qui manque.",
    "doctor.strict": "Finir avec le code 1 pour des avertissements aussi.",
    "doctor.patience": "Les secondes de processeur que tous les essais peuvent prendre ensemble.",
    "docs": "Montrer les pages de la documentation dans le terminal.",
    "docs.topic": "La page. Sans elle, la liste des pages.",
}

HELP: Mapping[str, str] = french_catalog(_TEMPLATES)
