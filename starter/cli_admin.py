"""Commands of administrators: roster, rules, proof and care. They open the ledger directly."""

import asyncio
import dataclasses
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from starter.cli_output import (
    NOT_FOUND,
    OUTSIDE,
    REFUSED,
    CommandError,
    cell,
    facts,
    fail,
    language,
    say,
    show_json,
    t,
    table,
)

if TYPE_CHECKING:
    from sqlmodel import Session

    from review.settings import Settings

LEAST_PASSWORD = 12  # characters

Result = TypeVar("Result")

DataOption = Annotated[
    Path | None, typer.Option("--data", help="The data folder; else SANSHEN_DATA, else `data`.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE")]
PersonArgument = Annotated[str, typer.Argument(metavar="PERSON", help="A user name or an id.")]


def group(help_text: str) -> typer.Typer:
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode=None)


people = group("The roster.")
token = group("Tokens of programs and people.")
password = group("Passwords.")
policy = group("The rule pack.")
calendar = group("The working calendar.")
audit = group("The trace and its proof.")
db = group("The ledger's tables.")

GROUPS = {
    "people": people,
    "token": token,
    "password": password,
    "policy": policy,
    "calendar": calendar,
    "audit": audit,
    "db": db,
}


def settings_for(data: Path | None) -> "Settings":
    """Return the settings; administration needs no secret key, so a missing one is no matter."""
    from review.settings import Settings, SettingsError, load

    given: dict[str, Any] = {} if data is None else {"data": data.expanduser().absolute()}
    try:
        found: Settings = load(**given)
    except SettingsError as error:
        if "SECRET_KEY" not in str(error):
            raise CommandError(str(error)) from None
        try:
            found = load(secret_key="-" * 64, **given)
        except SettingsError as other:
            raise CommandError(str(other)) from None
    return found


def in_ledger(
    settings: "Settings", act: Callable[..., Result], *args: Any, write: bool = False
) -> Result:
    """Run a function of a session in one transaction of the ledger."""
    from sqlalchemy.exc import SQLAlchemyError

    from review.records.engine import Ledger
    from review.rules.errors import LedgerUnavailableError

    if settings.database_url is None and not (settings.data / "ledger.db").is_file():
        fail("ledger_old", OUTSIDE)
    ledger = Ledger(settings.ledger_url)
    try:
        if write:
            return ledger.write(act, *args)
        with ledger.reading() as session:
            return act(session, *args)
    except (LedgerUnavailableError, SQLAlchemyError) as error:
        cause = error.__cause__ or error
        why = str(getattr(cause, "orig", None) or type(cause).__name__)
        if any(sign in why for sign in ("no such table", "no such column", "does not exist")):
            fail("ledger_old", OUTSIDE)
        fail("ledger_down", OUTSIDE, why=why)
    finally:
        ledger.close()


# --- roster -------------------------------------------------------------------------------------


@people.command("import")
def people_import(file: FileArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Bring units, people, roles, channels and delegations to what FILE says.

    Example: sanshen people import roster.yaml
    """
    from review.acts.roster import change_roster
    from review.records.bureau import read_roster

    roster = read_roster(file)
    changed = in_ledger(settings_for(data), change_roster, roster, datetime.now(UTC), write=True)
    if as_json:
        show_json(changed)
    else:
        print(t("people_imported", counts=cell(changed) or t("unchanged")))


def person_row(session: "Session", person: str) -> Any:
    """Return an account by its user name or id."""
    from sqlmodel import select

    from review.records.tables import PersonRow

    row = session.exec(select(PersonRow).where(PersonRow.username == person)).first()
    row = row or session.get(PersonRow, person)
    if row is None:
        fail("no_person", NOT_FOUND, person=person)
    return row


def trace(session: "Session", event: str, now: datetime, **data: str) -> None:
    """Leave a line about an administrator's deed; the system's own user did it (way_in cli)."""
    from review.records import audit as chain

    chain.append(session, chain.BUREAU, event, at=now, way_in="cli", data=dict(data))


@token.command("issue")
def token_issue(
    person: PersonArgument,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Issue a bearer token; it is shown once, only its hash is kept.

    Example: sanshen token issue wangfang --label "OA bridge"
    """
    from review.records.access import issue_token

    def issue(session: "Session", now: datetime) -> str:
        row = person_row(session, person)
        trace(session, "token_issued", now, person=row.id)
        return issue_token(session, row.id, label, now)

    issued = in_ledger(settings_for(data), issue, datetime.now(UTC), write=True)
    if as_json:
        show_json({"person": person, "token": issued})
    else:
        say(t("token_issued", person=person))
        print(issued)


@password.command("set")
def password_set(person: PersonArgument, data: DataOption = None) -> None:
    """Set a password, asked for twice, or read from standard input; ends every session.

    Example: sanshen password set wangfang
    """
    from review.records.access import set_password

    if sys.stdin.isatty():
        new = typer.prompt(t("password", least=LEAST_PASSWORD), hide_input=True, err=True)
        if typer.prompt(t("password_again"), hide_input=True, err=True) != new:
            fail("password_differs")
    else:
        new = sys.stdin.readline().rstrip("\r\n")
    if len(new) < LEAST_PASSWORD:
        fail("password_short", least=LEAST_PASSWORD)

    def change(session: "Session", now: datetime) -> None:
        row = person_row(session, person)
        trace(session, "password_set", now, person=row.id)
        set_password(session, row.id, new, now)

    in_ledger(settings_for(data), change, datetime.now(UTC), write=True)
    say(t("password_set", person=person))


# --- rules --------------------------------------------------------------------------------------


def pack_file(name: str) -> Path:
    """Return a pack's file by its path or its shipped name."""
    from review.packs import builtin_pack

    try:
        found = Path(name) if Path(name).is_file() else builtin_pack(name)
    except (KeyError, ValueError, OSError, LookupError):
        found = Path(name)
    if not found.is_file():
        fail("policy_missing", policy=name)
    return found


@policy.command("check")
def policy_check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file, or a shipped pack's name.")],
    as_json: JsonOption = False,
) -> None:
    """Check a rule pack; every mistake with its line. 1 when there are any.

    Example: sanshen policy check our-rules.yaml
    """
    from review.packs import PackError, digest_of, load_pack

    try:
        pack = load_pack(pack_file(file), language())
    except PackError as error:
        if as_json:
            mistakes = [dataclasses.asdict(mistake) for mistake in error.mistakes]
            show_json({"ok": False, "mistakes": mistakes})
        else:
            print(error)
        raise CommandError(
            t("policy_wrong", file=file, count=len(error.mistakes)), REFUSED
        ) from None
    shown = {"id": pack.id, "version": pack.version, "digest": digest_of(pack)}
    if as_json:
        show_json({"ok": True} | shown)
    else:
        print(t("policy_good", file=file, **shown))


@policy.command("show")
def policy_show(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show the rule pack that new submissions are pinned to.

    Example: sanshen policy show
    """
    from review.acts.item import policy_in_force

    digest, pack = in_ledger(settings_for(data), policy_in_force)
    if as_json:
        show_json(pack.model_dump(mode="json") | {"digest": digest})
        return
    facts({"id": pack.id, "version": pack.version, "digest": digest, "timezone": pack.timezone})
    for profile, steps in pack.steps.items():
        rules = pack.profiles[profile]
        print()
        heading = (cell(str(profile)), rules.form, rules.clock, str(rules.item_limit))
        table(_steps_shown(steps), title=" · ".join(heading))


def _steps_shown(steps: Any) -> list[dict[str, Any]]:
    return [
        {
            "step": step.id,
            "role": str(step.role),
            "limit": str(step.limit),
            "tier": step.tier,
            "proof": step.proof,
            "on_timeout": step.on_timeout,
        }
        for step in steps
    ]


@calendar.command("import")
def calendar_import(
    file: FileArgument, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Import a year's working calendar; deadlines reckon with it from now on (A-30).

    Example: sanshen calendar import calendar-2027.yaml
    """
    from review.acts.adopting import adopt_calendar
    from review.packs import PackError, load_calendar

    if not file.is_file():
        fail("file_unreadable", file=file, why="-")
    try:
        found = load_calendar(file, language())
    except PackError as error:
        raise CommandError(str(error), REFUSED) from None
    in_ledger(settings_for(data), adopt_calendar, found, datetime.now(UTC), write=True)
    if as_json:
        show_json({"version": found.version, "official_until": str(found.official_until)})
    else:
        print(t("calendar_imported", version=found.version, until=found.official_until))


# --- proof --------------------------------------------------------------------------------------


@audit.command("verify")
def audit_verify(
    checkpoint: Annotated[
        Path | None, typer.Option(help="What `audit checkpoint` wrote; nothing may be missing.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute every chain of the trace; 1 when one is broken.

    Example: sanshen audit verify --checkpoint 2026-10.json
    """
    from review.records.audit import verify

    settings = settings_for(data)
    found = in_ledger(settings, verify)
    if checkpoint is not None and found["ok"]:
        chain = in_ledger(settings, _first_other_than, _heads_in(checkpoint))
        if chain is not None:
            bad = {"seq": None, "chain": chain, "n": None, "why": "checkpoint"}
            found |= {"ok": False, "first_bad": bad}
    if as_json:
        show_json(found)
    if not found["ok"]:
        fail("audit_broken", REFUSED, first_bad=cell(found["first_bad"]))
    if not as_json:
        print(t("audit_good", entries=found["entries"]))


def _heads_in(checkpoint: Path) -> dict[str, dict[str, Any]]:
    from starter.cli_files import read_fields

    heads = read_fields(checkpoint).get("heads")
    if not isinstance(heads, dict) or not all(
        isinstance(head, dict) and isinstance(head.get("n"), int) and head.get("hash")
        for head in heads.values()
    ):
        fail("checkpoint_odd", file=checkpoint)
    return heads


def _first_other_than(session: "Session", heads: dict[str, dict[str, Any]]) -> str | None:
    """Return the first chain that isn't what the checkpoint saw, or None."""
    from sqlmodel import select

    from review.records.tables import Audit

    for chain, head in heads.items():
        statement = select(Audit.hash).where(Audit.chain == chain).where(Audit.n == head["n"])
        if session.exec(statement).first() != head["hash"]:
            return chain
    return None


@audit.command("checkpoint")
def audit_checkpoint(file: FileArgument, data: DataOption = None) -> None:
    """Write down where every chain ends now; kept elsewhere, it shows a ledger cut short.

    Example: sanshen audit checkpoint 2026-11.json
    """

    def heads(session: "Session") -> dict[str, dict[str, Any]]:
        from sqlalchemy import func
        from sqlmodel import col, select

        from review.records.tables import Audit

        last = select(Audit.chain, func.max(Audit.n).label("n")).group_by(Audit.chain).subquery()
        statement = select(Audit.chain, Audit.n, Audit.hash).join(
            last, (col(Audit.chain) == last.c.chain) & (col(Audit.n) == last.c.n)
        )
        return {chain: {"n": n, "hash": hash_} for chain, n, hash_ in session.exec(statement)}

    found = in_ledger(settings_for(data), heads)
    content = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "heads": found}
    _write(file, json.dumps(content, indent=1) + "\n")
    print(t("checkpoint_written", file=file, count=len(found)))


@audit.command("export")
def audit_export(file: FileArgument, data: DataOption = None) -> None:
    """Write every entry of the trace, one JSON object a line.

    Example: sanshen audit export trace.jsonl
    """

    def export(session: "Session") -> int:
        from sqlmodel import col, select

        from review.records.tables import Audit

        rows = session.exec(
            select(Audit).order_by(col(Audit.seq)).execution_options(yield_per=1000)
        )
        count = 0
        with file.open("w", encoding="utf-8") as output:
            for count, row in enumerate(rows, 1):  # noqa: B007
                line = row.model_dump(mode="json") | {"at": row.at.isoformat()}
                output.write(json.dumps(line, ensure_ascii=False) + "\n")
        return count

    try:
        count = in_ledger(settings_for(data), export)
    except OSError as error:
        fail("file_unwritable", file=file, why=error.strerror or "")
    print(t("audit_exported", count=count, file=file))


def _write(file: Path, content: str) -> None:
    try:
        file.write_text(content, encoding="utf-8")
    except OSError as error:
        fail("file_unwritable", file=file, why=error.strerror or "")


# --- care ---------------------------------------------------------------------------------------


@db.command("upgrade")
def db_upgrade(data: DataOption = None) -> None:
    """Make the ledger's tables, or bring them up to date.

    Example: sanshen db upgrade
    """
    from alembic.util import CommandError as AlembicError
    from sqlalchemy.exc import SQLAlchemyError

    from review.records.engine import upgrade

    settings = settings_for(data)
    try:
        if settings.database_url is None:
            settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        upgrade(settings.ledger_url)
    except (SQLAlchemyError, AlembicError, OSError) as error:
        fail("ledger_down", OUTSIDE, why=str(error).partition("\n")[0])
    print(t("upgraded"))


def doctor(repair: bool, data: Path | None, as_json: bool) -> None:
    """Look for what is wrong; 1 when something is, 3 when the engine can't be asked."""
    from starter import cli_doctor

    settings = settings_for(data)
    found = in_ledger(settings, cli_doctor.in_ledger, datetime.now(UTC))
    items = in_ledger(settings, cli_doctor.under_way)
    engine = asyncio.run(_ask_engine(settings, items, repair))
    found += engine or []
    if as_json:
        show_json({"ok": not found, "engine": engine is not None, "found": found})
    elif found:
        table(found)
    if engine is None:
        fail("doctor_engine_down", OUTSIDE, address=settings.temporal_address)
    left = [one for one in found if one.get("repaired") != "True"]
    if left:
        fail("doctor_bad", REFUSED, count=len(left))
    if not as_json:
        print(t("doctor_good"))


async def _ask_engine(
    settings: "Settings", items: list[tuple[str, str, str]], repair: bool
) -> list[dict[str, str]] | None:
    """Return what the engine lacks, or None when it can't be reached."""
    from temporalio.service import RPCError

    from review.engine import connect
    from starter import cli_doctor

    try:
        client = await connect(settings, lazy=True)
        await client.service_client.check_health()
        return await cli_doctor.in_engine(client, items, repair=repair)
    except (RPCError, RuntimeError):
        return None
    finally:
        await asyncio.sleep(0.1)  # sdk-python#300: the interpreter aborts without
