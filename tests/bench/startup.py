"""From `sanshen up` to ready: on an empty folder and again."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.decisions import median
from tests.bench.figures import Figure
from tests.faults.whole import REPOSITORY, Tree

IMPORTS = "import starter.web.app, starter.reviews"


async def bench(folder: Path, *, rounds: int = 3) -> list[Figure]:
    """Start and end it a few times; quote medians."""
    fresh, again = [], []
    for number in range(rounds):
        data = folder / f"start-{number}"
        data.mkdir()
        for taken in (fresh, again):
            with Tree(data) as tree:
                taken.append(await asyncio.to_thread(tree.start))
    imports = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", IMPORTS], check=True, cwd=REPOSITORY)
        imports.append(time.perf_counter() - began)
    floor = f"a Python that imports the web alone: {median(imports):.1f} s"
    return [
        Figure("up to ready, empty folder", f"{median(fresh):.1f} s", floor, "8 s"),
        Figure("up to ready, again", f"{median(again):.1f} s", floor, "8 s"),
    ]
