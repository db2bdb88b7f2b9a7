"""The texts of recommendations in French."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ADVICE"]

ADVICE: Mapping[str, str | tuple[str, ...]] = {
    "advice.saving": "Économie possible sur ces appels : {saving}.",
    "advice.long_prompts": (
        "Prompts longs{where} : {tokens} tokens par appel en moyenne ({calls} appels), surtout en entrée. N'envoyez "
        "que ce dont le modèle a besoin : raccourcissez les instructions, retirez les anciens messages, résumez les "
        "documents."
    ),
    "advice.long_prompts.prefix": "{times} appels commencent par les mêmes {chars} caractères.",
    "advice.long_prompts.hundred": "Chaque tranche de 100 tokens en moins aurait économisé {hundred}.",
    "advice.long_answers": (
        "Réponses longues{where} : {tokens} tokens par appel en moyenne ({calls} appels), surtout en sortie. Dites "
        "dans le prompt quelle longueur la réponse peut avoir, et réduisez l'effort de raisonnement là où il est "
        "inutile."
    ),
    "advice.long_answers.unlimited": (
        "{unlimited} de ces appels n'ont pas de limite ; fixez max_output_tokens (max_completion_tokens pour les "
        "chats)."
    ),
    "advice.cheaper_model": (
        "Réponses courtes{where} : {calls} appels avec {output} tokens de réponse en moyenne, sans raisonnement. Les "
        "mêmes tokens coûtent {cost_then} au lieu de {cost} avec {smaller} : essayez-le sur une partie, et comparez "
        "les réponses."
    ),
    "advice.cheaper_model.ends": "L'arrêt de {smaller} est annoncé pour le {ends}.",
    "advice.prompt_caching": (
        "Cache de prompts manqué{where} : {calls} appels commencent comme un appel précédent (environ {tokens} tokens"
        " chacun), mais seuls {percent} % en ont été lus dans le cache. Mettez au début ce qui ne change pas (outils,"
        " instructions, documents), à la fin ce qui change."
    ),
    "advice.prompt_caching.key": "Donnez à ces appels la même prompt_cache_key.",
    "advice.prompt_caching.late": (
        "{late} autres sont arrivés trop tard pour le cache : prompt_cache_options.ttl (prompt_cache_retention pour "
        "les modèles plus anciens) le garde plus longtemps."
    ),
    "advice.truncated_answers": (
        "Réponses tronquées{where} : {calls} réponses se sont arrêtées trop tôt, et le même prompt a été renvoyé. "
        "Augmentez max_output_tokens (max_completion_tokens pour les chats), ou demandez des réponses plus courtes."
    ),
    "advice.repeated_after_error": (
        "Répétitions après erreur{where} : {calls} appels ont échoué, et le même prompt a été renvoyé. Laissez le "
        "client répéter : OpenAI(max_retries=5) attend chaque fois plus longtemps, et ne répète que ce qui peut "
        "réussir."
    ),
    "advice.repeated_prompts.answers": (
        "Prompts répétés{where} : {calls} appels ont répété un prompt précédent ({prompts} prompts "
        "différents). Gardez les réponses, si elles peuvent resservir."
    ),
    "advice.repeated_prompts.embeddings": (
        "Embeddings répétés{where} : {calls} appels ont répété une entrée précédente ({prompts} entrées "
        "différentes). Gardez les vecteurs : le même texte donne toujours le même vecteur."
    ),
    "advice.repeated_prompts.sampled": (
        "Les entrées longues ont été comparées par échantillons et par leur nombre de tokens."
    ),
    "advice.background_work.batch": (
        "Travail de fond{where} : {calls} appels en série régulière, aucun en streaming. Si les réponses "
        "ne sont pas urgentes, l'API Batch les donne en moins de 24 heures pour moins cher."
    ),
    "advice.background_work.flex": (
        "Travail de fond{where} : {calls} appels en série régulière, aucun en streaming. Si les réponses "
        'ne sont pas urgentes, service_tier="flex" les donne plus lentement pour moins cher.'
    ),
    "advice.background_work.also_flex": (
        'Avec service_tier="flex", ce serait {flex_saving}, sans changer la façon de travailler du programme.'
    ),
    "advice.errors.key": "{error} ({calls} appels){where} : vérifiez la clé API, et qu'elle appartient au bon projet.",
    "advice.errors.permission": (
        "{error} ({calls} appels){where} : vérifiez à quoi la clé API, le projet et l'organisation donnent droit."
    ),
    "advice.errors.rate": (
        "{error} ({calls} appels){where} : envoyez moins d'appels à la fois, laissez le client attendre "
        "(max_retries), ou demandez des limites plus hautes."
    ),
    "advice.errors.quota": "{error} ({calls} appels){where} : ajoutez du crédit, ou augmentez le budget du projet.",
    "advice.errors.timeout": (
        "{error} ({calls} appels){where} : recevez les longues réponses en streaming ou en arrière-plan, ou augmentez"
        " timeout sur le client."
    ),
    "advice.errors.connection": "{error} ({calls} appels){where} : vérifiez le réseau, le proxy et base_url.",
    "advice.errors.request": (
        "{error} ({calls} appels){where} : l'API refuse la requête ; son message nomme le paramètre."
    ),
    "advice.errors.missing": (
        "{error} ({calls} appels){where} : vérifiez les noms du modèle, du déploiement et des ids."
    ),
    "advice.errors.server": (
        "{error} ({calls} appels){where} : pannes de l'API ; augmentez max_retries, et consultez status.openai.com si "
        "elles durent."
    ),
    "advice.errors.other": (
        "{error} ({calls} appels){where} : consultez les exceptions que le programme a interceptées."
    ),
    "advice.errors.several": (
        "{errors} erreurs de {kinds} sortes{where} : vérifiez la clé API, et consultez les exceptions que le "
        "programme a interceptées."
    ),
}
