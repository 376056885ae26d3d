"""The worker process: `python -m workers`. Builds the clients, hands them to the activities."""

import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import structlog
import uvloop
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.advance import Advancer, Clock, system_clock
from activities.channels import Channel, Limited, Site
from activities.connections import Connections, Place, installed
from activities.links import Links
from activities.mailbox import FolderMailbox, Mailbox, SmtpMailbox
from activities.messages import Messenger
from activities.mind import Minder
from activities.notify import Notifier
from activities.outgoing import Outgoing
from activities.patrol import Patroller
from activities.posting import Poster
from activities.publish import CONFIRM_AFTER_SECONDS, Publisher
from activities.report import Reporter
from activities.retain import Retainer
from activities.robots import Robots
from review import logs, tracing
from review.acts.connecting import PURPOSE as CHANNEL_SECRETS
from review.blobs import Blobs
from review.engine import EngineOldError, connect, require_version
from review.notice_ways import named_ways
from review.records.checkpoints import Keys, Watch, keys_in
from review.records.engine import Ledger
from review.records.hook_keys import PURPOSE as HOOKS
from review.records.kept import Box
from review.records.ways import PURPOSE as NOTICE_WAYS
from review.rendering import WEBSITE
from review.settings import Settings, SettingsError, load
from workers.announcer import Announcer
from workers.relay import Relay
from workers.sealing import Sealer
from workflows.names import TASK_QUEUE
from workflows.replays import WORKFLOWS, IncompatibleError, require_compatible
from workflows.schedules import schedule_bulletins, schedule_patrol, schedule_retention

log = structlog.get_logger()

# A cached workflow of a killed worker answers after this, not after ten seconds (design).
STICKY = timedelta(seconds=2)
# What is under way may finish; the supervisor kills after ten seconds.
GRACE = timedelta(seconds=5)
# Memory is bounded by the cache, not by what waits: about 110 kB each (design).
CACHED_WORKFLOWS = 1000


def worker(
    client: Client,
    ledger: Ledger,
    channels: Mapping[str, Channel],
    clock: Clock = system_clock,
    *,
    task_queue: str = TASK_QUEUE,
    engine_clock: Clock | None = None,
    watch: Watch | None = None,
    blobs: Blobs | None = None,
    links: Links | None = None,
    confirm_after: Sequence[float] = CONFIRM_AFTER_SECONDS,
    **options: Any,
) -> Worker:
    """Return a worker for every workflow and activity of ours."""
    advancer = Advancer(ledger, clock, engine_clock=engine_clock)
    minder = Minder(ledger, clock, engine_clock=engine_clock)
    paced = {name: queue_of(name) for name, one in channels.items() if isinstance(one, Limited)}
    patroller = Patroller(ledger, channels, clock)
    publisher = Publisher(
        ledger,
        channels,
        clock,
        watch=watch,
        blobs=blobs,
        confirm_after=confirm_after,
        elsewhere=paced,
        links=links,
    )
    reporter = Reporter(ledger, clock)
    retainer = Retainer(ledger, blobs, clock)
    settings: dict[str, Any] = {
        "max_cached_workflows": CACHED_WORKFLOWS,
        "sticky_queue_schedule_to_start_timeout": STICKY,
        "graceful_shutdown_timeout": GRACE,
        # The sandbox is for tests, where it finds what is not deterministic (decision 0007).
        "workflow_runner": UnsandboxedWorkflowRunner(),
    }
    return Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=[
            advancer.advance,
            publisher.publish,
            minder.mind,
            patroller.patrol,
            reporter.due,
            reporter.prepare,
            retainer.retain,
        ],
        **(settings | options),
    )


def queue_of(platform: str) -> str:
    """Return the task queue of a platform that takes only so much."""
    return f"{TASK_QUEUE}-{platform}"


def paced_workers(
    client: Client,
    ledger: Ledger,
    channels: Mapping[str, Channel],
    clock: Clock = system_clock,
    *,
    watch: Watch | None = None,
    blobs: Blobs | None = None,
    links: Links | None = None,
    confirm_after: Sequence[float] = CONFIRM_AFTER_SECONDS,
    **options: Any,
) -> list[Worker]:
    """Return a worker for each platform with a pace of its own, which the engine keeps for all."""
    publisher = Publisher(
        ledger, channels, clock, watch=watch, blobs=blobs, links=links, confirm_after=confirm_after
    )
    settings: dict[str, Any] = {
        "max_concurrent_activities": 10,
        "max_concurrent_activity_task_polls": 2,
        "graceful_shutdown_timeout": GRACE,
    }
    return [
        Worker(
            client,
            task_queue=queue_of(platform),
            activities=[publisher.publish],
            max_task_queue_activities_per_second=channel.per_second,
            **(settings | options),
        )
        for platform, channel in channels.items()
        if isinstance(channel, Limited)
    ]


def audit_keys(settings: Settings) -> Keys:
    """Return the keys of checkpoints, as set or as kept in DATA."""
    return keys_in(settings.keys, [key.get_secret_value() for key in settings.audit_keys])


def _mailbox(settings: Settings) -> Mailbox:
    """Return where letters go: the mail server that is named, else a folder."""
    if settings.smtp_url is not None:
        return SmtpMailbox(settings.smtp_url.get_secret_value())
    return FolderMailbox(settings.data / "mail")


def runtime_of(settings: Settings) -> Runtime | None:
    """Return the SDK's runtime with its metrics shown to Prometheus; None where nobody asks."""
    if settings.metrics_address is None:
        return None
    shown = PrometheusConfig(bind_address=settings.metrics_address)
    return Runtime(telemetry=TelemetryConfig(metrics=shown))


async def serve(settings: Settings) -> None:
    """Work until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    named = named_ways(settings)
    client = await connect(settings, runtime=runtime_of(settings))
    log.info("engine_found", version=await require_version(client))
    replayed = await require_compatible(client, settings.replay_gate)
    log.info("histories_replayed", count=replayed)
    ledger = Ledger(settings.ledger_url, settings.digests)
    blobs = Blobs(settings.data / "blobs")
    outgoing = Outgoing(settings.internal_hosts)
    reading = Outgoing(settings.internal_hosts, needs_tls=False)
    links = Links(reading)
    secret = settings.secret_key.get_secret_value().encode()
    box = Box(secret, CHANNEL_SECRETS)
    place = Place(
        data=settings.data,
        public_url=settings.public_url,
        blob=blobs.path,
        outgoing=outgoing,
        connect=Connections(ledger, box, settings.channel_secrets_by_id),
    )
    channels = installed(place)
    site = channels[WEBSITE]
    if isinstance(site, Site):
        await site.lay_out()
    notifier = Notifier(
        ledger,
        _mailbox(settings),
        system_clock,
        public_url=settings.public_url,
        sender=settings.mail_from,
        language=settings.language,
        named=named,
        links_last=timedelta(hours=settings.decision_link_hours),
    )
    public = Outgoing()
    messenger = Messenger(
        ledger,
        Robots(outgoing, public),
        named,
        Box(secret, NOTICE_WAYS),
        system_clock,
        public_url=settings.public_url,
        language=settings.language,
    )
    relay = Relay(ledger, client, notifier, system_clock, messenger=messenger)
    watch = Watch(settings.checkpoints, audit_keys(settings))
    sealer = Sealer(ledger, watch, system_clock)
    announcer = Announcer(
        ledger,
        Poster(settings.internal_hosts),
        Box(settings.secret_key.get_secret_value().encode(), HOOKS),
        system_clock,
        public_url=settings.public_url,
    )
    async with AsyncExitStack() as running:
        await running.enter_async_context(
            worker(client, ledger, channels, watch=watch, blobs=blobs, links=links)
        )
        for paced in paced_workers(client, ledger, channels, watch=watch, blobs=blobs, links=links):
            await running.enter_async_context(paced)
        await schedule_patrol(client)
        await schedule_bulletins(client)
        await schedule_retention(client)
        log.info("worker_ready", task_queue=TASK_QUEUE)
        relaying = asyncio.create_task(relay.run())
        sealing = asyncio.create_task(sealer.run())
        stopping = asyncio.create_task(stop.wait())
        announcing = asyncio.create_task(announcer.run())
        tasks = {relaying, sealing, announcing, stopping}
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for task in done - {stopping}:
            task.result()  # what ended had a bug: end with it, and be started again
    await sealer.seal(at_all=True)
    await outgoing.aclose()
    await reading.aclose()
    await public.aclose()
    ledger.close()
    await asyncio.sleep(0.1)  # sdk-python#300: the interpreter aborts without


def main() -> int:
    """Run the worker; 2 for a wrong setting, 3 when the engine can't be reached or is too old.

    1 when what runs there can't go on with this version's workflows.
    """
    try:
        settings = load()
        named_ways(settings)  # a wrong one ends the start
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    logs.configure(settings.log_format, settings.log_level)
    tracing.begin(settings.otlp_url, "sanshen-worker")
    try:
        uvloop.run(serve(settings))
    except IncompatibleError as error:
        print(error, file=sys.stderr)
        return 1
    except EngineOldError as error:
        print(error, file=sys.stderr)
        return 3
    except RuntimeError as error:
        log.error("worker_ended", reason=type(error).__name__)
        return 3
    finally:
        tracing.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
