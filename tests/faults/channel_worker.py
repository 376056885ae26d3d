"""A worker for the show on channels: as shipped, but for shorter waits and a faster pace.

`python -m tests.faults.channel_worker LEDGER ENGINE HOST,HOST`
"""

import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from temporalio.client import Client

from activities import push, wechat
from activities.connections import Connections, Place, installed
from activities.outgoing import Outgoing
from review.acts.connecting import PURPOSE
from review.payloads import converter
from review.records.engine import Ledger
from review.records.kept import Box
from workers.__main__ import paced_workers, worker

KEY = b"k" * 40
LOOKS = (0.2, 0.3, 0.5, 1.0, 1.5)  # seconds, for the four hours of the real ones
SOON = 0.5


async def main(ledger_url: str, engine: str, hosts: str) -> None:
    for table in (wechat.LATER, push.LATER):
        for code in table:
            table[code] = SOON
    ledger = Ledger(ledger_url)
    client = await Client.connect(engine, data_converter=converter({}))
    folder = Path(tempfile.mkdtemp())
    place = Place(
        data=folder,
        public_url="http://127.0.0.1",
        blob=lambda digest: folder / digest,
        outgoing=Outgoing(hosts.split(",")),
        connect=Connections(ledger, Box(KEY, PURPOSE), {}),
    )
    channels = installed(place)
    wechat.Wechat.per_second = push.Push.per_second = 100.0
    async with AsyncExitStack() as running:
        workers = [worker(client, ledger, channels, confirm_after=LOOKS)]
        workers += paced_workers(client, ledger, channels, confirm_after=LOOKS)
        for one in workers:
            await running.enter_async_context(one)
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
