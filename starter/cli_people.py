"""Accounts, roles and tokens, for whoever has the machine's console."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from starter.cli_admin import (
    GROUPS,
    DataOption,
    JsonOption,
    PersonArgument,
    in_ledger,
    people,
    person_row,
    settings_for,
    token,
)
from starter.cli_output import fail, say, show_json, t, table

if TYPE_CHECKING:
    from sqlmodel import Session

__all__ = ["GROUPS"]

CLI = "cli"


@people.command("disable")
def people_disable(person: PersonArgument, data: DataOption = None) -> None:
    """Close an account: sessions and tokens end at once, open steps are asked anew.

    Example: sanshen people disable wangfang
    """
    from review.acts.roster import close_account

    def close(session: "Session", now: datetime) -> None:
        close_account(session, person_row(session, person).id, now, way_in=CLI)

    in_ledger(settings_for(data), close, datetime.now(UTC), write=True)
    print(t("person_disabled", person=person))


@people.command("enable")
def people_enable(person: PersonArgument, data: DataOption = None) -> None:
    """Open an account again; its sessions and tokens stay ended.

    Example: sanshen people enable wangfang
    """
    from review.acts.roster import open_account

    def open_(session: "Session", now: datetime) -> None:
        open_account(session, person_row(session, person).id, now, way_in=CLI)

    in_ledger(settings_for(data), open_, datetime.now(UTC), write=True)
    print(t("person_enabled", person=person))


@people.command("grants")
def people_grants(
    person: Annotated[str | None, typer.Argument(help="A user name or an id.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the roles held now, with the ids that `people revoke` takes.

    Example: sanshen people grants wangfang
    """
    from review.records.bureau import grants

    def read(session: "Session", now: datetime) -> list[dict[str, str | None]]:
        whose = person_row(session, person).id if person else None
        return [
            {
                "id": one["id"],
                "person": one["person"]["username"],
                "role": one["role"],
                "unit": one["unit"],
                "until": one["until_at"].isoformat() if one["until_at"] else None,
            }
            for one in grants(session, now, whose)
        ]

    found = in_ledger(settings_for(data), read, datetime.now(UTC))
    if as_json:
        show_json({"items": found, "next": None})
    else:
        table(found)


@people.command("grant")
def people_grant(
    person: PersonArgument,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="Such as unit_head.")],
    unit: Annotated[str, typer.Option(help="For a unit's role its unit.")] = "",
    data: DataOption = None,
) -> None:
    """Give a role from now on; the three administrators' roles are kept apart.

    Example: sanshen people grant wangfang unit_head --unit fire
    """
    from review.acts.roster import give_role
    from review.rules.values import Role

    if role not in set(Role):
        fail("role_unknown", role=role, roles=", ".join(Role))

    def give(session: "Session", now: datetime) -> None:
        row = person_row(session, person)
        give_role(session, row.id, Role(role), unit or row.unit_id, now)

    in_ledger(settings_for(data), give, datetime.now(UTC), write=True)
    print(t("role_given", person=person, role=role))


@people.command("revoke")
def people_revoke(
    grant: Annotated[str, typer.Argument(metavar="GRANT", help="An id of `people grants`.")],
    data: DataOption = None,
) -> None:
    """End a role now; open steps that waited for it are asked anew.

    Example: sanshen people revoke 01jd3v
    """
    from review.acts.roster import take_role

    in_ledger(settings_for(data), take_role, grant, datetime.now(UTC), write=True)
    print(t("role_taken", grant=grant))


@people.command("reset-second-factor")
def people_reset_second_factor(person: PersonArgument, data: DataOption = None) -> None:
    """Take a second factor away, for a lost telephone; ends the person's sessions.

    Example: sanshen people reset-second-factor wangfang
    """
    from review.acts.roster import remove_second_factor

    def remove(session: "Session", now: datetime) -> None:
        remove_second_factor(session, person_row(session, person).id, now, way_in=CLI)

    in_ledger(settings_for(data), remove, datetime.now(UTC), write=True)
    print(t("second_factor_removed", person=person))


@people.command("first-key")
def people_first_key(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Make a new key for a first administrator; only while none can sign in.

    Example: sanshen people first-key
    """
    from review.records.first_key import make_another_key

    key = in_ledger(settings_for(data), make_another_key, datetime.now(UTC), write=True)
    if as_json:
        show_json({"first_key": key})
    else:
        say(t("first_key"))
        print(key)


@token.command("list")
def token_list(
    person: PersonArgument, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List a person's tokens; what they are is not kept.

    Example: sanshen token list wangfang
    """
    from review.records.access import tokens_of

    def read(session: "Session") -> list[dict[str, str]]:
        found = tokens_of(session, person_row(session, person).id)
        return [one | {"created_at": one["created_at"].isoformat()} for one in found]

    found = in_ledger(settings_for(data), read)
    if as_json:
        show_json({"items": found, "next": None})
    else:
        table(found)


@token.command("revoke")
def token_revoke(
    token_id: Annotated[str, typer.Argument(metavar="TOKEN", help="An id of `token list`.")],
    data: DataOption = None,
) -> None:
    """End a token now.

    Example: sanshen token revoke 01jd3v
    """
    from review.records.access import revoke_token

    def revoke(session: "Session", now: datetime) -> None:
        revoke_token(session, token_id, now, way_in=CLI)

    in_ledger(settings_for(data), revoke, datetime.now(UTC), write=True)
    print(t("token_revoked", token=token_id))
