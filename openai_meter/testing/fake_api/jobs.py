"""Work that takes a while: videos, batches, evaluations and fine-tuning; each poll moves a job on."""

from collections.abc import Callable
from typing import Any

from openai_meter.testing.fake_api.content import Tokens, model_of, noise, number_of, prompt_tokens, request_tokens
from openai_meter.testing.fake_api.handlers import ApiError, Call, Job, Json, json_answer
from openai_meter.testing.fake_api.loopback import Answer

_DAY = 86_400
_NO_USAGE: Json = {
    "input_tokens": 0,
    "output_tokens": 0,
    "total_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}
"""The usage of a batch that has not counted anything yet: zeros, not null."""

_BATCH_LINES = 3
_BATCH_MODEL = "gpt-5.4-mini"
_TUNING_TOKENS = 5000
_EVAL_ITEMS = 3


def _begun(call: Call, kind: str, created: Json, running: Json, finished: Json) -> Answer:
    job = Job(created, [*([running] * call.state.polls), finished])
    return json_answer(call.state.shelf(kind).put(job))


def create_video(call: Call) -> Answer:
    """Answers POST /videos and its edits, extensions and remixes: no usage, but model, size and seconds."""
    prompt, now = call.need("prompt"), call.state.now()
    before = call.ids[0] if call.ids else None
    source: Json = call.state.shelf("video").get(before).current if before else {}
    created: Json = {
        "id": call.state.new_id("video_"),
        "object": "video",
        "created_at": now,
        "status": "queued",
        "completed_at": None,
        "error": None,
        "expires_at": None,
        "model": model_of(call, source.get("model", "sora-2")),
        "progress": 0,
        "prompt": prompt,
        "remixed_from_video_id": before,
        "seconds": str(call.body.get("seconds") or source.get("seconds", "4")),
        "size": call.body.get("size") or source.get("size", "720x1280"),
    }
    finished = {"status": "completed", "completed_at": now, "expires_at": now + _DAY, "progress": 100}
    return _begun(call, "video", created, {"status": "in_progress", "progress": 50}, finished)


def video_content(call: Call) -> Answer:
    """Answers GET /videos/{id}/content with bytes, in two chunks."""
    video = call.state.shelf("video").get(call.ids[0]).current
    if video["status"] != "completed":
        raise ApiError(404, "The video is not ready yet.", code="video_not_ready")
    film = noise(number_of(video["prompt"]), 4096)
    return Answer(200, {"content-type": "video/mp4"}, iter((film[:1024], film[1024:])))


def create_batch(call: Call) -> Answer:
    """Answers POST /batches; it has the usage of all its lines when it is completed."""
    now, file_id = call.state.now(), call.need("input_file_id")
    lines = _BATCH_LINES
    tokens = Tokens(_BATCH_MODEL, lines * 100, lines * 20)
    usage = {**tokens.agent(), "input_tokens_details": {"cached_tokens": 0}}
    created: Json = {
        "id": call.state.new_id("batch_"),
        "object": "batch",
        "endpoint": call.need("endpoint"),
        "model": None,
        "errors": None,
        "input_file_id": file_id,
        "completion_window": call.body.get("completion_window", "24h"),
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": now,
        "in_progress_at": None,
        "expires_at": now + _DAY,
        "finalizing_at": None,
        "completed_at": None,
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "usage": _NO_USAGE,
        "metadata": call.body.get("metadata"),
    }
    counts = {"total": lines, "completed": 0, "failed": 0}
    running = {"status": "in_progress", "in_progress_at": now, "request_counts": counts}
    finished = {
        "status": "completed",
        "model": _BATCH_MODEL,
        "output_file_id": call.state.new_id("file-"),
        "finalizing_at": now,
        "completed_at": now,
        "request_counts": {**counts, "completed": lines},
        "usage": usage,
    }
    return _begun(call, "batch", created, running, finished)


def _cancel(kind: str, cancelled: Callable[[int], Json]) -> Callable[[Call], Answer]:
    """Makes the endpoint that stops a job of a kind; a finished one stays as it is."""

    def cancel(call: Call) -> Answer:
        job = call.state.shelf(kind).get(call.ids[-1])
        return json_answer(job.current if job.done else job.turn(cancelled(call.state.now())))

    return cancel


cancel_batch = _cancel("batch", lambda now: {"status": "cancelling", "cancelling_at": now})
cancel_tuning = _cancel("fine-tuning job", lambda now: {"status": "cancelled", "finished_at": now})


def create_eval(call: Call) -> Answer:
    """Answers POST /evals."""
    config = dict(call.need("data_source_config"))
    if "item_schema" in config:
        wrapped = {"type": "object", "properties": {"item": config.pop("item_schema")}, "required": ["item"]}
        config["schema"] = wrapped
    created: Json = {
        "object": "eval",
        "id": call.state.new_id("eval_"),
        "data_source_config": config,
        "testing_criteria": call.body.get("testing_criteria") or [],
        "name": call.body.get("name") or "evaluation",
        "created_at": call.state.now(),
        "metadata": call.body.get("metadata") or {},
    }
    return json_answer(call.state.shelf("eval").put(Job(created)), 201)


def create_eval_run(call: Call) -> Answer:
    """Answers POST /evals/{id}/runs; the run has its usage by model when it is completed."""
    call.state.shelf("eval").get(call.ids[0])
    source = call.need("data_source")
    model = source.get("model") or "gpt-5.4-mini"
    prompt = request_tokens(source)
    usage = {
        "model_name": model,
        "invocation_count": _EVAL_ITEMS,
        "prompt_tokens": _EVAL_ITEMS * prompt,
        "completion_tokens": _EVAL_ITEMS * 12,
        "total_tokens": _EVAL_ITEMS * (prompt + 12),
        "cached_tokens": 0,
    }
    run_id = call.state.new_id("evalrun_")
    created: Json = {
        "object": "eval.run",
        "id": run_id,
        "eval_id": call.ids[0],
        "report_url": f"https://platform.example.com/evaluations/{call.ids[0]}/{run_id}",
        "status": "queued",
        "model": model,
        "name": call.body.get("name") or "run",
        "created_at": call.state.now(),
        "result_counts": {"total": 0, "errored": 0, "failed": 0, "passed": 0},
        "per_model_usage": None,
        "per_testing_criteria_results": None,
        "data_source": source,
        "error": None,
        "metadata": call.body.get("metadata") or {},
    }
    finished = {
        "status": "completed",
        "result_counts": {"total": _EVAL_ITEMS, "errored": 0, "failed": 0, "passed": _EVAL_ITEMS},
        "per_model_usage": [usage],
        "per_testing_criteria_results": [],
    }
    return _begun(call, "eval run", created, {"status": "in_progress"}, finished)


def create_tuning(call: Call) -> Answer:
    """Answers POST /fine_tuning/jobs; it has the number of trained tokens when it has succeeded."""
    now, model = call.state.now(), model_of(call)
    auto = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
    created: Json = {
        "object": "fine_tuning.job",
        "id": call.state.new_id("ftjob-"),
        "model": model,
        "created_at": now,
        "finished_at": None,
        "fine_tuned_model": None,
        "organization_id": "demo-organization",
        "result_files": [],
        "status": "validating_files",
        "validation_file": call.body.get("validation_file"),
        "training_file": call.need("training_file"),
        "hyperparameters": auto,
        "trained_tokens": None,
        "error": {},
        "user_provided_suffix": call.body.get("suffix"),
        "seed": call.body.get("seed") or 7,
        "estimated_finish": None,
        "integrations": [],
    }
    finished = {
        "status": "succeeded",
        "finished_at": now,
        "fine_tuned_model": f"ft:{model}:demo::{call.state.new_id('')[-8:]}",
        "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 2},
        "trained_tokens": _TUNING_TOKENS,
    }
    return _begun(call, "fine-tuning job", created, {"status": "running"}, finished)


def run_grader(call: Call) -> Answer:
    """Answers POST /fine_tuning/alpha/graders/run: only a model that grades has used tokens."""
    grader = call.need("grader")
    model = grader.get("model")
    tokens = prompt_tokens(grader.get("input") or "") + prompt_tokens(call.body.get("model_sample") or "") + 12
    errors: dict[str, Any] = {
        "formula_parse_error": False,
        "sample_parse_error": False,
        "sample_parse_error_details": None,
        "truncated_observation_error": False,
        "unresponsive_reward_error": False,
        "invalid_variable_error": False,
        "invalid_variable_error_details": None,
        "other_error": False,
        "python_grader_server_error": False,
        "python_grader_server_error_type": None,
        "python_grader_runtime_error": False,
        "python_grader_runtime_error_details": None,
        "model_grader_server_error": False,
        "model_grader_refusal_error": False,
        "model_grader_refusal_error_details": None,
        "model_grader_parse_error": False,
        "model_grader_exceeded_max_tokens_error": False,
        "model_grader_server_error_details": None,
        "endpoint_grader_internal_error": False,
        "endpoint_grader_internal_error_details": None,
        "endpoint_grader_server_error": False,
        "endpoint_grader_server_error_details": None,
        "endpoint_grader_safety_check_error": False,
    }
    metadata: Json = {
        "name": grader.get("name") or "grader",
        "type": grader.get("type"),
        "errors": errors,
        "execution_time": 0.1,
        "scores": {},
        "token_usage": tokens if model else None,
        "sampled_model_name": model,
    }
    usage = {model: {"prompt_tokens": tokens - 12, "completion_tokens": 12, "total_tokens": tokens}} if model else {}
    return json_answer(
        {
            "reward": 0.5 + number_of(grader) % 50 / 100,
            "metadata": metadata,
            "sub_rewards": {},
            "model_grader_token_usage_per_model": usage,
        }
    )
