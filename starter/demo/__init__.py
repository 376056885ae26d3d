"""The demo bureau: its people and sample submissions (`up --demo`), and a day at it (`demo`)."""

from pathlib import Path

from starter.demo.bureau import ACCOUNTS, seed

__all__ = ["ACCOUNTS", "run_demo", "seed"]


def run_demo(data: Path | None = None, *, as_json: bool = False) -> int:
    """Let everybody do their day's work; see `starter.demo.day`, which `up` needn't import."""
    from starter.demo import day

    return day.run_demo(data, as_json=as_json)
