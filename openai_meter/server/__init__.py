"""The HTTP API and the dashboard. Needs the extra ``openai-meter[server]``.

::

    app.mount("/meter", openai_meter.server.create_app())     # in FastAPI or Starlette, at any prefix
    server = openai_meter.server.start(port=3000)             # or in a background thread of any program

``app.py`` has the table of routes, ``handlers.py`` their handlers, ``sources.py`` the figures they read (of a meter or
a ledger), ``security.py`` the checks of each request, ``dashboard.py`` the page.
"""

from importlib.util import find_spec

from openai_meter.core.version import install_command
from openai_meter.errors import MissingExtraError

if find_spec("starlette") is None:
    raise MissingExtraError(f"the server needs Starlette; install it with: {install_command('server')}")

from openai_meter.server.app import create_app
from openai_meter.server.serve import Server, start

__all__ = ["Server", "create_app", "start"]
