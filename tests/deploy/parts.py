"""The processes that compose.yaml starts, side by side on this machine: webs, workers, Caddy."""

import asyncio
import base64
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from ruamel.yaml import YAML

from review.records import audit
from review.records.access import issue_token
from review.records.engine import Ledger
from starter.engine import free_port
from tests.deploy.test_files import DEPLOY, program
from tests.examples import PEOPLE
from tests.faults.drill import Report, _check_decisions, _check_items, _check_site
from tests.faults.people import Journal
from tests.faults.whole import REPOSITORY

PYTHON = (sys.executable, "-P", "-m")


def settings_of(data: Path, ledger_url: str, engine: str) -> dict[str, str]:
    """Return what compose.yaml sets for our containers, with this machine's places put in."""
    compose = YAML(typ="safe").load(DEPLOY / "compose.yaml")
    given = {name: str(value) for name, value in compose["x-sanshen"]["environment"].items()}
    key = base64.b64encode(os.urandom(32)).decode()
    return given | {
        "SANSHEN_DATA": str(data),
        "SANSHEN_CHECKPOINT_DIR": str(data.parent / "checkpoints"),
        "SANSHEN_DATABASE_URL": ledger_url,
        "SANSHEN_TEMPORAL_ADDRESS": engine,
        "SANSHEN_PROXIES": "127.0.0.1",
        "SANSHEN_PUBLIC_URL": "https://sanshen.test",
        "SANSHEN_SECRET_KEY": secrets.token_urlsafe(48),
        "SANSHEN_PAYLOAD_KEYS": f"2026:{key}",
        "SANSHEN_METRICS_ADDRESS": "",
    }


class Part:
    """A process that is started again whenever it is killed, as a supervisor would."""

    def __init__(self, log: Path, *command: str, **environment: str) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SANSHEN_")}
        self._environment = kept | {"PYTHONPATH": str(REPOSITORY)} | environment
        self._command, self._log = command, log
        self.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, env=self._environment, cwd=self._log.parent, stdout=output,
                stderr=output, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def require_running(self) -> None:
        assert self.is_running, self._log.read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        self.require_running()
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True)
class SideBySide:
    """What runs, where it is reached, and the ports of the workers' metrics."""

    parts: Mapping[str, Part]
    address: str
    metrics: tuple[int, ...]


async def prepare(given: Mapping[str, str], folder: Path) -> None:
    """Run `sanshen db prepare` as the job of that name does."""
    done = await asyncio.to_thread(
        subprocess.run,
        [*PYTHON, "starter.cli", "db", "prepare"], capture_output=True, text=True, cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)} | dict(given),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@asynccontextmanager
async def side_by_side(
    folder: Path, given: Mapping[str, str], *, webs: int = 2, workers: int = 2
) -> AsyncIterator[SideBySide]:
    """Start webs, workers and Caddy before them; yield once the whole is ready.

    Args:
        folder: Where each one's log goes.
        given: Their environment, as `settings_of` makes it; `db prepare` was run with it.
    """
    ports, front = [free_port() for _ in range(webs)], free_port()
    metrics = tuple(free_port() for _ in range(workers))
    with ExitStack() as ending:
        parts: dict[str, Part] = {}

        def start(name: str, *command: str, **environment: str) -> None:
            parts[name] = Part(folder / f"{name}.log", *command, **environment)
            ending.callback(parts[name].stop)

        for n, port in enumerate(ports):
            its = {"SANSHEN_WEB_PORT": str(port), "SANSHEN_WEB_HOST": "127.0.0.1"}
            start(f"web{n}", *PYTHON, "starter.web", **dict(given) | its)
        for n, port in enumerate(metrics):
            its = {"SANSHEN_METRICS_ADDRESS": f"127.0.0.1:{port}"}
            start(f"worker{n}", *PYTHON, "workers", **dict(given) | its)
        start(
            "caddy", program("caddy"), "run", "--adapter", "caddyfile",
            "--config", str(DEPLOY / "caddy" / "Caddyfile"),
            SITE_NAME=f"http://127.0.0.1:{front}",
            UPSTREAMS=" ".join(f"127.0.0.1:{port}" for port in ports),
            HOME=str(folder), XDG_DATA_HOME=str(folder), XDG_CONFIG_HOME=str(folder),
        )  # fmt: skip
        await ready(f"http://127.0.0.1:{front}")
        yield SideBySide(parts, f"http://127.0.0.1:{front}", metrics)


async def ready(address: str) -> None:
    async with asyncio.timeout(90), httpx.AsyncClient(trust_env=False, timeout=2) as client:
        while True:
            try:
                if (await client.get(f"{address}/readyz")).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.2)


def tokens_in(url: str) -> dict[str, str]:
    ledger = Ledger(url)
    now = datetime.now(UTC)
    try:
        return {
            name: ledger.write(lambda session, name=name: issue_token(session, name, "test", now))
            for name in PEOPLE
        }
    finally:
        ledger.close()


def cut_connections(url: str) -> None:
    """End every connection to the ledger, as a failover does."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    engine.dispose()


def check(url: str, data: Path, journal: Journal, feed: Any) -> Report:
    """Hold the ledger and the site against what the people were answered."""
    report = Report(seed=1)
    ledger = Ledger(url)
    with ledger.reading() as session:
        _check_decisions(session, journal, report)
        _check_items(session, journal, report)
        found = audit.verify(session)
    ledger.close()
    report.audit_verify = "ok" if found["ok"] else str(found["first_bad"])
    _check_site(data, feed, report)
    return report
