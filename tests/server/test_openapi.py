"""The API's own description, and whether the API does what it says: tried with whatever schemathesis can think of."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from server_client import call, client, filled, kept

from openai_meter.server import create_app
from openai_meter.server.app import EVENTS, ROUTES
from openai_meter.server.errors import CODES
from openai_meter.server.schemas import SCHEMAS

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis: the API's description is NOT tried")
CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_schema_conformance,
]
NOTHING_TO_BE_WRONG = {"/metrics", "/healthz", "/api/limits", "/api/budgets"}
"""Routes without a parameter: everything fits their description."""


def test_openapi_document_lists_every_route() -> None:
    """Every route has its parameters, its errors and its answer; every operation refers to a route."""
    document = client(filled()).get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    described = {(method.upper(), path) for path, one in document["paths"].items() for method in one}
    assert described == {(row.method, row.path) for row in (*ROUTES, EVENTS)}
    for row in (*ROUTES, EVENTS):
        one = document["paths"][row.path][row.method.lower()]
        named = {parameter["name"] for parameter in one["parameters"]}
        assert named == {param.name for param in row.params} | ({"id"} if "{id}" in row.path else set())
        assert {"200", "400", "401", "403", "413", "421", "500", "503"} <= one["responses"].keys()
        assert set(map(int, one["responses"])) - {200} <= CODES.keys()
        assert all(parameter["description"] for parameter in one["parameters"])
    names = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len({*names}) == len(names)
    assert document["security"] == []


def test_openapi_schemas_are_valid() -> None:
    """All schemas are JSON Schema, and every reference leads somewhere."""
    jsonschema = pytest.importorskip("jsonschema", reason="comes with schemathesis")
    document = client(filled()).get("/openapi.json").json()
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)

    def references(value):
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            value = [*value.values()]
        if isinstance(value, list):
            for one in value:
                yield from references(one)

    assert {one.rpartition("/")[2] for one in references(document)} <= SCHEMAS.keys()


def test_openapi_document_requires_the_token() -> None:
    """Where a token is needed, the document declares it; it is itself read with the token."""
    api = client(filled(), token="long-enough-token")
    assert api.get("/openapi.json").status_code == 401
    document = api.get("/openapi.json", headers={"Authorization": "Bearer long-enough-token"}).json()
    assert document["security"] == [{"token": []}]
    assert document["paths"]["/healthz"]["get"]["security"] == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["meter", "ledger"])
def test_answers_conform_to_the_openapi_document(kind: str, tmp_path) -> None:
    """For requests that fit the document and for others, no answer is a fault, and every one is described."""
    calls = [call(agent="a", tags={"env": "prod"}), call(None, status="error"), call("no-such-model")]
    source = (
        {"meter": filled(*calls, thresholds={"calls": 2})} if kind == "meter" else {"ledger": kept(tmp_path, *calls)}
    )
    app = create_app(**source, token=False, max_age=0)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    tried = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path == EVENTS.path:  # it has no end
            continue
        for mode in schemathesis.GenerationMode:
            if mode is schemathesis.GenerationMode.POSITIVE or operation.path not in NOTHING_TO_BE_WRONG:
                tried.add((mode, ask(operation, mode)))
    assert len(tried) == 2 * len(ROUTES) - len(NOTHING_TO_BE_WRONG)


def ask(operation, mode) -> str:
    @settings(
        max_examples=12,
        phases=[Phase.generate],  # a failure is shown as it is found: to make it small takes minutes
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def one(case) -> None:
        case.call_and_validate(checks=CHECKS)

    one()
    return operation.label
