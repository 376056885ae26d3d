"""Commands of proof: verify the trace, sign its state, carry it out, accept that some is lost."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from starter.cli_admin import (
    DataOption,
    FileArgument,
    JsonOption,
    group,
    in_ledger,
    settings_for,
    with_ledger,
)
from starter.cli_output import (
    NOT_ALLOWED,
    OUTSIDE,
    REFUSED,
    cell,
    facts,
    fail,
    say,
    show_json,
    t,
)

if TYPE_CHECKING:
    from sqlmodel import Session

    from review.records.checkpoints import Checkpoint, Watch
    from review.records.engine import Ledger
    from review.settings import Settings

LOSS_REASONS = ("restored_backup", "disk_failed", "moved", "other")

audit = group("The trace and its proof.")


def watch_of(settings: "Settings", trusted: Sequence[str] = ()) -> "Watch":
    """Return what is known outside the ledger, with the keys whose signatures count."""
    from review.records.checkpoints import Watch, keys_in

    given = [key.get_secret_value() for key in settings.audit_keys]
    try:
        return Watch(settings.checkpoints, keys_in(settings.keys, given, trusted))
    except (OSError, ValueError) as error:
        fail("audit_key_odd", OUTSIDE, folder=settings.keys, why=type(error).__name__)


@audit.command("verify")
def verify(
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="What `audit checkpoint` wrote; nothing may be missing. Repeatable."),
    ] = None,
    public_key: Annotated[
        list[str] | None, typer.Option(help="A public key that counts besides ours, base64.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute the trace, compare it with every checkpoint; 1 when anything differs.

    Example: sanshen audit verify --checkpoint 2026-10.json
    """
    from review.records import checkpoints

    settings = settings_for(data)
    watch = watch_of(settings, public_key or ())
    outside = [_from_file(watch, file) for file in checkpoint or ()]
    if latest := _expected(watch):
        outside.append(latest)

    def look(session: "Session") -> dict[str, Any]:
        return checkpoints.verify(session, watch.keys, outside, _progress)

    found = in_ledger(settings, look)
    if as_json:
        show_json(found)
    if not found["ok"]:
        why = t(f"audit_why.{found['first_bad']['why']}")
        fail("audit_broken", REFUSED, first_bad=cell(found["first_bad"]), why=why)
    if not as_json:
        print(t("audit_good", entries=found["entries"], checkpoints=found["checkpoints"]))


def _progress(entries: int) -> None:
    say(t("audit_progress", entries=entries))


def _from_file(watch: "Watch", file: Path) -> "Checkpoint":
    from review.records.checkpoints import Checkpoint, CheckpointError

    try:
        found = Checkpoint.read(file.read_bytes())
        watch.keys.require(found)
    except OSError as error:
        fail("file_unreadable", file=file, why=error.strerror or "")
    except CheckpointError as error:
        fail(error.code, REFUSED, file=file)
    return found


def _expected(watch: "Watch") -> "Checkpoint | None":
    from review.records.checkpoints import LATEST, CheckpointError

    try:
        return watch.expected()
    except CheckpointError as error:
        fail(error.code, REFUSED, file=watch.folder / LATEST)


@audit.command("checkpoint")
def checkpoint(file: FileArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Sign the state of the whole trace; kept elsewhere, FILE shows a ledger cut short.

    Example: sanshen audit checkpoint 2026-11.json
    """
    settings = settings_for(data)
    watch = watch_of(settings)
    made = _made(settings, watch)
    _write(file, made.content)
    if as_json:
        show_json(made.model_dump(mode="json"))
        return
    print(t("checkpoint_written", file=file, no=made.no, entries=made.entries))
    print(t("checkpoint_key", key=made.key))


def _made(settings: "Settings", watch: "Watch", **more: Any) -> "Checkpoint":
    from review.records.checkpoints import LATEST, CheckpointError, make
    from review.rules.errors import RefusedError

    def sign(ledger: "Ledger") -> "Checkpoint":
        return make(ledger, watch, datetime.now(UTC), way_in="cli", **more)

    try:
        return with_ledger(settings, sign)
    except RefusedError as refusal:
        fail(refusal.code, REFUSED)
    except CheckpointError as error:
        fail(error.code, REFUSED, file=watch.folder / LATEST)
    except OSError as error:
        fail("file_unwritable", OUTSIDE, file=watch.folder, why=error.strerror or "")


@audit.command("export")
def export(file: FileArgument, data: DataOption = None) -> None:
    """Write every entry of the trace, one JSON object a line.

    Example: sanshen audit export trace.jsonl
    """
    from review.records import audit as trace

    def write(session: "Session") -> int:
        count = 0
        new = file.with_name(f".{file.name}.new")
        with new.open("w", encoding="utf-8") as output:
            for row in trace.rows(session):
                line = {**row._mapping, "at": row.at.isoformat()}
                output.write(json.dumps(line, ensure_ascii=False) + "\n")
                count += 1
                if count % trace.PROGRESS_EVERY == 0:
                    _progress(count)
        new.replace(file)
        return count

    try:
        count = in_ledger(settings_for(data), write)
    except OSError as error:
        fail("file_unwritable", file=file, why=error.strerror or "")
    print(t("audit_exported", count=count, file=file))


@audit.command("accept-loss")
def accept_loss(
    auditor: Annotated[str, typer.Option(help="The auditor's user name.")],
    chief: Annotated[str, typer.Option(help="The center chief's or bureau chief's user name.")],
    reason: Annotated[str, typer.Option(help=f"One of {', '.join(LOSS_REASONS)}.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a ledger older than its last checkpoint; two persons give their passwords.

    Passwords are asked for, or read from standard input: the auditor's, then the chief's.

    Example: sanshen audit accept-loss --auditor shenjiyuan --chief zhuren --reason restored_backup
    """
    from review.records import audit as trace
    from review.records.checkpoints import is_older

    if reason not in LOSS_REASONS:
        fail("loss_reason", reasons=", ".join(LOSS_REASONS))
    settings = settings_for(data)
    watch = watch_of(settings)
    lost = _expected(watch)
    if lost is None or not in_ledger(settings, is_older, lost):
        fail("nothing_lost", REFUSED)
    first = _proved(settings, auditor, ("auditor",))
    second = _proved(settings, chief, ("center_chief", "bureau_chief"))
    if first == second:
        fail("two_persons", NOT_ALLOWED)

    def remember(session: "Session", now: datetime) -> None:
        told = {"with": second, "reason": reason, "no": lost.no, "entries": lost.entries}
        trace.append(
            session, trace.BUREAU, "loss_accepted", at=now, person_id=first, role="auditor",
            way_in="cli", digest=lost.hash, data=told,
        )  # fmt: skip

    in_ledger(settings, remember, datetime.now(UTC), write=True)
    made = _made(settings, watch, lost=lost, person_id=first)
    if as_json:
        show_json(made.model_dump(mode="json"))
        return
    facts({"lost": lost.no, "entries_lost_at_least": max(lost.entries - made.entries, 0)})
    print(t("loss_accepted", no=made.no, entries=made.entries))


def _proved(settings: "Settings", username: str, roles: Sequence[str]) -> str:
    """Return the id of a person who gives the right password and holds one of the roles now."""
    from review.records.access import Access, SecondFactorNeededError
    from review.rules.errors import NotSignedInError, TooManyError

    if sys.stdin.isatty():
        given = typer.prompt(t("password_of", person=username), hide_input=True, err=True)
    else:
        given = sys.stdin.readline().rstrip("\r\n")

    def prove(ledger: "Ledger") -> str:
        access = Access(ledger, secret=settings.secret_key.get_secret_value().encode())
        try:
            signed_in = access.sign_in(username, given)
        except SecondFactorNeededError as needed:
            signed_in = access.second_step(needed.ticket, _code_of(username))
        access.sign_out(signed_in.secret)
        if not {str(held.role) for held in signed_in.person.roles} & set(roles):
            _not_theirs(username)
        return signed_in.person.id

    try:
        return with_ledger(settings, prove)
    except (NotSignedInError, TooManyError):
        fail("password_wrong", NOT_ALLOWED, person=username)


def _code_of(username: str) -> str:
    """Ask for the code of a second factor, or read it from standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt(t("code_of", person=username), err=True))
    return sys.stdin.readline().strip()


def _not_theirs(username: str) -> NoReturn:
    fail("loss_not_theirs", NOT_ALLOWED, person=username)


def _write(file: Path, content: str) -> None:
    try:
        file.write_text(content, encoding="utf-8")
    except OSError as error:
        fail("file_unwritable", file=file, why=error.strerror or "")
