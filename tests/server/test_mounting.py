"""The application inside another one, at a prefix."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import pytest
from server_client import HERE, call, filled
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from openai_meter.server import create_app


def in_starlette(app, prefix: str):
    return Starlette(routes=[Mount(prefix, app)])


def in_fastapi(app, prefix: str):
    fastapi = pytest.importorskip("fastapi", reason="needs fastapi: mounting in FastAPI is NOT tested")
    outer = fastapi.FastAPI()
    outer.mount(prefix, app)
    return outer


@pytest.fixture(params=[in_starlette, in_fastapi])
def mounted(request):
    """A client of another application, in which ours is at ``/deep/meter``."""
    inner = create_app(filled(call()), max_age=0)
    return TestClient(request.param(inner, "/deep/meter"), base_url="http://localhost", client=HERE)


def test_mounted_routes_are_below_the_prefix(mounted) -> None:
    """All routes are below the prefix, and nothing of ours is outside it."""
    assert mounted.get("/deep/meter/api/stats").json()["totals"]["calls"] == 1
    assert mounted.get("/api/stats").status_code == 404
    assert mounted.get("/deep/meter/", follow_redirects=False).headers["location"] == "/deep/meter/dashboard"
    assert mounted.get("/deep/meter/openapi.json").json()["servers"] == [{"url": "/deep/meter"}]
    assert mounted.get("/deep/meter/nothing").json()["error"]["code"] == "not_found"
    assert mounted.post("/deep/meter/api/stats/reset").status_code == 200


def test_mounted_page_finds_its_files(mounted) -> None:
    """The page refers to its files and to the API by relative addresses."""
    page = mounted.get("/deep/meter/dashboard").text
    files = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert files
    for file in files:
        assert not file.startswith(("/", "http"))
        assert mounted.get(urljoin("/deep/meter/dashboard", file)).status_code == 200, file


def test_root_path_of_a_proxy_is_the_prefix() -> None:
    """The prefix can be that of a proxy, which removes it from the request."""
    app = create_app(filled(call()), max_age=0)
    api = TestClient(app, base_url="http://localhost", client=HERE, root_path="/behind")
    assert api.get("/behind/api/stats").status_code == 200
    assert api.get("/openapi.json").json()["servers"] == [{"url": "/behind"}]


def test_mounted_page_needs_no_token() -> None:
    """Which paths need no token is decided by the path below the prefix."""
    app = in_starlette(create_app(filled(call()), token="long-enough-token"), "/dashboard")
    api = TestClient(app, base_url="http://localhost", client=HERE)
    assert api.get("/dashboard/dashboard").status_code == 200
    assert api.get("/dashboard/api/stats").status_code == 401
    assert api.get("/dashboard/static/x/../../api/stats").status_code in {401, 404}
