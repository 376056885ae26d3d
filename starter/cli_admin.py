"""Commands of administrators: roster, rules, proof and care. They open the ledger directly."""

import asyncio
import dataclasses
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from starter.cli_output import (
    NOT_ALLOWED,
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

    from review.records.engine import Ledger
    from review.records.people import Person
    from review.settings import Settings

LEAST_PASSWORD = 12  # characters

Result = TypeVar("Result")

DataOption = Annotated[
    Path | None, typer.Option("--data", help="The data folder; else SANSHEN_DATA, else `data`.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE")]
TokenOption = Annotated[
    str | None, typer.Option("--token", envvar="SANSHEN_TOKEN", help="Who acts.", show_envvar=True)
]
PersonArgument = Annotated[str, typer.Argument(metavar="PERSON", help="A user name or an id.")]


def group(help_text: str) -> typer.Typer:
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode=None)


people = group("The roster.")
token = group("Tokens of programs and people.")
password = group("Passwords.")
policy = group("The rule pack.")
calendar = group("The working calendar.")
words = group("The words that texts are screened for.")
sources = group("The sources that may be reposted.")
db = group("The ledger's tables.")

GROUPS = {
    "people": people,
    "token": token,
    "password": password,
    "policy": policy,
    "calendar": calendar,
    "words": words,
    "sources": sources,
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

    def run(ledger: "Ledger") -> Result:
        if write:
            return ledger.write(act, *args)
        with ledger.reading() as session:
            return act(session, *args)

    return with_ledger(settings, run)


def with_ledger(settings: "Settings", deed: Callable[["Ledger"], Result]) -> Result:
    """Run what needs the ledger itself; one line says so when it can't be worked with."""
    from sqlalchemy.exc import SQLAlchemyError

    from review.records.engine import Ledger
    from review.rules.errors import LedgerUnavailableError

    if settings.database_url is None and not (settings.data / "ledger.db").is_file():
        fail("ledger_old", OUTSIDE)
    ledger = Ledger(settings.ledger_url, settings.digests)
    try:
        return deed(ledger)
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


@policy.command("rehearse")
def policy_rehearse(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file, or a shipped pack's name.")],
    days: Annotated[int, typer.Option("--days", min=1, max=800, help="How far back.")] = 92,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a rule pack would have done with the last quarter's items; nothing is changed.

    Example: sanshen policy rehearse our-rules.yaml
    """
    from review.acts.rehearsing import rehearse
    from review.packs import PackError, load_pack

    try:
        pack = load_pack(pack_file(file), language())
    except PackError as error:
        raise CommandError(str(error), REFUSED) from None
    now = datetime.now(UTC)
    found = in_ledger(settings_for(data), rehearse, pack, now - timedelta(days=days), now)
    if as_json:
        show_json(found)
        return
    facts({name: found[name] for name in ("from", "to", "items", "rerouted", "totals")})
    rows = [
        {"number": one["number"], "pinned": _fares(one, "pinned"),
         "rehearsed": _fares(one, "rehearsed")}
        for one in found["differences"]
    ]  # fmt: skip
    table(rows)


def _fares(difference: dict[str, Any], pack: str) -> str:
    """Return in a line what a pack makes of an item."""
    fares = difference[pack]
    said = [fares["profile"], f"{len(fares['route'])} steps"]
    said += [f"{name}: {', '.join(fares[name])}" for name in ("late", "escalated") if fares[name]]
    return "; ".join(said)


@policy.command("propose")
def policy_propose(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file, or a shipped pack's name.")],
    token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propose a rule pack; it is in force once another person has confirmed it.

    Example: sanshen policy propose our-rules.yaml
    """
    from review.acts.adopting import propose_policy
    from review.packs import PackError, load_pack

    try:
        pack = load_pack(pack_file(file), language())
    except PackError as error:
        raise CommandError(str(error), REFUSED) from None

    def propose(session: "Session", now: datetime) -> Any:
        return propose_policy(session, person_of(session, token, now), pack, now, way_in="cli")

    found = in_ledger(settings_for(data), propose, datetime.now(UTC), write=True)
    _proposals_shown([found], as_json)
    if not as_json:
        print(t("policy_proposed", id=found["id"]))


@policy.command("proposals")
def policy_proposals(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show the proposed rule packs that wait, with what each would change.

    Example: sanshen policy proposals
    """
    from review.acts.adopting import proposals

    _proposals_shown(in_ledger(settings_for(data), proposals), as_json)


@policy.command("confirm")
def policy_confirm(
    proposal: Annotated[str, typer.Argument(metavar="ID", help="An id of `policy proposals`.")],
    token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a proposed rule pack in force for new submissions; another than its proposer does it.

    Example: sanshen policy confirm 01jd3v
    """
    from review.acts.adopting import confirm_policy

    def confirm(session: "Session", now: datetime) -> Any:
        return confirm_policy(session, person_of(session, token, now), proposal, now, way_in="cli")

    found = in_ledger(settings_for(data), confirm, datetime.now(UTC), write=True)
    if as_json:
        show_json(found)
    else:
        print(t("policy_confirmed", id=found["pack"], version=found["version"]))


@policy.command("reject")
def policy_reject(
    proposal: Annotated[str, typer.Argument(metavar="ID", help="An id of `policy proposals`.")],
    token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close a proposal; the rules in force stay.

    Example: sanshen policy reject 01jd3v
    """
    from review.acts.adopting import reject_policy

    def reject(session: "Session", now: datetime) -> Any:
        return reject_policy(session, person_of(session, token, now), proposal, now, way_in="cli")

    found = in_ledger(settings_for(data), reject, datetime.now(UTC), write=True)
    if as_json:
        show_json(found)
    else:
        print(t("policy_rejected", id=found["pack"], version=found["version"]))


def person_of(session: "Session", secret: str | None, now: datetime) -> "Person":
    """Return whose token was given; what two persons must do is never the console's alone."""
    from review.records.access import person_of_token

    if not secret:
        fail("token_missing")
    found = person_of_token(session, secret, now)
    if found is None:
        fail("token_unknown", NOT_ALLOWED)
    return found


def _proposals_shown(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        show_json({"items": found, "next": None})
        return
    for one in found:
        facts({name: one[name] for name in ("id", "pack", "version", "proposed_by", "state")})
        table([{name: cell(change[name]) for name in change} for change in one["changes"]])


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


@words.command("import")
def words_import(file: FileArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Import the words, leaders and link hosts that texts are screened for from now on.

    Example: sanshen words import words-2027.yaml
    """
    from review.lists import load_words

    _list_import(file, load_words, "words", data, as_json)


@sources.command("import")
def sources_import(
    file: FileArgument, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Import the whitelist of sources that may be reposted from now on (A-12).

    Example: sanshen sources import sources-2027.yaml
    """
    from review.lists import load_sources

    _list_import(file, load_sources, "sources", data, as_json)


def _list_import(
    file: Path, load: Callable[[Path, str], Any], kind: str, data: Path | None, as_json: bool
) -> None:
    from review.acts.lists import import_list
    from review.packs import PackError, digest_of

    if not file.is_file():
        fail("file_unreadable", file=file, why="-")
    try:
        found = load(file, language())
    except PackError as error:
        raise CommandError(str(error), REFUSED) from None
    changed = in_ledger(settings_for(data), import_list, found, datetime.now(UTC), write=True)
    if as_json:
        show_json({"version": found.version, "digest": digest_of(found), "changed": changed})
    else:
        code = f"{kind}_imported" if changed else "list_unchanged"
        print(t(code, version=found.version))


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


@db.command("prepare")
def db_prepare(data: DataOption = None) -> None:
    """Make ready what separate processes need: tables, first rules, the engine's namespace.

    What `sanshen up` does by itself at each start. Harmless when repeated, or done by two at once.
    Before it touches the ledger it replays running workflows: 1 when they can't go on with this
    version (SANSHEN_REPLAY_GATE).

    Example: sanshen db prepare
    """
    from review.engine import EngineOldError
    from starter.embedded import set_up_ledger
    from starter.errors import StartError
    from workflows.replays import IncompatibleError

    settings = settings_for(data)
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_there = asyncio.run(_prepare_engine(settings))
        set_up_ledger(settings)
    except StartError as error:
        raise CommandError(error.line(language()), error.exit_code) from None
    except EngineOldError as error:
        raise CommandError(str(error), OUTSIDE) from None
    except IncompatibleError as error:
        raise CommandError(str(error), REFUSED) from None
    if not is_there:
        fail("engine_away", OUTSIDE, address=settings.temporal_address)
    print(t("prepared"))


async def _prepare_engine(settings: "Settings") -> bool:
    """Register search attributes and retention; False when the engine can't be reached.

    Raises:
        CommandError: It has no namespace of that name; making one is its operator's.
    """
    from temporalio.service import RPCError, RPCStatusCode

    from review.engine import connect, prepare_namespace, require_version
    from workflows.replays import require_compatible

    try:
        client = await connect(settings, lazy=True)
        await require_version(client)
        await prepare_namespace(client)
        await require_compatible(client, settings.replay_gate)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            return False
        fail(
            "namespace_missing", OUTSIDE,
            address=settings.temporal_address, namespace=settings.temporal_namespace,
        )  # fmt: skip
    except RuntimeError:
        return False
    finally:
        await asyncio.sleep(0.1)  # sdk-python#300: the interpreter aborts without
    return True


def doctor(repair: bool, data: Path | None, as_json: bool) -> None:
    """Look for what is wrong; 1 when something is, 3 when the engine can't be asked."""
    from review.blobs import Blobs
    from starter import cli_doctor
    from starter.cli_audit import watch_of

    settings = settings_for(data)
    found = in_ledger(settings, cli_doctor.in_ledger, datetime.now(UTC))
    found += in_ledger(settings, cli_doctor.against_checkpoint, watch_of(settings))
    found += in_ledger(settings, cli_doctor.in_blobs, Blobs(settings.data / "blobs"))
    items = in_ledger(settings, cli_doctor.under_way)
    matters = in_ledger(settings, cli_doctor.minded)
    engine = asyncio.run(_ask_engine(settings, items, matters, repair))
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


def replay(folder: Path | None, most: int, data: Path | None, as_json: bool) -> None:
    """Replay recorded and running histories; 1 for one that doesn't, 3 without an engine."""
    if folder is not None and not folder.is_dir():
        fail("replay_no_folder", NOT_FOUND, folder=folder)
    settings = settings_for(data)
    try:
        replayed, found = asyncio.run(_replay(settings, folder, most))
    except ValueError as error:
        fail("replay_odd_file", file=error)
    if as_json:
        show_json({"ok": found is None, "replayed": replayed, "incompatible": found})
    if found is not None:
        fail("replay_bad", REFUSED, workflow=found["workflow"], run=found["run"], why=found["why"])
    if not as_json:
        print(t("replay_good", count=replayed))


async def _replay(
    settings: "Settings", folder: Path | None, most: int
) -> tuple[int, dict[str, str] | None]:
    """Return how many histories were replayed, and the first that is incompatible."""
    from temporalio.service import RPCError

    from review.engine import connect
    from review.payloads import converter
    from workflows import replays

    replayed, found = 0, None
    if folder is not None:
        namespace = settings.temporal_namespace
        keys = converter(settings.payload_keys_by_id, namespace)
        replayed, found = await replays.replay(replays.recorded(folder), keys, namespace)
    if most and found is None:
        try:
            client = await connect(_where_it_runs(settings), lazy=True)
            await client.service_client.check_health()
            more, found = await replays.replay(
                replays.live(client, most), client.data_converter, client.namespace
            )
        except (RPCError, RuntimeError):
            fail("engine_away", OUTSIDE, address=settings.temporal_address)
        finally:
            await asyncio.sleep(0.1)  # sdk-python#300: the interpreter aborts without
        replayed += more
    if found is None:
        return replayed, None
    return replayed, {"workflow": found.workflow_id, "run": found.run_id, "why": found.why}


def _where_it_runs(settings: "Settings") -> "Settings":
    """Return the settings with the address of the engine that `sanshen up` noted in `run.json`."""
    if "temporal_address" in settings.model_fields_set:
        return settings
    try:
        port = int(json.loads((settings.data / "run.json").read_bytes())["engine_port"])
    except (OSError, ValueError, KeyError, TypeError):
        return settings
    return settings.model_copy(update={"temporal_address": f"127.0.0.1:{port}"})


async def _ask_engine(
    settings: "Settings",
    items: list[tuple[str, str, str]],
    matters: list[tuple[str, str]],
    repair: bool,
) -> list[dict[str, str]] | None:
    """Return what the engine lacks, or None when it can't be reached."""
    from temporalio.service import RPCError

    from review.engine import connect
    from starter import cli_doctor

    try:
        client = await connect(_where_it_runs(settings), lazy=True)
        await client.service_client.check_health()
        found = await cli_doctor.in_engine(client, items, repair=repair)
        found += await cli_doctor.matters_in_engine(client, matters, repair=repair)
        # Listed first and looked up then: what is submitted meanwhile is in the ledger already.
        carried = await cli_doctor.carried(client)
        known = in_ledger(settings, cli_doctor.known_items, carried)
        strays = [one for one in carried if one not in known]
        return found + await cli_doctor.unknown_to_ledger(client, strays, repair=repair)
    except (RPCError, RuntimeError):
        return None
    finally:
        await asyncio.sleep(0.1)  # sdk-python#300: the interpreter aborts without
