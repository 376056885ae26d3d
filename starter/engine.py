"""The embedded engine: Temporal's own server on one file, under our lock.

Two servers on one file both claim to serve and then corrupt each other's work, and no version
migrates another's file (temporal.md 1.2); so the folder is locked and the version noted.
"""

import asyncio
import fcntl
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from temporalio.client import Client
from temporalio.service import RPCError

from review.engine import prepare_namespace
from starter.errors import StartError
from starter.processes import Child

HOST = "127.0.0.1"  # it has no authentication: never any other address (design, facts)

# WAL is three times as fast as the default; FULL keeps what was acknowledged over a power cut.
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000")

STARTS_WITHIN = 30.0  # seconds; 0.2-0.7 measured, the rest is for a busy machine
STOPS_WITHIN = 3.0  # seconds; 1.6-1.8 measured, and a kill loses nothing acknowledged


class EmbeddedEngine:
    """One engine on one data folder.

    Files: `engine.db` (its store), `engine.version` (what wrote it), `lock`, `logs/engine.log`.
    """

    def __init__(
        self,
        data: Path,
        *,
        port: int = 7233,
        ui_port: int | None = None,
        executable: Path | None = None,
        spare: int = 0,
    ) -> None:
        """Describe the engine; nothing is touched yet.

        Args:
            data: The folder; it exists.
            port: For clients; 0 takes a free one.
            ui_port: For Temporal's own pages; unless told, 1000 above, else a free one.
            executable: The server; unless told, the one installed beside this Python.
            spare: A port that somebody else will take, such as our own web.
        """
        self._data = data
        self._asked_port = port
        self._asked_ui_port = ui_port
        self._spare = spare
        self._executable = executable or Path(sys.executable).parent / "temporal"
        self._lock: int | None = None
        self._child: Child | None = None
        self.port = 0
        self.ui_port = 0
        self.codec_endpoint = ""  # where Temporal's own pages have payloads decrypted

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def child(self) -> Child:
        """Return the server's process, once `open` was called."""
        assert self._child is not None, "open() comes first"
        return self._child

    @property
    def lock(self) -> int:
        """Return the lock's descriptor; the folder stays locked while any holder lives."""
        assert self._lock is not None, "lock_folder() comes first"
        return self._lock

    async def __aenter__(self) -> Self:
        try:
            self.lock_folder()
            self.open()
            await self.child.start()
            await self.prepare()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def lock_folder(self, wait_seconds: float = 0) -> None:
        """Take the folder for ourselves, and for every child that inherits the lock.

        Args:
            wait_seconds: How long the last holder's children may take to go.

        Raises:
            StartError: Somebody else holds it, or the folder can't be written.
        """
        try:
            descriptor = os.open(self._data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartError("data_unwritable", data=self._data, why=error.strerror) from error
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    raise StartError("data_in_use", data=self._data) from None
                time.sleep(0.05)
            else:
                self._lock = descriptor
                return

    def open(self) -> None:
        """Check the store's version and the ports, and lay out the command; spawn nothing yet.

        Raises:
            StartError: The server is missing, a port is taken, or another version wrote the store.
        """
        version = self._version()
        noted, store = self._data / "engine.version", self._data / "engine.db"
        written_by = noted.read_text(encoding="utf-8").strip() if noted.exists() else "?"
        if store.exists() and written_by != version:
            raise StartError("engine_foreign", store=store, theirs=written_by, ours=version)
        noted.write_text(f"{version}\n", encoding="utf-8")
        self.port = free_port() if self._asked_port == 0 else self._asked_port
        check_port(self.port, "--engine-port")
        self.ui_port = self._asked_ui_port or _ui_port_beside(self.port, self._spare)
        self._child = Child(
            "engine",
            self._command(store),
            log=self._data / "logs" / "engine.log",
            environment={**os.environ, "TEMPORAL_VERSION_CHECK_DISABLED": "1"},
            keep_open=(self.lock,),
        )

    async def prepare(self) -> None:
        """Wait until it serves, then see to search attributes and retention, as at every start.

        Raises:
            StartError: It ended or did not serve in time.
        """
        try:
            async with asyncio.timeout(STARTS_WITHIN):
                while self.child.running:
                    with suppress(RPCError, RuntimeError):
                        await prepare_namespace(await Client.connect(self.address))
                        return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pass
        raise StartError("part_silent", part="engine", log=self.child.log)

    async def stop(self) -> None:
        """End it if it runs and give the folder free; can be called at any time."""
        if self._child is not None:
            await self._child.stop(STOPS_WITHIN)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _command(self, store: Path) -> tuple[str, ...]:
        pragmas = (part for pragma in PRAGMAS for part in ("--sqlite-pragma", pragma))
        codec = ("--ui-codec-endpoint", self.codec_endpoint) if self.codec_endpoint else ()
        return (
            *(str(self._executable), "server", "start-dev"),
            *("--ip", HOST, "--port", str(self.port)),
            *("--ui-ip", HOST, "--ui-port", str(self.ui_port), "--ui-disable-news-fetch"),
            *codec,
            *("--db-filename", str(store), *pragmas),
            *("--log-level", "warn", "--log-format", "json"),
        )

    def _version(self) -> str:
        try:
            shown = subprocess.run(
                [self._executable, "--version"],
                capture_output=True,
                check=True,
                text=True,
                timeout=STARTS_WITHIN,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise StartError("engine_missing", executable=self._executable) from error
        return shown.stdout.strip()


def free_port() -> int:
    """Return a port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def check_port(port: int, option: str) -> None:
    """See that a port can be had.

    Raises:
        StartError: Somebody listens on it, or we may not.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise StartError("port_taken", port=port, option=option) from error


def _ui_port_beside(port: int, spare: int) -> int:
    beside = port + 1000
    try:
        check_port(beside, "")
    except StartError:
        return free_port()
    return free_port() if beside == spare else beside
