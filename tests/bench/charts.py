"""`python -m tests.bench.charts FIGURES.json …`: draw what grows, a picture a question.

Reads what `python -m tests.bench … --json FILE` wrote; writes SVG into docs/performance/.
"""

import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pygal

from starter.web.charts import STYLE

FOLDER = Path(__file__).parents[2] / "docs" / "performance"
SHOWN = ("GET /api/v1/inbox, 40 rows", "GET /api/v1/board", "page /board", "page /items/{id}")
Json = dict[str, Any]


def lines(title: str, unit: str, named: dict[str, Sequence[tuple[float, float]]]) -> bytes:
    """Return lines over the number of submissions, which goes up tenfold from mark to mark."""
    places = sorted({x for points in named.values() for x, _ in points})
    chart = pygal.XY(
        style=STYLE, js=(), pretty_print=True, width=820, height=420, legend_at_bottom=True,
        title=title, y_title=unit, include_x_axis=True, disable_xml_declaration=True,
        x_labels=[{"value": math.log10(x), "label": f"{x:,.0f}"} for x in places],
    )  # fmt: skip
    chart.uuid = "lines"  # the same numbers give the same picture
    for name, points in named.items():
        chart.add(name, [(math.log10(x), y) for x, y in sorted(points)])
    drawn: str = chart.render(is_unicode=True)
    return drawn.encode()


def points_of(figures: Iterable[Json], measured: str) -> dict[str, list[tuple[float, float]]]:
    """Return what was measured, by the line's name."""
    found: dict[str, list[tuple[float, float]]] = {}
    for figure in figures:
        numbers = figure.get("numbers", {})
        if measured in numbers:
            found.setdefault(numbers["of"], []).append((numbers["x"], numbers[measured]))
    return found


def main() -> int:
    """Draw every picture that the given files have numbers for; 2 without files."""
    if not sys.argv[1:]:
        print(__doc__, file=sys.stderr)
        return 2
    figures = [
        figure
        for name in sys.argv[1:]
        for figure in json.loads(Path(name).read_text(encoding="utf-8"))["figures"]
    ]
    FOLDER.mkdir(parents=True, exist_ok=True)
    requests = {
        name: points
        for name, points in points_of(figures, "processor_ms").items()
        if name.rpartition(", ")[0] in SHOWN
    }
    sizes = {
        name.removeprefix("bytes, "): [(x, y / 1024) for x, y in points]
        for name, points in points_of(figures, "bytes").items()
    }
    for file, title, unit, named in (
        ("requests.svg", "Processor time a request, by submissions in the ledger", "ms", requests),
        ("ledger.svg", "Ledger a submission, by submissions in the ledger", "KiB", sizes),
    ):
        if named:
            (FOLDER / file).write_bytes(lines(title, unit, named))
            print(FOLDER / file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
