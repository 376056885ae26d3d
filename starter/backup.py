"""Back up a running whole and restore it elsewhere: what was copied is named with its hash.

The order makes the parts fit: the signed states of the trace first, so that none is younger than
the ledger; the engine's store after the ledger, for a workflow that knows too much asks the ledger
anyway; files and the published site last, so that nothing the ledger names is missing, and what it
doesn't know yet is found on its channel before it is sent again.
"""

import hashlib
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from review.blobs import Blobs
from review.records.checkpoints import KEY_FILE
from review.settings import KEYS, PAYLOAD_KEYS_FILE, SECRETS_FILE, Settings

MANIFEST = "manifest.json"
FORMAT = "sanshen-backup/1"
LEDGER, LEDGER_DUMP, ENGINE = "ledger.db", "ledger.dump", "engine.db"
BLOBS, SITE = "blobs", "site"
# Beside the two stores. Without the keys the engine's payloads and some secrets can't be read, so a
# backup has them, and must be kept as they are.
FIRST = (KEYS, SECRETS_FILE, "checkpoints", "forms", "demo-accounts.json")
PIECE = 1024 * 1024  # bytes

Say = Callable[[str], None]
Json = dict[str, Any]


class BackupError(Exception):
    """A backup can't be made, or what is there is none; its code names a line of the catalogue."""

    def __init__(self, code: str, **params: Any) -> None:
        self.code = code
        self.params = params
        super().__init__(code)


def back_up(settings: Settings, target: Path, say: Say) -> Json:
    """Copy everything into a new folder while the system works on; whole or not at all.

    Args:
        target: Must not be there, or be empty.
        say: Told which part comes next.

    Returns:
        The manifest.

    Raises:
        BackupError: The target is not empty, a store can't be read, a kept file is missing.
        OSError: The disk won't have it.
    """
    if not is_free(target):
        raise BackupError("not_empty", folder=target)
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.new-{secrets.token_hex(4)}")
    new.mkdir(mode=0o700)
    try:
        manifest = _fill(settings, new, say)
        if target.exists():
            target.rmdir()
        new.rename(target)
        _sync(target.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return manifest


def _fill(settings: Settings, new: Path, say: Say) -> Json:
    data, made_at = settings.data, datetime.now(UTC)
    hashes: dict[str, Json] = {}

    def keep(source: Path, name: str) -> None:
        hashes[name] = _copy(source, new / name)

    say("keys")
    for name in FIRST:
        for source, place in _files(data / name, name):
            keep(source, place)
    say("ledger")
    is_sqlite = settings.ledger_url.startswith("sqlite")
    ledger = new / (LEDGER if is_sqlite else LEDGER_DUMP)
    if is_sqlite:
        _copy_store(data_of(settings.ledger_url), ledger)
    else:
        _pg("pg_dump", settings.ledger_url, "--format=custom", f"--file={ledger}")
    hashes[ledger.name] = _noted(ledger)
    if (data / ENGINE).exists():
        say("engine")
        _copy_store(data / ENGINE, new / ENGINE)
        hashes[ENGINE] = _noted(new / ENGINE)
        keep(data / "engine.version", "engine.version")
    say("files")
    blobs = Blobs(data / BLOBS)
    for digest in _named(settings, ledger if is_sqlite else None):
        source = blobs.path(digest)
        place = f"{BLOBS}/{source.relative_to(data / BLOBS)}"
        if not source.is_file():
            raise BackupError("file_missing", digest=digest)
        keep(source, place)
        if hashes[place]["sha256"] != digest.removeprefix("sha256:"):
            raise BackupError("file_altered", digest=digest)
    say("site")
    for source, place in _files(data / SITE, SITE):
        keep(source, place)
    manifest = {
        "format": FORMAT,
        "made_at": made_at.isoformat(timespec="seconds"),
        "ledger": "sqlite" if is_sqlite else "postgresql",
        "engine": ENGINE in hashes,
        "keys_elsewhere": keys_elsewhere(settings),
        "files": dict(sorted(hashes.items())),
    }
    _write(new / MANIFEST, json.dumps(manifest, indent=1).encode())
    for folder in (new, *(one for one in new.rglob("*") if one.is_dir())):
        _sync(folder)
    return manifest


def check(folder: Path, say: Say) -> Json:
    """Return a backup's manifest after comparing every file with it.

    Raises:
        BackupError: That is no backup, or something in it is missing or not what was copied.
    """
    try:
        manifest: Json = json.loads((folder / MANIFEST).read_bytes())
        files = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):
        raise BackupError("no_backup", folder=folder) from None
    if manifest.get("format") != FORMAT or not {LEDGER, LEDGER_DUMP} & set(files):
        raise BackupError("no_backup", folder=folder)
    say("checking")
    for name, noted in files.items():
        path = folder / name
        inside = path.resolve().is_relative_to(folder.resolve())
        if not inside or not path.is_file():
            raise BackupError("part_missing", file=name)
        if _noted(path) != noted:
            raise BackupError("part_altered", file=name)
    return manifest


def restore(folder: Path, settings: Settings, say: Say) -> Json:
    """Put a backup where nothing is yet; the caller then lets the ledger be verified.

    Returns:
        The manifest.

    Raises:
        BackupError: See `check`; also when DATA or the PostgreSQL database is in use.
        OSError: The disk won't have it.
    """
    manifest = check(folder, say)
    data = settings.data
    is_sqlite = settings.ledger_url.startswith("sqlite")
    if is_sqlite != (manifest["ledger"] == "sqlite"):
        raise BackupError("other_ledger", ledger=manifest["ledger"])
    if not is_free(data):
        raise BackupError("not_empty", folder=data)
    if not is_sqlite and _has_tables(settings.ledger_url):
        raise BackupError("database_used")
    set_now = {_fingerprint(key) for keys in _keys(settings).values() for key in keys}
    for name, fingerprint in manifest.get("keys_elsewhere", {}).items():
        if fingerprint not in set_now:
            raise BackupError("key_missing", name=name)
    say("copying")
    data.parent.mkdir(parents=True, exist_ok=True)
    new = data.with_name(f".{data.name}.new-{secrets.token_hex(4)}")
    new.mkdir(mode=0o700)
    try:
        for name, noted in manifest["files"].items():
            if _copy(folder / name, new / name) != noted:
                raise BackupError("part_altered", file=name)
        for one in (new, *(path for path in new.rglob("*") if path.is_dir())):
            _sync(one)
        if not is_sqlite:
            _pg(
                "pg_restore", settings.ledger_url,
                *("--no-owner", "--exit-on-error", "--single-transaction"), str(new / LEDGER_DUMP),
            )  # fmt: skip
            (new / LEDGER_DUMP).unlink()
        if data.exists():
            data.rmdir()
        new.rename(data)
        _sync(data.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return manifest


def keys_elsewhere(settings: Settings) -> dict[str, str]:
    """Return the keys that DATA doesn't hold, so no backup either: setting and fingerprint.

    A restore asks for the same ones: without them second factors, the engine's payloads or the
    next signed state would be another installation's.
    """
    files = {
        "SECRET_KEY": settings.data / SECRETS_FILE,
        "PAYLOAD_KEYS": settings.keys / PAYLOAD_KEYS_FILE,
        "AUDIT_KEYS": settings.keys / KEY_FILE,
    }
    return {
        f"SANSHEN_{name}": _fingerprint(keys[0])
        for name, keys in _keys(settings).items()
        if keys and set(keys[0]) != {"-"} and keys[0] not in _text(files[name])  # "-": none is set
    }


def _keys(settings: Settings) -> dict[str, list[str]]:
    """Return the keys in force, the current one of each kind first."""
    return {
        "SECRET_KEY": [settings.secret_key.get_secret_value()],
        "PAYLOAD_KEYS": list(settings.payload_keys_by_id.values()),
        "AUDIT_KEYS": [key.get_secret_value() for key in settings.audit_keys],
    }


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""


def _fingerprint(key: str) -> str:
    """Return what tells a key from others and gives nothing of it away."""
    return hashlib.sha256(f"sanshen backup {key}".encode()).hexdigest()[:16]


def is_free(folder: Path) -> bool:
    """Tell whether a folder is not there or empty."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def data_of(ledger_url: str) -> Path:
    """Return the file of a ledger on SQLite."""
    return Path(str(make_url(ledger_url).database))


def _files(path: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Yield the files at or below a path with the place they get; half-written ones aside."""
    if path.is_file():
        yield path, name
    for one in sorted(path.rglob("*")) if path.is_dir() else ():
        if one.is_file() and not one.name.startswith("."):
            yield one, f"{name}/{one.relative_to(path)}"


def _copy(source: Path, target: Path) -> Json:
    """Copy a file durably, private to its owner; return its size and hash."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as from_, target.open("xb") as to:
        os.chmod(to.fileno(), 0o600)
        while piece := from_.read(PIECE):
            to.write(piece)
            digest.update(piece)
            size += len(piece)
        to.flush()
        os.fsync(to.fileno())
    return {"sha256": digest.hexdigest(), "size": size}


def _noted(path: Path) -> Json:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "size": path.stat().st_size}


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        os.chmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make a folder's names durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_store(source: Path, target: Path) -> None:
    """Copy one state of a SQLite file that others go on writing to.

    Raises:
        BackupError: It can't be read, or is damaged: a backup of a damaged store is none.
    """
    target.touch(mode=0o600)
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)) as from_,
            closing(sqlite3.connect(target)) as to,
        ):
            from_.backup(to)  # in one step: in pieces it would begin anew at every commit
            to.execute("PRAGMA journal_mode=DELETE")  # one file, whole
            (found,) = to.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise BackupError("store_unreadable", file=source, why=str(error)) from None
    if found != "ok":
        raise BackupError("store_unreadable", file=source, why=str(found))
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def _named(settings: Settings, ledger: Path | None) -> list[str]:
    """Return the digests of all kept files that the copied ledger names."""
    statement = "SELECT DISTINCT sha256 FROM attachment ORDER BY sha256"
    if ledger is not None:
        with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
            return [str(row[0]) for row in connection.execute(statement)]
    import sqlalchemy as sa

    engine = sa.create_engine(settings.ledger_url)
    try:
        with engine.connect() as found:  # files come before their rows, and none is ever removed
            return [str(row[0]) for row in found.execute(sa.text(statement))]
    finally:
        engine.dispose()


def _has_tables(ledger_url: str) -> bool:
    import sqlalchemy as sa

    engine = sa.create_engine(ledger_url)
    try:
        return bool(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()


def _pg(tool: str, ledger_url: str, *arguments: str) -> None:
    """Run one of PostgreSQL's tools; the password goes by the environment, not the process list.

    Raises:
        BackupError: It is not installed, or says that it can't.
    """
    found = shutil.which(tool)
    if found is None:
        raise BackupError("tool_missing", tool=tool)
    url = make_url(ledger_url)
    named = {
        "PGHOST": url.host or url.query.get("host"),
        "PGPORT": url.port,
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
    }
    environment = {name: str(value) for name, value in named.items() if value}
    command = [found, "--no-password", *arguments]
    if tool == "pg_restore":
        command.insert(1, f"--dbname={url.database}")
    done = subprocess.run(
        command, env=os.environ | environment, stdin=subprocess.DEVNULL, capture_output=True
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [""]
        raise BackupError("tool_failed", tool=tool, why=last[0])
