"""The texts of recommendations in English. ``{where}`` is the model and the agent, as in alerts."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ADVICE"]

ADVICE: Mapping[str, str | tuple[str, ...]] = {
    "advice.saving": "That would have saved {saving}.",
    "advice.long_prompts": (
        "Long prompts{where}: {tokens} tokens per call on average ({calls} calls), most of them input. Send only what"
        " the model needs: shorten instructions, drop old messages, summarise documents."
    ),
    "advice.long_prompts.prefix": "{times} calls began with the same {chars} characters.",
    "advice.long_prompts.hundred": "Every 100 tokens less in them would have saved {hundred}.",
    "advice.long_answers": (
        "Long answers{where}: {tokens} tokens per call on average ({calls} calls), most of them output. Say in the "
        "prompt how long an answer may be, and lower the reasoning effort where it is not needed."
    ),
    "advice.long_answers.unlimited": (
        "Of these calls, {unlimited} set no limit; set max_output_tokens (max_completion_tokens in chats)."
    ),
    "advice.cheaper_model": (
        "Short answers{where}: {calls} calls with {output} tokens of answer on average and no reasoning. The same "
        "tokens cost {cost_then} instead of {cost} with {smaller}: try it on some of them, and compare the answers."
    ),
    "advice.cheaper_model.ends": "{smaller} is announced to shut down on {ends}.",
    "advice.prompt_caching": (
        "Missed prompt cache{where}: {calls} calls began like an earlier one (about {tokens} tokens each), but only "
        "{percent}% of that was read from the cache. Put first what stays the same (tools, instructions, documents), "
        "and last what changes."
    ),
    "advice.prompt_caching.key": "Give these calls the same prompt_cache_key.",
    "advice.prompt_caching.late": (
        "{late} more came too late for the cache: prompt_cache_options.ttl (prompt_cache_retention on older models) "
        "keeps it for longer."
    ),
    "advice.truncated_answers": (
        "Truncated answers{where}: {calls} answers stopped early, and the same prompt was sent again. Raise "
        "max_output_tokens (max_completion_tokens in chats), or ask for shorter answers."
    ),
    "advice.repeated_after_error": (
        "Repeated after errors{where}: {calls} calls failed, and the same prompt was sent again. Let the client "
        "repeat them: OpenAI(max_retries=5) waits longer each time, and only repeats what can succeed."
    ),
    "advice.repeated_prompts.answers": (
        "Repeated prompts{where}: {calls} calls repeated an earlier prompt ({prompts} different prompts)."
        " Keep the answers, if they may be used again."
    ),
    "advice.repeated_prompts.embeddings": (
        "Repeated embeddings{where}: {calls} calls repeated an earlier input ({prompts} different inputs)."
        " Keep the vectors: the same text always has the same vector."
    ),
    "advice.repeated_prompts.sampled": "Long inputs were compared by samples and by their number of tokens.",
    "advice.background_work.batch": (
        "Work in the background{where}: {calls} calls in steady succession, none of them streamed. If the "
        "answers are not urgent, the Batch API returns them within 24 hours for less."
    ),
    "advice.background_work.flex": (
        "Work in the background{where}: {calls} calls in steady succession, none of them streamed. If the "
        'answers are not urgent, service_tier="flex" returns them more slowly for less.'
    ),
    "advice.background_work.also_flex": (
        'With service_tier="flex" it would have been {flex_saving}, without a change to the program\'s way of working.'
    ),
    "advice.errors.key": "{error} ({calls} calls){where}: check the API key, and that it belongs to the right project.",
    "advice.errors.permission": (
        "{error} ({calls} calls){where}: check what the API key, project and organisation may use."
    ),
    "advice.errors.rate": (
        "{error} ({calls} calls){where}: send fewer calls at once, let the client wait (max_retries), or ask for "
        "higher limits."
    ),
    "advice.errors.quota": "{error} ({calls} calls){where}: add credit, or raise the budget of the project.",
    "advice.errors.timeout": (
        "{error} ({calls} calls){where}: stream long answers, run them in the background, or raise timeout on the "
        "client."
    ),
    "advice.errors.connection": "{error} ({calls} calls){where}: check network, proxy and base_url.",
    "advice.errors.request": (
        "{error} ({calls} calls){where}: the API refuses the request; its message names the parameter."
    ),
    "advice.errors.missing": "{error} ({calls} calls){where}: check the names of model, deployment and ids.",
    "advice.errors.server": (
        "{error} ({calls} calls){where}: faults of the API; raise max_retries, and look at status.openai.com if they "
        "continue."
    ),
    "advice.errors.other": "{error} ({calls} calls){where}: look at the exceptions that the program has caught.",
    "advice.errors.several": (
        "{errors} errors of {kinds} kinds{where}: check the API key, and look at the exceptions that the program has "
        "caught."
    ),
}
