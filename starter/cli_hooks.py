"""Other systems: their keys, where they are told of things, and what was delivered."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starter.cli_admin import (
    DataOption,
    JsonOption,
    PersonArgument,
    group,
    in_ledger,
    people,
    person_row,
    settings_for,
)
from starter.cli_output import NOT_FOUND, fail, say, show_json, t, table

if TYPE_CHECKING:
    from sqlmodel import Session

    from review.records.hook_keys import Made
    from review.records.kept import Box
    from review.settings import Settings

hook = group("Other systems: keys, endpoints, deliveries.")

GROUPS = {"hook": hook}
CLI = "cli"

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The system's name, such as oa.")]


def moment(value: str) -> datetime:
    """Read an aware moment, or end the command."""
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        fail("moment_wrong", value=value[:40])
    if found.tzinfo is None:
        fail("moment_wrong", value=value[:40])
    return found


Until = Annotated[
    datetime | None,
    typer.Option(help="A moment with offset, 2026-12-01T09:00+08:00.", parser=moment),
]


def box_for(data: Any) -> "tuple[Settings, Box]":
    """Return the settings and what seals secrets; a key made without SECRET_KEY opens nowhere."""
    from review.records.hook_keys import PURPOSE
    from review.records.kept import Box

    settings = settings_for(data)
    secret = settings.secret_key.get_secret_value()
    if secret == "-" * 64:
        fail("secret_key_needed")
    return settings, Box(secret.encode(), PURPOSE)


def show_made(made: "Made", name: str, as_json: bool) -> None:
    if as_json:
        show_json({"id": made.id, "name": name, "secret": made.secret})
    else:
        say(t("hook_secret", name=name))
        print(made.secret)


@hook.command("list")
def hook_list(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List keys and endpoints; secrets are never shown again.

    Example: sanshen hook list
    """
    from review.acts.hooks import connections

    found = in_ledger(settings_for(data), connections, None, datetime.now(UTC))
    if as_json:
        show_json(found)
    else:
        plain = {"from_at", "until_at", "since_at", "old_secret_until"}
        for rows in found.values():
            table(
                [
                    {k: v.isoformat() if k in plain and v else v for k, v in row.items()}
                    for row in rows
                ]
            )


@hook.command("add")
def hook_add(
    name: NameArgument,
    unit: Annotated[list[str] | None, typer.Option(help="Only for this unit's people.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Only for holders of this role.")] = None,
    person: Annotated[list[str] | None, typer.Option(help="Only for this person.")] = None,
    step: Annotated[list[str] | None, typer.Option(help="Only on this step.")] = None,
    until: Until = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a system a key to sign decisions with; the secret is shown once.

    Example: sanshen hook add oa --role unit_head --step unit_review
    """
    from review.acts.hooks import add_key
    from review.records.hook_keys import Scope

    settings, box = box_for(data)
    scope = Scope(tuple(unit or ()), tuple(role or ()), tuple(person or ()), tuple(step or ()))

    def add(session: "Session", now: datetime) -> "Made":
        return add_key(session, name, scope, now, box, until_at=until, way_in=CLI)

    show_made(in_ledger(settings, add, datetime.now(UTC), write=True), name, as_json)


@hook.command("rotate")
def hook_rotate(
    name: NameArgument,
    retire_at: Annotated[
        datetime | None,
        typer.Option(help="When the old secret ends; else a day from now.", parser=moment),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a system a new secret; until the old one ends, both hold.

    Example: sanshen hook rotate oa --retire-at 2026-12-01T09:00+08:00
    """
    from review.acts.hooks import change_key

    settings, box = box_for(data)

    def change(session: "Session", now: datetime) -> "Made":
        return change_key(session, name, now, box, retire_at=retire_at, way_in=CLI)

    show_made(in_ledger(settings, change, datetime.now(UTC), write=True), name, as_json)


@hook.command("retire")
def hook_retire(
    key: Annotated[str, typer.Argument(metavar="KEY", help="An id of `hook list`.")],
    data: DataOption = None,
) -> None:
    """End a secret now.

    Example: sanshen hook retire 01jd3v
    """
    from review.acts.hooks import retire_key

    def retire(session: "Session", now: datetime) -> None:
        retire_key(session, key, now, way_in=CLI)

    in_ledger(settings_for(data), retire, datetime.now(UTC), write=True)
    print(t("hook_retired", key=key))


@hook.command("tell")
def hook_tell(
    name: NameArgument,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where it takes messages.")],
    event: Annotated[list[str] | None, typer.Option(help="One to be told of; else all.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell a system at URL of to-dos and items; the secret we sign with is shown once.

    Example: sanshen hook tell oa https://oa.example/todos --event todo.opened
    """
    from review.acts.hooks import add_endpoint

    settings, box = box_for(data)

    def add(session: "Session", now: datetime) -> "Made":
        return add_endpoint(session, name, url, event or (), now, box, way_in=CLI)

    show_made(in_ledger(settings, add, datetime.now(UTC), write=True), name, as_json)


@hook.command("resign")
def hook_resign(name: NameArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Sign what a system is told with a new secret; for a day both signatures stand there.

    Example: sanshen hook resign oa
    """
    from review.acts.hooks import change_endpoint_secret

    settings, box = box_for(data)

    def change(session: "Session", now: datetime) -> "Made":
        return change_endpoint_secret(session, endpoint_id(session, name), now, box, way_in=CLI)

    show_made(in_ledger(settings, change, datetime.now(UTC), write=True), name, as_json)


def _changing(data: Any, name: str, act: Callable[["Session", str, datetime], object]) -> None:
    def change(session: "Session", now: datetime) -> None:
        act(session, endpoint_id(session, name), now)

    in_ledger(settings_for(data), change, datetime.now(UTC), write=True)


@hook.command("pause")
def hook_pause(name: NameArgument, data: DataOption = None) -> None:
    """Keep what a system is to be told until `hook go-on`.

    Example: sanshen hook pause oa
    """
    from review.acts.hooks import change_endpoint

    _changing(data, name, lambda s, id_, now: change_endpoint(s, id_, now, paused=True, way_in=CLI))
    print(t("hook_paused", name=name))


@hook.command("go-on")
def hook_go_on(name: NameArgument, data: DataOption = None) -> None:
    """Tell a paused system what was kept, and go on.

    Example: sanshen hook go-on oa
    """
    from review.acts.hooks import change_endpoint

    _changing(
        data, name, lambda s, id_, now: change_endpoint(s, id_, now, paused=False, way_in=CLI)
    )
    print(t("hook_goes_on", name=name))


@hook.command("untell")
def hook_untell(name: NameArgument, data: DataOption = None) -> None:
    """Tell a system nothing more, also not what was on its way.

    Example: sanshen hook untell oa
    """
    from review.acts.hooks import remove_endpoint

    _changing(data, name, lambda s, id_, now: remove_endpoint(s, id_, now, way_in=CLI))
    print(t("hook_untold", name=name))


@hook.command("log")
def hook_log(
    state: Annotated[str, typer.Option(help="waiting, failing or delivered; else all.")] = "",
    endpoint: Annotated[str, typer.Option(help="Of this system alone.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 50,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was told or is to be told, the newest first.

    Example: sanshen hook log --state failing
    """
    from review.acts.hooks import posts

    if state not in ("", "waiting", "failing", "delivered"):
        fail("hook_state_wrong", state=state)

    def read(session: "Session", now: datetime) -> Any:
        return posts(session, None, now, limit=limit, endpoint=endpoint, state=state)

    found = in_ledger(settings_for(data), read, datetime.now(UTC))
    if as_json:
        show_json(found)
    else:
        moments = ("at", "delivered_at", "next_try_at")
        table(
            [
                {k: v.isoformat() if k in moments and v else v for k, v in row.items()}
                for row in found["items"]
            ],
            ("id", "endpoint", "event", "number", "at", "attempts", "delivered_at", "next_try_at",
             "status", "error"),
        )  # fmt: skip


@hook.command("resend")
def hook_resend(
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="An id of `hook log`.")],
    data: DataOption = None,
) -> None:
    """Send a message again now, with its own `webhook-id`.

    Example: sanshen hook resend msg_01jd3v
    """
    from review.acts.hooks import send_again

    def again(session: "Session", now: datetime) -> None:
        send_again(session, message, now, way_in=CLI)

    in_ledger(settings_for(data), again, datetime.now(UTC), write=True)
    print(t("hook_resent", message=message))


@people.command("oa-account")
def people_oa_account(
    person: PersonArgument,
    account: Annotated[str, typer.Argument(metavar="[ACCOUNT]", help="None: takes it away.")] = "",
    data: DataOption = None,
) -> None:
    """Say which account of the OA is this person's; it is never guessed by a name.

    Example: sanshen people oa-account wangfang oa10023
    """
    from review.acts.hooks import set_oa_account

    def set_(session: "Session", now: datetime) -> None:
        set_oa_account(session, person_row(session, person).id, account, now, way_in=CLI)

    in_ledger(settings_for(data), set_, datetime.now(UTC), write=True)
    print(t("oa_account_set", person=person, account=account or "—"))


def endpoint_id(session: "Session", name: str) -> str:
    """Return an endpoint's id by the system's name, or end the command."""
    from sqlmodel import select

    from review.records.hook_tables import HookEndpoint

    found = session.exec(select(HookEndpoint.id).where(HookEndpoint.name == name)).first()
    if found is None:
        fail("hook_unknown", NOT_FOUND, name=name)
    return found
