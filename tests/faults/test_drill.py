"""Acknowledged means committed, whatever is killed (design, principles 2 to 5; R1.3-6)."""

from pathlib import Path

import pytest

from tests.faults.drill import drill


async def test_kills_lose_double_and_forge_nothing(tmp_path: Path) -> None:
    report = await drill(tmp_path, seed=20261123, items=60, kills=20)

    print(report.line())
    assert report.is_clean, report.line()
    assert report.items >= 60 and report.kills >= 20


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
async def test_long_row_of_kills_loses_nothing_either(tmp_path: Path, seed: int) -> None:
    report = await drill(tmp_path, seed=seed, items=100, kills=60, patience_seconds=300)

    print(report.line())
    assert report.is_clean, report.line()
