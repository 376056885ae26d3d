"""The real whole as a process tree that a test starts, kills and starts again."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from review.records.access import issue_token
from review.records.engine import Ledger, upgrade
from starter.processes import identity
from tests.examples import PEOPLE, grant, office

REPOSITORY = Path(__file__).parents[2]
READY_WITHIN = 90.0  # seconds; eight is the aim, the rest is for a busy machine
PARTS = ("worker", "web", "engine")


def fill(
    data: Path, more: dict[str, tuple[str, str, str]] | None = None, url: str = ""
) -> dict[str, str]:
    """Make a ledger with the office's people and return a bearer token for each.

    Args:
        data: The whole's folder; made when missing.
        more: Further people: name to unit, role and the role's unit.
        url: The ledger's address; unless told, the file in the folder.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    url = url or f"sqlite:///{data / 'ledger.db'}"
    upgrade(url)
    ledger = Ledger(url)

    def people(session: Any) -> dict[str, str]:
        from review.records.tables import PersonRow

        now = datetime.now(UTC)
        office(session, now)
        for name, (unit, role, scope) in (more or {}).items():
            session.add(PersonRow(id=name, username=name, name=name, unit_id=unit, created_at=now))
            session.flush()
            grant(session, name, role, scope)
        session.flush()
        return {name: issue_token(session, name, "test", now) for name in [*PEOPLE, *(more or {})]}

    tokens: dict[str, str] = ledger.write(people)
    ledger.close()
    return tokens


class Tree:
    """`sanshen up` on one folder. It ends only processes that it started itself."""

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        self._options = options
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._output = data.parent / f"{data.name}.up.log"

    def spawn(self) -> None:
        """Start it and return at once."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("SANSHEN_")
        }
        environment["PYTHONPATH"] = str(REPOSITORY)
        self._output.unlink(missing_ok=True)
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "starter.cli", "up"),
                    *("--data", str(self.data), "--port", "0", "--engine-port", "0"),
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.data,
                start_new_session=True,
            )

    def is_ready(self) -> bool:
        """Tell whether it has said that it is ready; takes the address from what it said.

        Raises:
            RuntimeError: It ended instead.
        """
        assert self._process is not None, "spawn() comes first"
        for line in self._output.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("ready "):
                self.url = line.split()[1]
                return True
        if self._process.poll() is not None:
            raise RuntimeError(f"the whole ended: {self._output.read_text(errors='replace')}")
        return False

    def start(self) -> float:
        """Start it, wait until it is ready, return how many seconds that took."""
        began = time.monotonic()
        self.spawn()
        while not self.is_ready():
            if time.monotonic() - began > READY_WITHIN:
                raise RuntimeError("the whole did not get ready")
            time.sleep(0.02)
        return time.monotonic() - began

    def pid(self, part: str) -> int | None:
        """Return the id of a part that is surely ours and alive."""
        try:
            noted = json.loads((self.data / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if self._process is None or noted["pids"].get("supervisor") != self._process.pid:
            return None
        pid = noted["pids"].get(part)
        if pid is None or identity(pid) != noted["identities"].get(part):
            return None
        return int(pid)

    def kill(self, part: str) -> bool:
        """SIGKILL one part, or with "tree" the supervisor, whose children die with it."""
        pid = self._process.pid if part == "tree" and self._process else self.pid(part)
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        if part == "tree" and self._process is not None:
            self._process.wait()
        return True

    def stop(self) -> None:
        """End it as an operator would; kill it when that takes longer than it may."""
        if self._process is None or self._process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "Tree":
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
