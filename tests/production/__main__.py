"""`python -m tests.production [demo] [faults] [reviews] [decisions]`: the engine as in production.

Builds Temporal's server and its schema tool from their Go module (once, into a cache), starts
PostgreSQL and the services as separate processes with the settings of `deploy/`, and runs on them
what is asked for; prints one table. Needs Go, and minutes; no part of CI.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench.figures import Figure, show
from tests.production import stages
from tests.production.build import BuildError, build, cache, version
from tests.production.cluster import Cluster, cluster

STAGES = ("demo", "faults", "reviews", "decisions")


def main() -> int:
    given = _arguments()
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)

    wanted = given.version or version("temporal")
    say(f"building Temporal {wanted} in {given.cache} (minutes, the first time)")
    try:
        programs = build("temporal", given.cache, wanted)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 3
    folder = Path(tempfile.mkdtemp(prefix="production-"))
    try:
        figures = _run(given, folder, programs, say)
    except BaseException:
        print(f"kept: {folder}", file=sys.stderr)
        raise
    if not given.keep:
        shutil.rmtree(folder)
    print(show(figures))
    return 0


def _run(given: argparse.Namespace, folder: Path, programs: Path, say: stages.Say) -> list[Figure]:
    figures: list[Figure] = []
    with (
        cluster(folder, programs, shards=given.shards, together=given.together) as engine,
        ExitStack() as ending,
    ):
        say("users, databases, schemas (twice)")
        engine.make_schema()
        engine.check_dynamic_config()
        kinds = ", ".join(
            f"{count} {name or 'all in one'}" for name, count in engine.services.items()
        )
        say(f"starting {kinds}, {engine.shards} shards")
        engine.start(ending)
        say(f"all run, {engine.restarts} started again; namespace")
        engine.make_namespace("default")
        for name in given.only or STAGES:
            for workers in given.workers if name in ("reviews", "decisions") else [2]:
                say(f"{name}, {workers} workers ({stages.machine()})")
                figures += asyncio.run(_stage(name, workers, given, folder, engine, say))
                for part in engine.parts.values():
                    part.require_running()
        say(f"done ({stages.machine()})")
    return figures


async def _stage(
    name: str,
    workers: int,
    given: argparse.Namespace,
    folder: Path,
    engine: Cluster,
    say: stages.Say,
) -> list[Figure]:
    try:
        match name:
            case "demo":
                return await stages.demo(engine, folder, say)
            case "faults":
                return await stages.faults(
                    engine, folder, say, seed=given.seed, items=given.under_way, kills=given.kills
                )
            case "reviews":
                return await stages.reviews(engine, folder, workers=workers, items=given.items)
            case _:
                return await stages.decisions(
                    engine, folder, workers=workers, waiting=given.waiting, rate=given.rate,
                    seconds=given.seconds,
                )  # fmt: skip
    finally:
        await asyncio.sleep(0.1)  # sdk-python#300: the interpreter aborts without


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.production", description=__doc__.partition("\n\n")[2]
    )
    parser.add_argument("only", nargs="*", choices=[*STAGES, []])
    parser.add_argument("--cache", type=Path, default=cache(), help="where programs are kept")
    parser.add_argument("--version", help="of the server; unless told, compose.yaml's")
    parser.add_argument("--shards", type=int, default=0, help="unless told, compose.yaml's")
    parser.add_argument("--together", action="store_true", help="one process, as compose.yaml's")
    parser.add_argument("--seed", type=int, default=1, help="of the kills")
    parser.add_argument("--under-way", type=int, default=20, help="items while processes die")
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--items", type=int, default=60, help="whole reviews")
    parser.add_argument("--waiting", type=int, default=500, help="submissions that wait")
    parser.add_argument("--rate", type=float, default=5, help="decisions a second")
    parser.add_argument("--seconds", type=float, default=40, help="how long they come in")
    parser.add_argument("--keep", action="store_true", help="leave the folder for a look")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
