"""Nobody finds a way past the review: random acts over every surface against the model.

What is compared stands in `machine.py`; what the model knows, in `model.py`.
"""

import pytest

from tests.attack.machine import Tally
from tests.attack.mutants import MUTANTS, ROOT
from tests.attack.mutants import attack as attack_mutant
from tests.attack.run import attack

RULES = {
    "after_a_failure", "classify", "decide_anything", "decide_open", "decide_twice", "delegate",
    "disable", "edit", "edit_in_time", "engine_away", "full_disk", "go_on", "go_through",
    "go_to_a_deadline", "heal", "hold", "letter", "link_in_time", "look", "operator_reset",
    "outlive_a_trust", "press_link", "publish_by_hand", "publish_late", "publish_what_is_due",
    "reassign", "renew", "replay", "revoke", "stop_finding", "submit", "tamper", "transfer", "wait",
    "withdraw", "without_csrf",
}  # fmt: skip


def assert_worth_something(tally: Tally, least: int) -> None:
    """Runs that publish nothing, and rules that hardly fire, show nothing."""
    assert tally.published_runs >= tally.runs / 10, tally.line()
    for name in sorted(RULES):
        assert tally.rules[name] >= least, f"{name} hardly fires: {tally.line()}"


def test_random_acts_are_answered_as_the_model_says() -> None:
    """A seeded sample; invariants 1 to 5 of requirements 0 after each step."""
    tally = attack(runs=20, steps=25, first=7, enough=lambda t: all(t.rules[r] for r in RULES))

    print(tally.line())
    assert_worth_something(tally, least=1)


@pytest.mark.long
def test_many_random_acts_are_answered_as_the_model_says() -> None:
    tally = attack(runs=600, steps=40, first=1_000)

    print(tally.line())
    assert_worth_something(tally, least=30)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what.replace(" ", "-"))
def test_each_seeded_bug_still_has_its_line(mutant) -> None:
    """A bug that no longer applies would not be looked for."""
    source = (ROOT / mutant.file).read_text(encoding="utf-8")

    assert source.count(mutant.old) == 1
    compile(source.replace(mutant.old, mutant.new), mutant.file, "exec")


def test_there_are_enough_seeded_bugs_and_each_differs() -> None:
    assert len(MUTANTS) >= 24
    assert len({(m.file, m.old, m.new) for m in MUTANTS}) == len(MUTANTS)


@pytest.mark.long
@pytest.mark.parametrize("number", range(1, len(MUTANTS) + 1))
def test_each_seeded_bug_is_found(number: int) -> None:
    kill = attack_mutant(number, runs=400)

    assert kill.found, f"{kill.mutant.what} was not found in {kill.seconds:.0f} s"
