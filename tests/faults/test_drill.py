"""Acknowledged means committed, whatever is killed (design, principles 2 to 5; R1.3-6)."""

from pathlib import Path

import pytest

from tests.faults.drill import drill


async def test_kills_lose_double_and_forge_nothing(tmp_path: Path) -> None:
    report = await drill(tmp_path, seed=20261123, items=12, kills=60, patience_seconds=240)

    print(report.line())
    assert report.is_clean, report.line()
    assert report.items >= 12 and report.kills >= 60


@pytest.mark.long
@pytest.mark.parametrize(
    ("seed", "items", "kills"), [(20261123, 60, 20), *((seed, 100, 60) for seed in range(5))]
)
async def test_long_row_of_kills_loses_nothing_either(
    tmp_path: Path, seed: int, items: int, kills: int
) -> None:
    report = await drill(tmp_path, seed=seed, items=items, kills=kills, patience_seconds=300)

    print(report.line())
    assert report.is_clean, report.line()
