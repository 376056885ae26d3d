"""Two webs, two workers, Caddy, PostgreSQL, set as in `deploy/`: one of each is killed."""

import asyncio
import os
import re
import signal
from pathlib import Path

import httpx
import pytest

from starter.engine import EmbeddedEngine
from tests.deploy.parts import (
    check,
    cut_connections,
    prepare,
    settings_of,
    side_by_side,
    tokens_in,
)
from tests.deploy.test_watching import names_in, queries
from tests.faults.drill import Report, _ask_again
from tests.faults.people import Journal, Office

ITEMS = 12
PATIENCE = 240  # seconds, on a machine that is busy with other tests


@pytest.mark.long
async def test_one_of_each_is_killed_under_load_and_nothing_is_lost_or_doubled(
    postgres: str, tmp_path: Path
) -> None:
    from tests.postgres import drop_database, fresh_database

    url, data = fresh_database(postgres), tmp_path / "data"
    data.mkdir(mode=0o700)
    (tmp_path / "engine").mkdir()
    tokens = tokens_in(url)
    async with EmbeddedEngine(tmp_path / "engine", port=0) as engine:
        given = settings_of(data, url, engine.address)
        await prepare(given, tmp_path)
        async with side_by_side(tmp_path, given) as side:
            journal = Journal(tmp_path / "journal.jsonl")
            office = Office(lambda: side.address, tokens, journal, seed=1)
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
                        side.parts[name].kill()
                        await asyncio.sleep(0.5)
                        side.parts[name].start()
                while not known <= office.published:
                    await asyncio.sleep(0.2)
                office.is_over = True
            await _ask_again(office, journal, report)
            feed = await office.look("chief", "/public/feed.atom")
            async with httpx.AsyncClient(trust_env=False) as client:
                hidden = await client.get(f"{side.address}/metrics")
                seen = [
                    (await client.get(f"http://127.0.0.1:{port}/metrics")).text
                    for port in side.metrics
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
    assert all("temporal_worker_start" in one for one in seen)
    asked = {name for query in queries() for name, _ in names_in(query)}
    of_the_sdk = {name for name in asked if name.startswith("temporal_")}
    assert of_the_sdk  # alerts and board ask for what workers show once an engine was away
    for name in of_the_sdk:
        assert any(re.search(rf"^{name}[ {{]", one, re.MULTILINE) for one in seen), name
