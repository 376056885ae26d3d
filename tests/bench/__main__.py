"""`python -m tests.bench [NAME …]`: print one table of what is named, or of what takes minutes.

Names: decisions, reviews, screening, startup (these four unless told), lists, act, load, replay.

Run it on a machine that does nothing else: every figure includes what else the machine does, and
the load before and after is printed so that a disturbed run can be told.
"""

import argparse
import asyncio
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from tests.bench import act, decisions, lists, load, replaying, reviews, screening, startup
from tests.bench.figures import Figure, as_json, show

NAMES = ("decisions", "reviews", "screening", "startup", "lists", "act", "load", "replay")


async def run(given: argparse.Namespace, folder: Path) -> list[Figure]:
    figures: list[Figure] = []
    wanted = given.only or NAMES[:4]
    if "screening" in wanted:
        figures += screening.bench()
    if "startup" in wanted:
        figures += await startup.bench(folder, rounds=given.rounds)
    if "decisions" in wanted:
        figures += await decisions.bench(
            folder, waiting=given.waiting, rate=given.rate, seconds=given.seconds
        )
    if "reviews" in wanted:
        figures += await reviews.bench(folder, items=given.items, rounds=given.rounds)
    if "lists" in wanted:
        figures += await lists.bench(
            folder, most=given.submissions, rounds=given.times, url=given.database
        )
    if "act" in wanted:
        (folder / "act").mkdir()
        figures += await act.bench(folder / "act")
    if "load" in wanted:
        figures += await load.bench(folder, waiting=given.waiting)
    if "replay" in wanted:
        figures += await replaying.bench()
    await asyncio.sleep(0.1)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "only",
        nargs="*",
        choices=[
            "decisions",
            "reviews",
            "screening",
            "startup",
            "lists",
            "act",
            "load",
            "replay",
            [],
        ],
    )
    parser.add_argument("--waiting", type=int, default=2000, help="submissions that wait")
    parser.add_argument("--rate", type=float, default=10, help="decisions a second")
    parser.add_argument("--seconds", type=float, default=60, help="how long decisions come in")
    parser.add_argument("--items", type=int, default=60, help="whole reviews a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--submissions", type=int, default=10_000, help="the fullest ledger's")
    parser.add_argument("--database", help="of lists: an empty PostgreSQL database's URL")
    parser.add_argument("--times", type=int, default=100, help="each request of lists")
    parser.add_argument("--json", type=Path, help="a file to write the figures to, for charts")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    cores, before = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"{platform.machine()}, {cores} cores, load before {before:.2f}", flush=True)
    try:
        figures = asyncio.run(run(given, folder))
        print(show(figures))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    after = os.getloadavg()[0]
    print(f"load after {after:.2f}")
    if given.json:
        given.json.write_text(as_json(figures, (before, after)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
