"""The demo bureau: its people and sample submissions (`up --demo`), and a day at it (`demo`)."""

from starter.demo.bureau import ACCOUNTS, seed
from starter.demo.day import run_demo

__all__ = ["ACCOUNTS", "run_demo", "seed"]
