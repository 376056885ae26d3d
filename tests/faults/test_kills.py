"""SIGKILL of worker, web, engine and all of them at random: nothing is lost, nothing is doubled."""

import json

import pytest

from tests.faults.bureau import drill

MUST_BE_ZERO = (
    "acked_lost", "phantom", "duplicates", "conflicting_answers", "double_published",
    "unauthorised", "stuck",
)  # fmt: skip


def check(result: dict[str, object], kills: int) -> None:
    print(json.dumps(result))
    assert {name: result[name] for name in MUST_BE_ZERO} == dict.fromkeys(MUST_BE_ZERO, 0)
    assert result["published"] == result["items"]
    assert result["audit_verify"]
    assert sum(result["faults"].values()) >= kills  # type: ignore[attr-defined]


async def test_sixty_items_survive_kills_at_random(tmp_path):
    check(await drill(tmp_path, seed=20261123, items=60, kills=20), 20)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
async def test_hundreds_of_kills(tmp_path, seed):
    check(await drill(tmp_path, seed=seed, items=300, kills=100), 100)
