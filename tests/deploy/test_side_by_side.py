"""Two webs, two workers, Caddy, PostgreSQL, set as in `deploy/`: one of each is killed."""

import asyncio
import base64
import os
import secrets
import signal
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from ruamel.yaml import YAML

from review.records import audit
from review.records.access import issue_token
from review.records.engine import Ledger
from starter.engine import EmbeddedEngine, free_port
from tests.deploy.test_files import DEPLOY, program
from tests.examples import PEOPLE
from tests.faults.drill import Report, _ask_again, _check_decisions, _check_items, _check_site
from tests.faults.people import Journal, Office
from tests.faults.whole import REPOSITORY

ITEMS = 12
PATIENCE = 240  # seconds, on a machine that is busy with other tests


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

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, env=self._environment, cwd=self._log.parent, stdout=output,
                stderr=output, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def kill(self) -> None:
        assert self._process.poll() is None, self._log.read_text(errors="replace")[-2000:]
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


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


@pytest.mark.long
async def test_one_of_each_is_killed_under_load_and_nothing_is_lost_or_doubled(
    postgres: str, tmp_path: Path
) -> None:
    from tests.postgres import drop_database, fresh_database

    url, data = fresh_database(postgres), tmp_path / "data"
    data.mkdir(mode=0o700)
    (tmp_path / "engine").mkdir()
    tokens = tokens_in(url)
    python = (sys.executable, "-P", "-m")
    async with EmbeddedEngine(tmp_path / "engine", port=0) as engine:
        given = settings_of(data, url, engine.address)
        prepared = await asyncio.to_thread(
            subprocess.run,
            [*python, "starter.cli", "db", "prepare"], capture_output=True, text=True,
            cwd=tmp_path, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)} | given,
        )  # fmt: skip
        assert prepared.returncode == 0, prepared.stderr
        ports, front = [free_port(), free_port()], free_port()
        metrics = [free_port(), free_port()]
        parts = {
            **{
                f"web{n}": Part(tmp_path / f"web{n}.log", *python, "starter.web", **given,
                                SANSHEN_WEB_PORT=str(port), SANSHEN_WEB_HOST="127.0.0.1")
                for n, port in enumerate(ports)
            },
            **{
                f"worker{n}": Part(tmp_path / f"worker{n}.log", *python, "workers",
                                   **given | {"SANSHEN_METRICS_ADDRESS": f"127.0.0.1:{port}"})
                for n, port in enumerate(metrics)
            },
            "caddy": Part(
                tmp_path / "caddy.log", program("caddy"), "run", "--adapter", "caddyfile",
                "--config", str(DEPLOY / "caddy" / "Caddyfile"),
                SITE_NAME=f"http://127.0.0.1:{front}",
                UPSTREAMS=" ".join(f"127.0.0.1:{port}" for port in ports),
                HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path),
            ),
        }  # fmt: skip
        with ExitStack() as ending:
            for part in parts.values():
                ending.callback(part.stop)
            address = f"http://127.0.0.1:{front}"
            await _ready(address)
            journal = Journal(tmp_path / "journal.jsonl")
            office = Office(lambda: address, tokens, journal, seed=1)
            report = Report(seed=1)
            async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as people:
                for job in office.jobs():
                    people.create_task(job)
                known = set(await asyncio.gather(*(office.submit() for _ in range(ITEMS // 2))))
                for name in ("web0", "worker0", "engine", "ledger", "caddy", "web1", "worker1"):
                    await asyncio.sleep(1.5)
                    known.add(await office.submit())
                    if name == "engine":
                        os.kill(engine.child.pid or 0, signal.SIGKILL)
                        await engine.child.ended()
                        await engine.child.start()
                    elif name == "ledger":
                        await asyncio.to_thread(cut_connections, url)
                    else:
                        parts[name].kill()
                        await asyncio.sleep(0.5)
                        parts[name].start()
                while not known <= office.published:
                    await asyncio.sleep(0.2)
                office.is_over = True
            await _ask_again(office, journal, report)
            feed = await office.look("chief", "/public/feed.atom")
            async with httpx.AsyncClient(trust_env=False) as client:
                hidden = await client.get(f"{address}/metrics")
                seen = [
                    (await client.get(f"http://127.0.0.1:{port}/metrics")).text for port in metrics
                ]
            office.close()
        conflicting = report.conflicting_answers
        report = check(url, data, journal, feed)
        report.conflicting_answers = conflicting
        report.unknown_open = len(set(journal.asked) - set(journal.answers))
        journal.close()
    drop_database(postgres, url)

    print(report.line())
    assert report.is_clean, report.line()
    assert report.items == len(known) >= ITEMS
    assert hidden.status_code == 404
    assert all("temporal_workflow_task_schedule_to_start_latency" in one for one in seen)


async def _ready(address: str) -> None:
    async with asyncio.timeout(90), httpx.AsyncClient(trust_env=False, timeout=2) as client:
        while True:
            try:
                if (await client.get(f"{address}/readyz")).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.2)
