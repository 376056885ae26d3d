"""The yardstick: a workflow that does nothing but wait for signals and write fsynced rows.

It gets the same signals and runs as many activities as a whole review; each activity writes one
row. What is judged, recorded, told and published besides is what the whole costs above this.
"""

import asyncio
import signal
import sqlite3
import sys
import threading
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

TASK_QUEUE = "bare"


@workflow.defn(name="Bare")
class Bare:
    """Write a row, wait for a signal, write a row, …; then write the rest."""

    def __init__(self) -> None:
        self._signals = 0

    @workflow.run
    async def run(self, signals: int, activities: int) -> None:
        for number in range(activities):
            if number and number <= signals:
                await workflow.wait_condition(lambda number=number: self._signals >= number)
            await workflow.execute_activity(
                "row",
                args=[workflow.info().workflow_id, number],
                start_to_close_timeout=timedelta(seconds=30),
            )

    @workflow.signal
    def decided(self) -> None:
        self._signals += 1


class Rows:
    """Writes rows, each in a transaction of its own."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE IF NOT EXISTS row (id TEXT, n INTEGER)")
        self._lock = threading.Lock()

    @activity.defn(name="row")
    async def row(self, id_: str, number: int) -> None:
        await asyncio.to_thread(self._write, id_, number)

    def _write(self, id_: str, number: int) -> None:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT INTO row VALUES (?, ?)", (id_, number))
            self._db.execute("COMMIT")


async def serve(address: str, path: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await Client.connect(address)
    async with Worker(client, task_queue=TASK_QUEUE, workflows=[Bare], activities=[Rows(path).row]):
        await stop.wait()
    await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:3]))
