"""The examples of docs/integration.md, run as they stand there against the real web."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn

from activities.posting import Poster
from review.acts import hooks
from review.records.access import Access
from review.records.engine import Ledger
from review.records.hook_keys import PURPOSE, Made, Scope
from review.records.kept import Box
from review.records.tables import Decision
from review.settings import Settings
from starter.engine import free_port
from starter.reviews import Reviews
from starter.web.__main__ import Server, listening_on
from starter.web.app import create_app
from tests.acting import Course
from workers.announcer import Announcer

PAGE = Path(__file__).parents[1] / "docs" / "integration.md"
SECRET = "s" * 48
BOX = Box(SECRET.encode(), PURPOSE)


def blocks(language: str) -> list[str]:
    """Return the examples of a language, in the page's order."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONUTF8": "1", **more}


@pytest.fixture
def course(quick_ledger: Ledger) -> Course:
    found = Course(quick_ledger, now=datetime.now(UTC))
    found.turn()
    return found


@pytest.fixture
def key(course: Course) -> Made:
    made: Made = course.ledger.write(
        lambda s: hooks.add_key(s, "oa", Scope(), course.now, BOX, way_in="cli")
    )
    return made


@pytest.fixture
async def deciding(course: Course, key: Made, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """The web on a port; yields the examples' environment."""
    listening = listening_on("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    app = create_app(
        Reviews(course.ledger, None, secret=SECRET.encode()),
        Access(course.ledger, secret=SECRET.encode()),
        Settings(data=tmp_path, secret_key=SECRET, public_url=url, _env_file=None),
    )
    server = Server(uvicorn.Config(app, access_log=False, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve([listening]))
    yield environment(
        SANSHEN=url, KEY_SECRET=key.secret, SUBMISSION=course.id, ACCOUNT="afforest_head",
        DIGEST=course.row().digest,
    )  # fmt: skip
    server.stop()
    await serving
    listening.close()


async def run(*command: str, env: dict[str, str]) -> str:
    done = await asyncio.to_thread(
        subprocess.run, command, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


async def test_the_shell_decides(deciding, course):
    (script,) = blocks("sh")

    said = json.loads(await run("bash", "-euc", script, env=deciding))

    assert said["accepted"] is True
    (decision,) = course.item(lambda item: item.decisions)
    assert (decision.verdict, decision.way_in) == ("approve", "oa")


async def test_python_decides(deciding, course):
    script, _ = blocks("python")

    said = await run(sys.executable, "-I", "-c", script, env=deciding)

    status, _, answer = said.partition(" ")
    assert status == "200", answer
    (decision,) = course.item(lambda item: item.decisions)
    assert isinstance(decision, Decision) and decision.verdict == "return"


async def test_python_receives(course):
    _, script = blocks("python")
    port = free_port()
    made = course.ledger.write(
        lambda s: hooks.add_endpoint(
            s, "oa", f"http://127.0.0.1:{port}/", (), course.now, BOX, way_in="cli"
        )
    )
    receiver = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", script, stdout=asyncio.subprocess.PIPE,
        env=environment(ENDPOINT_SECRET=made.secret, PORT=str(port)),
    )  # fmt: skip
    announcer = Announcer(
        course.ledger, Poster(["127.0.0.1"]), BOX, lambda: datetime.now(UTC), public_url="http://x"
    )
    announcing = asyncio.create_task(announcer.run())
    try:
        assert receiver.stdout is not None
        said = await asyncio.wait_for(receiver.stdout.readline(), 60)
    finally:
        announcing.cancel()
        await asyncio.gather(announcing, return_exceptions=True)
        receiver.kill()
        await receiver.wait()

    assert said.decode().split() == ["todo.opened", "afforest_head", "unit_review"]


def test_every_event_and_error_that_there_is_stands_on_the_page():
    page = PAGE.read_text("utf-8")

    for event in hooks.EVENTS:
        assert f"`{event}`" in page
    for code in ("address_refused", "unresolved", "tls", "timeout", "unreachable", "protocol"):
        assert f"`{code}`" in page
