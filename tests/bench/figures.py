"""How figures are kept and shown: medians and tails, and what the machine itself allows."""

import json
import os
import platform
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    value: str
    floor: str = ""
    aim: str = ""
    # The same in numbers, for a chart: {"of": a line's name, "x": its place, …: what was measured}.
    numbers: Mapping[str, float | str] | None = None


def share(values: Sequence[float], part: float) -> float:
    """Return the value that `part` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")


def ms(values: Sequence[float]) -> str:
    """Return p50 and p99 in milliseconds, with how many were measured."""
    p50, p99 = share(values, 0.5) * 1000, share(values, 0.99) * 1000
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms (n={len(values)})"


def as_json(figures: Iterable[Figure], load: tuple[float, float]) -> str:
    """Return figures with the machine they are of.

    Args:
        load: Of the machine in the minute before and the minute after: over a core or so, what was
            taken by the clock says nothing.
    """
    machine = {
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "sqlalchemy": version("sqlalchemy"),
        "temporalio": version("temporalio"),
        "load": load,
    }
    told = [
        {"what": f.what, "value": f.value, "floor": f.floor, "aim": f.aim}
        | ({"numbers": dict(f.numbers)} if f.numbers else {})
        for f in figures
    ]
    return json.dumps({"machine": machine, "figures": told}, ensure_ascii=False, indent=1) + "\n"


def show(figures: Iterable[Figure]) -> str:
    rows = [("what", "measured", "floor of this machine", "aim")]
    rows += [(f.what, f.value, f.floor, f.aim) for f in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in rows]  # fmt: skip
    return "\n".join([lines[0], "-" * sum(widths), *lines[1:]])


def fsync_floor(folder: Path, times: int = 200, every_seconds: float = 0.02) -> list[float]:
    """Time a ledger transaction that does nothing but write one row and fsync it.

    The same SQLite settings as the ledger's; spaced out, as decisions are.
    """
    path = folder / "floor.db"
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE IF NOT EXISTS row (n INTEGER)")
    taken = []
    for number in range(times):
        began = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO row VALUES (?)", (number,))
        connection.execute("COMMIT")
        taken.append(time.perf_counter() - began)
        time.sleep(every_seconds)
    connection.close()
    return taken
