"""`python -m tests.faults --seed 7 --items 60 --kills 40`: one JSON line a drill."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults.drill import drill


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--items", type=int, default=60)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--runs", type=int, default=1, help="drills, each with the next seed")
    parser.add_argument("--keep", action="store_true", help="leave the folders for a look")
    given = parser.parse_args()
    bad = 0
    for seed in range(given.seed, given.seed + given.runs):
        folder = Path(tempfile.mkdtemp(prefix=f"drill-{seed}-"))
        report = asyncio.run(drill(folder, seed=seed, items=given.items, kills=given.kills))
        print(report.line(), flush=True)
        bad += not report.is_clean
        if given.keep or not report.is_clean:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
