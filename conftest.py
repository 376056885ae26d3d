"""`--long` runs the long tests too; with SANSHEN_REQUIRE_ALL=1 a skipped test is an error."""

import os
from collections.abc import Generator
from typing import Any

import pytest

Report = pytest.TestReport | pytest.CollectReport


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the long tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _required((yield))


def _required(report: Any) -> Any:
    """Turn a skip into a failure where everything must run; an expected failure is none."""
    if report.skipped and not hasattr(report, "wasxfail") and os.getenv("SANSHEN_REQUIRE_ALL"):
        report.outcome = "failed"
        report.longrepr = f"skipped although SANSHEN_REQUIRE_ALL is set: {report.longrepr}"
    return report
