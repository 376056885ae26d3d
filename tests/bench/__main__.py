"""`python -m tests.bench [decisions] [reviews] [screening] [startup] [lists]`: print one table.

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

from tests.bench import decisions, lists, reviews, screening, startup
from tests.bench.figures import show


async def run(given: argparse.Namespace, folder: Path) -> str:
    figures = []
    wanted = given.only or ["decisions", "reviews", "screening", "startup"]
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
        figures += await lists.bench(folder, most=given.submissions, url=given.database)
    await asyncio.sleep(0.1)
    return show(figures)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "only", nargs="*", choices=["decisions", "reviews", "screening", "startup", "lists", []]
    )
    parser.add_argument("--waiting", type=int, default=2000, help="submissions that wait")
    parser.add_argument("--rate", type=float, default=10, help="decisions a second")
    parser.add_argument("--seconds", type=float, default=60, help="how long decisions come in")
    parser.add_argument("--items", type=int, default=60, help="whole reviews a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--submissions", type=int, default=10_000, help="the fullest ledger's")
    parser.add_argument("--database", help="of lists: an empty PostgreSQL database's URL")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"{platform.machine()}, {cores} cores, load before {load:.2f}", flush=True)
    try:
        print(asyncio.run(run(given, folder)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"load after {os.getloadavg()[0]:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
