"""`sanshen up`: ledger, engine, worker and web as one process tree on one folder."""

import asyncio
import base64
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import structlog

from review import logs
from review.settings import KEYS, PAYLOAD_KEYS_FILE, SECRETS_FILE, Settings, SettingsError, load
from review.texts import text
from starter.engine import HOST, EmbeddedEngine, check_port, free_port
from starter.errors import StartError
from starter.processes import Child, end_stale, identity

# -P: a folder called `workers` where the command is given must not be taken for ours.
PROGRAMS: Mapping[str, Sequence[str]] = {
    "worker": (sys.executable, "-P", "-m", "starter.part", "workers"),
    "web": (sys.executable, "-P", "-m", "starter.part", "starter.web"),
}

# Settings of production that the embedded whole has no use for.
HIDDEN = (
    "DATABASE_URL",
    "TEMPORAL_TLS",
    "TEMPORAL_TLS_CA",
    "TEMPORAL_TLS_CERT",
    "TEMPORAL_TLS_KEY",
    "TEMPORAL_TLS_SERVER_NAME",
    "TEMPORAL_API_KEY",
)

READY_WITHIN = 60.0  # seconds; 8 is the aim on two cores, the rest is for a busy machine
DEATHS_BEFORE_READY = 3  # of one part; then it is not coming up
ORPHANS_GONE_WITHIN = 5.0  # seconds; the kernel kills a dead supervisor's children at once
PARTS_STOP_WITHIN = 6.0  # seconds; with the engine's 3 it stays under the contract's 10
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before a part that died is started again
STEADY_AFTER = 60.0  # seconds; a part that lived so long starts with the first pause again

log = structlog.get_logger(__name__)


class Whole:
    """Everything on one folder: sets up what is missing, starts the parts, keeps them alive.

    Sets DATA, DATABASE_URL, TEMPORAL_*, WEB_PORT and, unless it is given, PUBLIC_URL itself; every
    other setting comes from the environment as elsewhere.
    """

    def __init__(
        self,
        data: Path,
        *,
        port: int = 8080,
        engine_port: int = 7233,
        demo: bool = False,
        policy: str | None = None,
        programs: Mapping[str, Sequence[str]] = PROGRAMS,
    ) -> None:
        """Describe it; nothing is touched yet.

        Args:
            data: The folder; made when missing, private to its owner.
            port: The web's; 0 takes a free one.
            engine_port: The engine's; 0 takes a free one.
            demo: Fill an empty ledger with the demo bureau.
            policy: A rule pack's file or the name of a shipped one; unless told, the setting's.
            programs: What runs beside the engine, by name; `web` answers `/readyz`.
        """
        self._data = data.expanduser().absolute()
        self._asked = {"--port": port, "--engine-port": engine_port}
        self._demo = demo
        self._policy = policy
        self._programs = programs
        self._engine = EmbeddedEngine(self._data, port=engine_port, spare=port)
        self._port = 0
        self._parts: dict[str, Child] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._deaths: dict[str, int] = {}
        self._ready = False

    @property
    def url(self) -> str:
        """Return the web's address."""
        return f"http://{HOST}:{self._port}"

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start everything; return once the web answers that all of it is ready.

        Raises:
            StartError: Something outside is in the way; `stop` clears up what was started.
            SettingsError: A setting is wrong.
        """
        for option, port in self._asked.items():
            if not 0 <= port <= 65535:
                raise StartError("port_wrong", exit_code=2, option=option, port=port)
        policy = _checked_policy(self._policy)
        self._make_folder()
        self._take_folder()
        _keep_secret_key(self._data / SECRETS_FILE)
        _keep_payload_key(self._data / KEYS / PAYLOAD_KEYS_FILE)
        self._port = self._asked["--port"] or free_port()
        check_port(self._port, "--port")
        self._engine.codec_endpoint = f"{self.url}/codec"
        self._engine.open()
        settings = self._settings(policy)
        await self._engine.child.start()
        self._keep("engine", self._engine.child)
        await asyncio.gather(
            self._engine.prepare(), asyncio.to_thread(set_up_ledger, settings, self._demo)
        )
        environment = self._environment(settings)
        for name, command in self._programs.items():
            part = Child(
                name,
                command,
                log=self._data / "logs" / f"{name}.log",
                environment=environment,
                keep_open=(self._engine.lock,),
            )
            await part.start()
            self._keep(name, part)
        await self._web_answers()
        self._ready = True
        self._note()

    async def stop(self) -> None:
        """End every part, the engine last, within 10 s; can be called at any time."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._keepers.clear()
        programs = [part for name, part in self._parts.items() if name != "engine"]
        await asyncio.gather(*(part.stop(PARTS_STOP_WITHIN) for part in programs))
        if "engine" in self._parts:
            (self._data / "run.json").unlink(missing_ok=True)
        self._parts.clear()
        await self._engine.stop()

    def _make_folder(self) -> None:
        try:
            self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._data.chmod(0o700)
            (self._data / "logs").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StartError("data_unwritable", data=self._data, why=error.strerror) from error

    def _take_folder(self) -> None:
        """Lock the folder; what a killed supervisor left on it is ended first."""
        try:
            self._engine.lock_folder()
        except StartError as error:
            left = _noted(self._data / "run.json")
            pid, noted = left.pop("supervisor", (0, ""))
            if error.code != "data_in_use" or not left or identity(pid) == noted:
                raise
            log.warning("orphans_ended", parts=end_stale(left))
            self._engine.lock_folder(ORPHANS_GONE_WITHIN)

    def _settings(self, policy: str | None) -> Settings:
        """Return the settings of the parts; what is ours to say beats the environment."""
        ours: dict[str, Any] = {
            **{name.lower(): "" for name in HIDDEN},
            "data": self._data,
            "temporal_address": self._engine.address,
            "temporal_namespace": "default",
            "temporal_ui_url": f"http://{HOST}:{self._engine.ui_port}",
            "web_port": self._port,
        }
        settings = load(**ours, **({"policy": policy} if policy else {}))
        if settings.public_url == Settings.model_fields["public_url"].default:
            settings = load(**ours, policy=settings.policy, public_url=self.url)
        return settings

    def _environment(self, settings: Settings) -> dict[str, str]:
        """Return the settings as variables; an empty one hides what a `.env` says."""
        given = {
            **dict.fromkeys(HIDDEN, ""),
            "DATA": str(self._data),
            "POLICY": settings.policy,
            "PUBLIC_URL": settings.public_url,
            "TEMPORAL_ADDRESS": settings.temporal_address,
            "TEMPORAL_NAMESPACE": settings.temporal_namespace,
            "TEMPORAL_UI_URL": settings.temporal_ui_url or "",
            "WEB_PORT": str(settings.web_port),
        }
        return {**os.environ, **{f"SANSHEN_{name}": value for name, value in given.items()}}

    async def _web_answers(self) -> None:
        """Return once `/readyz` is 200."""
        deadline = time.monotonic() + READY_WITHIN
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            while True:
                with suppress(httpx.HTTPError):
                    if (await client.get(f"{self.url}/readyz")).status_code == 200:
                        return
                gone = [n for n, deaths in self._deaths.items() if deaths >= DEATHS_BEFORE_READY]
                if gone or time.monotonic() > deadline:
                    silent = gone[0] if gone else "web"
                    raise StartError("part_silent", part=silent, log=self._parts[silent].log)
                await asyncio.sleep(0.1)

    def _keep(self, name: str, part: Child) -> None:
        self._parts[name] = part
        self._keepers.append(asyncio.create_task(self._restart_whenever_dead(part)))
        self._note()

    async def _restart_whenever_dead(self, part: Child) -> None:
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            exit_code = await part.ended()
            if time.monotonic() - began > STEADY_AFTER:
                pause = FIRST_PAUSE
            self._deaths[part.name] = self._deaths.get(part.name, 0) + 1
            log.error(
                "part_died",
                part=part.name,
                exit_code=exit_code,
                again_in_seconds=pause,
                log=str(part.log),
            )
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            try:
                await part.start()
            except OSError as error:  # no memory or no space left: try again later
                log.error("part_not_started", part=part.name, why=error.strerror)
                continue
            log.info("part_restarted", part=part.name, pid=part.pid)
            self._note()

    def _note(self) -> None:
        """Write `run.json`: where everything is, and by what a later start knows its orphans."""
        pids = {"supervisor": os.getpid()}
        pids |= {name: part.pid for name, part in self._parts.items() if part.pid is not None}
        note = {
            "url": self.url,
            "ready": self._ready,
            "web_port": self._port,
            "engine_port": self._engine.port,
            "ui_port": self._engine.ui_port,
            "pids": pids,
            "identities": {name: identity(pid) for name, pid in pids.items()},
        }
        _write(self._data / "run.json", note)


def run_up(
    data: Path,
    port: int = 8080,
    engine_port: int = 7233,
    demo: bool = False,
    policy: str | None = None,
    programs: Mapping[str, Sequence[str]] = PROGRAMS,
) -> int:
    """Run the whole until SIGINT or SIGTERM; say `ready URL` on a line of its own.

    Args:
        data: Where everything is kept.
        port: The web's; 0 takes a free one.
        engine_port: The engine's; 0 takes a free one.
        demo: Fill an empty ledger with the demo bureau.
        policy: A rule pack's file or a shipped one's name.
        programs: What runs beside the engine.

    Returns:
        The exit code: 0 ended as asked, 2 wrong usage or setting, 3 something outside is in the
        way; but for 0 one line on standard error says what.
    """
    os.umask(0o077)
    logs.configure("console")
    whole = Whole(
        data, port=port, engine_port=engine_port, demo=demo, policy=policy, programs=programs
    )
    try:
        asyncio.run(_until_told_to_stop(whole))
    except StartError as error:
        print(error.line(os.environ.get("SANSHEN_LANGUAGE") or "zh"), file=sys.stderr)
        return error.exit_code
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


async def _until_told_to_stop(whole: Whole) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup keeps us
        loop.add_signal_handler(signal.SIGHUP, told.set)
    stopping = asyncio.create_task(told.wait())
    starting = asyncio.create_task(whole.start())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            print(f"ready {whole.url}", flush=True)
            await stopping
    finally:
        stopping.cancel()
        starting.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
        await whole.stop()
        await asyncio.sleep(0.05)  # sdk-python#300: the interpreter aborts without


def _checked_policy(policy: str | None) -> str | None:
    """Return what POLICY is to be: a file's full path, or a shipped pack's name."""
    if policy is None:
        return None
    from review.packs import PackError, builtin_pack, load_pack

    path = Path(policy).expanduser().absolute()
    try:
        file = path if path.is_file() else builtin_pack(policy)
    except (KeyError, ValueError, OSError, PackError):
        file = path
    if not file.is_file():
        raise StartError("policy_missing", exit_code=2, policy=policy)
    try:
        load_pack(file)
    except PackError as error:
        raise StartError("policy_wrong", exit_code=2, policy=policy, why=error) from error
    return str(path) if file == path else policy


def _keep_secret_key(file: Path) -> None:
    """Make this installation's secret key once.

    Raises:
        StartError: The file is there and can't be read; a new key would end every session.
    """
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(kept["secret_key"], str):
            raise StartError("secrets_broken", file=file)
    except FileNotFoundError:
        _write(file, {"secret_key": secrets.token_urlsafe(48)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartError("secrets_broken", file=file) from error


def _keep_payload_key(file: Path) -> None:
    """Make once what the engine's store is encrypted with; PAYLOAD_KEYS beat it.

    Raises:
        StartError: The file is there and can't be read; without its keys no review goes on.
    """
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))["payload_keys"]
        if not kept:
            raise StartError("secrets_broken", file=file)
    except FileNotFoundError:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        key_id = f"k{datetime.now(UTC):%Y%m%d%H%M%S}"
        _write(file, {"payload_keys": [f"{key_id}:{key}"]})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartError("secrets_broken", file=file) from error


def set_up_ledger(settings: Settings, demo: bool = False) -> None:
    """Make or renew the tables, give an empty ledger its first rules, print the first key.

    Harmless when all of it is there; two may do it at once.

    Raises:
        StartError: The ledger can't be worked with.
    """
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    from review.acts.adopting import adopt_first_calendar, adopt_first_policy
    from review.acts.lists import adopt_first_lists, has_lists
    from review.packs import builtin_calendar, builtin_pack, load_calendar, load_pack
    from review.records.engine import Ledger, upgrade
    from review.records.first_key import make_first_key

    try:
        upgrade(settings.ledger_url)
        ledger = Ledger(settings.ledger_url, settings.digests)
        now = datetime.now(UTC)
        in_force = ledger.write(adopt_first_policy, load_pack(builtin_pack(settings.policy)), now)
        if not in_force:  # two persons change the rules, never a start
            waits = text("start.policy_waits", settings.language, policy=settings.policy)
            print(waits, file=sys.stderr, flush=True)
        ledger.write(adopt_first_calendar, load_calendar(builtin_calendar()), now)
        if not ledger.write(has_lists):
            ledger.write(adopt_first_lists, now)
        key = None if demo else ledger.write(make_first_key, now)
        ledger.close()
        if key is not None:
            print(text("start.first_key", settings.language, key=key), file=sys.stderr, flush=True)
    except (SQLAlchemyError, CommandError, OSError) as error:
        raise StartError("ledger_failed", why=str(error).partition("\n")[0]) from error
    if demo:
        from starter.demo import seed

        seed(settings)


def _noted(file: Path) -> dict[str, tuple[int, str]]:
    """Return the processes that `run.json` names, with their identities."""
    try:
        note = json.loads(file.read_text(encoding="utf-8"))
        return {
            name: (int(pid), str(note["identities"][name]))
            for name, pid in note["pids"].items()
            if note["identities"].get(name)
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write(file: Path, content: Mapping[str, Any]) -> None:
    """Write a private file at once or not at all."""
    new = file.with_name(f".{file.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        json.dump(content, output, indent=2)
        output.flush()
        os.fsync(output.fileno())
    new.replace(file)
