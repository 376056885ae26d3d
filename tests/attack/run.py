"""Run the machine a number of times from a seed."""

from collections.abc import Callable

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.attack import machine
from tests.attack.machine import Attack, Tally

BATCH = 20  # runs from one seed: Hypothesis varies what it has seen, a fresh seed starts afresh
MORE = 3  # batches on top, for rules that did not come up


def attack(
    runs: int,
    steps: int,
    first: int,
    *,
    shrink: bool = True,
    enough: Callable[[Tally], bool] = lambda _tally: True,
) -> Tally:
    """Attack, and return what happened; an AssertionError shows the acts that lead there.

    Args:
        first: The seed of the first batch.
        enough: Whether everything came up; if not, some runs more are added.
    """
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    tally = machine.TALLY = Tally()
    sizes = [min(BATCH, runs - done) for done in range(0, runs, BATCH)] + [BATCH // 2] * MORE
    for number, size in enumerate(sizes):
        if tally.runs >= runs and enough(tally):
            break
        terms = settings(
            max_examples=size, stateful_step_count=steps, deadline=None, database=None,
            suppress_health_check=list(HealthCheck), phases=phases, print_blob=False,
        )  # fmt: skip
        run_state_machine_as_test(seed(first + number)(Attack), settings=terms)
    return tally
