"""`sanshen backup` and `sanshen restore`: care for the day a disk dies."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from starter.cli_admin import in_ledger, settings_for
from starter.cli_output import OUTSIDE, REFUSED, USAGE, fail, say, show_json, t

if TYPE_CHECKING:
    from starter.backup import BackupError

EXITS = {
    "not_empty": USAGE,
    "database_used": USAGE,
    "other_ledger": USAGE,
    "no_backup": USAGE,
    "part_missing": REFUSED,
    "part_altered": REFUSED,
    "key_missing": REFUSED,
    "file_missing": REFUSED,
    "file_altered": REFUSED,
}


def back_up(folder: Path, data: Path | None, as_json: bool) -> None:
    """Copy everything into a folder and say what is in it."""
    from starter import backup

    settings = settings_for(data)
    try:
        manifest = backup.back_up(settings, folder.absolute(), _progress)
    except backup.BackupError as error:
        _end(error)
    _show("backup_done", manifest, folder, as_json)
    for name in manifest["keys_elsewhere"]:
        say(t("backup_key_elsewhere", name=name))


def restore(folder: Path, data: Path | None, as_json: bool) -> None:
    """Put a backup into an empty DATA, then verify the ledger as it now is.

    From then on the channel is asked about whatever was submitted before, ere it is sent: it may
    have gone out after the copy was made.
    """
    from review.blobs import Blobs
    from review.records.engine import upgrade
    from review.records.restores import note_restore
    from starter import backup, cli_doctor
    from starter.cli_audit import watch_of

    settings = settings_for(data)
    try:
        manifest = backup.restore(folder.absolute(), settings, _progress)
    except backup.BackupError as error:
        _end(error)
    _progress("verifying")
    settings = settings_for(data)  # with the keys that came back
    upgrade(settings.ledger_url)
    made_at = datetime.fromisoformat(manifest["made_at"])
    in_ledger(settings, note_restore, made_at, datetime.now(UTC), write=True)
    found = in_ledger(settings, cli_doctor.in_ledger, datetime.now(UTC))
    found += in_ledger(settings, cli_doctor.against_checkpoint, watch_of(settings))
    found += in_ledger(settings, cli_doctor.in_blobs, Blobs(settings.data / backup.BLOBS))
    # What the engine was still owed when the copy was made is not wrong: the relay sends it.
    found = [one for one in found if one["what"] != "nudge_waits"]
    _show("restore_done", manifest | {"found": found}, settings.data, as_json)
    if found:
        fail("doctor_bad", REFUSED, count=len(found))


def _progress(part: str) -> None:
    say(t(f"backup_part.{part}"))


def _end(error: "BackupError") -> NoReturn:
    fail(f"backup.{error.code}", EXITS.get(error.code, OUTSIDE), **error.params)


def _show(done: str, manifest: dict[str, Any], folder: Path, as_json: bool) -> None:
    files = manifest["files"]
    size = sum(one["size"] for one in files.values())
    told = {"folder": str(folder), "made_at": manifest["made_at"], "files": len(files)}
    told |= {"bytes": size, "ledger": manifest["ledger"], "engine": manifest["engine"]}
    if as_json:
        show_json(told | {"found": manifest.get("found", [])})
        return
    print(t(done, folder=folder, files=len(files), size=f"{size / 2**20:.1f} MiB"))
    if not manifest["engine"]:
        say(t("backup_no_engine"))
