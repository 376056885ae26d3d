"""`sanshen demo`: a day at the bureau without a browser."""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.text import Text

from review import logs
from review.settings import SettingsError
from review.texts import text
from starter.demo.bureau import ACCOUNTS, accounts, fill
from starter.demo.outcome import Outcome, outcome_of
from starter.demo.player import WATCHER, Bureau, Refused, play
from starter.demo.stage import Board, counts_of, result_table
from starter.demo.stories import stories
from starter.errors import StartError

PACK = "demo-seconds"
APART = timedelta(seconds=0.8)  # between two beginnings
WITHIN = timedelta(seconds=95)  # for the whole play; with start and end under two minutes
LINE_WIDTH = 200  # of tables where there is no screen
DONE, DIFFERS, WRONG_USAGE = 0, 1, 2  # exit codes (contract)

Json = dict[str, Any]


def run_demo(data: Path | None = None, *, as_json: bool = False) -> int:
    """Boot the whole, let everybody do their day's work, tell what came of it.

    Args:
        data: Where to keep it; unless told, a folder that is removed in the end. A folder with a
            ledger that is not a demo's is left alone.
        as_json: Print the facts as JSON; the progress goes to standard error.

    Returns:
        0 when every item ended as its story says, 1 when not, 2 for a wrong setting, 3 when
        something outside is in the way.
    """
    os.umask(0o077)
    logs.configure("console", "WARNING")
    language = os.environ.get("SANSHEN_LANGUAGE") or "zh"
    try:
        if data is not None:
            return asyncio.run(_day(data.expanduser().absolute(), language, as_json, kept=True))
        with tempfile.TemporaryDirectory(
            prefix="sanshen-demo-", ignore_cleanup_errors=True
        ) as folder:
            return asyncio.run(_day(Path(folder), language, as_json, kept=False))
    except StartError as error:
        print(error.line(language), file=sys.stderr)
        return error.exit_code
    except SettingsError as error:
        print(error, file=sys.stderr)
        return WRONG_USAGE
    except (asyncio.CancelledError, KeyboardInterrupt):
        print(text("demo.interrupted", language), file=sys.stderr)
        return DIFFERS


async def _day(data: Path, language: str, as_json: bool, *, kept: bool) -> int:
    from starter.embedded import Whole

    began = time.monotonic()
    if (data / "ledger.db").exists() and not (data / ACCOUNTS).exists():
        print(text("demo.foreign", language, data=data), file=sys.stderr)
        return DIFFERS
    told = stories()
    console = Console(stderr=as_json, highlight=False)
    if not console.is_terminal:
        console.width = LINE_WIDTH
    console.print(text("demo.booting", language))
    _cancel_once_told()
    try:
        async with Whole(data, port=0, engine_port=0, policy=PACK) as whole:
            await asyncio.to_thread(
                fill, f"sqlite:///{data / 'ledger.db'}", data, with_samples=False
            )
            console.print(text("demo.ready", language, url=whole.url, items=len(told)))
            async with httpx.AsyncClient(base_url=whole.url, trust_env=False) as client:
                bureau = Bureau(client, accounts(data))
                with Board(told, console, language) as board:
                    courses = await play(told, bureau, board, apart=APART, within=WITHIN)
                outcomes = [await outcome_of(course, bureau) for course in courses]
                trail = await _trail(bureau)
            url = whole.url
    finally:
        await asyncio.sleep(0.05)  # sdk-python#300: the interpreter aborts without
    seconds = round(time.monotonic() - began, 1)
    if as_json:
        _print_json(outcomes, trail, url, seconds)
    else:
        _print(console, outcomes, trail, seconds, language)
        if kept:
            console.print(Text(text("demo.kept", language, data=data)))
    good = trail.get("ok") and not any(one.differs for one in outcomes)
    return DONE if good else DIFFERS


def _cancel_once_told() -> None:
    """Let the first SIGINT or SIGTERM end the play; what stops the parts is not interrupted."""
    us, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert us is not None, "called within the task"
    told = False

    def tell() -> None:
        nonlocal told
        if not told:
            told = True
            us.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, tell)


async def _trail(bureau: Bureau) -> Json:
    """Return what the audit trail's own check says of the day."""
    try:
        found: Json = await bureau.get(WATCHER, "/audit/verify")
    except Refused as refusal:
        return {"ok": False, "why": str(refusal)}
    return found


def _print(
    console: Console, outcomes: list[Outcome], trail: Json, seconds: float, language: str
) -> None:
    console.print(result_table(outcomes, language))
    counts = counts_of(outcomes)
    console.print(Text(text("demo.counts", language, **counts)))
    console.print(Text(text("demo.screened", language, **counts)))
    trail_code = "demo.trail_good" if trail.get("ok") else "demo.trail_broken"
    console.print(Text(text(trail_code, language, entries=trail.get("entries", 0))))
    for one in outcomes:
        for what in one.differs:
            line = text("demo.differs", language, item=one.item, title=one.title, what=what)
            console.print(Text(line))
    code = "demo.all_good" if not counts["astray"] else "demo.some_astray"
    console.print(Text(text(code, language, seconds=seconds, **counts)))


def _print_json(outcomes: list[Outcome], trail: Json, url: str, seconds: float) -> None:
    facts = {
        "url": url,
        "seconds": seconds,
        "items": [one.model_dump(mode="json") for one in outcomes],
        "counts": counts_of(outcomes),
        "audit": trail,
    }
    json.dump(facts, sys.stdout, ensure_ascii=False, indent=2)
    print()
