"""`python -m tests.attack [--runs 200] [--steps 40] [--seed 7]`: attack, print what happened."""

import argparse
import logging
import sys

import structlog

from tests.attack.run import attack


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--quick", action="store_true", help="do not look for a smaller example")
    given = parser.parse_args()
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=quiet)
    logging.getLogger("httpx").setLevel(logging.CRITICAL)
    tally = attack(given.runs, given.steps, given.seed, shrink=not given.quick)
    print(tally.line())
    return 0


if __name__ == "__main__":
    sys.exit(main())
