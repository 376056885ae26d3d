"""Ways of notices, as the person of a token; the duty roster, by whoever runs the machine."""

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from starter.cli_admin import (
    DataOption,
    FileArgument,
    JsonOption,
    TokenOption,
    group,
    in_ledger,
    settings_for,
)
from starter.cli_output import cell, fail, say, show, show_json, t

notices = group("By which ways I am told.")
duty = group("Who is on duty (值班).")

GROUPS = {"notices": notices, "duty": duty}

UrlOption = Annotated[
    str | None, typer.Option("--url", help="The web's address; else the one in DATA/run.json.")
]
MINE = "/me/notices"
WAYS = ("way", "name", "scheme", "state", "detail", "last_at")
SHIFTS = ("unit", "person", "from_at", "until_at", "now")


def _client(token: str | None, url: str | None, data: Any) -> Any:
    from starter.cli_client import Client

    return Client(token, url, data)


@notices.command("show")
def notices_show(
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the ways I may choose, and which I chose for what; the inbox has everything.

    Example: sanshen notices show
    """
    found = _client(token, url, data).get(MINE)
    if as_json:
        show_json(found)
        return
    for sort, ways in found["choices"].items():
        print(f"{sort}: {', '.join(ways)}")
    show({"items": [*found["named"], *found["own"]], "next": None}, False, WAYS)


@notices.command("choose")
def notices_choose(
    sort: Annotated[str, typer.Argument(help="todo, reminder, escalation, result or digest.")],
    ways: Annotated[
        list[str] | None, typer.Argument(help="mail, named:… or own:…; none: the inbox alone.")
    ] = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose by which ways I am told of one sort of notices.

    Example: sanshen notices choose escalation mail named:duty-robot
    """
    found = _client(token, url, data).post(MINE, {"choices": {sort: ways or []}})
    if as_json:
        show_json(found)
    else:
        say(t("ways_chosen"))


@notices.command("add")
def notices_add(
    name: Annotated[str, typer.Argument(help="What I call it.")],
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a destination of my own; its address is read from standard input, never shown again.

    Example: sanshen notices add 我的群 < address.txt
    """
    if sys.stdin.isatty():
        address = typer.prompt(t("way_address"), hide_input=True, err=True)
    else:
        address = sys.stdin.readline().strip()
    found = _client(token, url, data).post(f"{MINE}/ways", {"name": name, "url": address})
    if as_json:
        show_json(found)
    else:
        say(t("way_added", name=name))


@notices.command("remove")
def notices_remove(
    way: Annotated[str, typer.Argument(metavar="WAY", help="own:… of `notices show`.")],
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a destination of my own; its address is forgotten at once.

    Example: sanshen notices remove own:01jd3v
    """
    found = _client(token, url, data).delete(f"{MINE}/ways/{way.removeprefix('own:')}")
    if as_json:
        show_json(found)
    else:
        say(t("way_removed"))


@duty.command("import")
def duty_import(file: FileArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Bring the duty roster to what FILE (YAML or CSV) says; see docs/notices.md.

    Example: sanshen duty import duty-2026-12.csv
    """
    from review.acts.duty import import_shifts, read_shifts

    if not file.is_file():
        fail("file_unreadable", file=file, why="-")
    shifts = read_shifts(file)
    changed = in_ledger(settings_for(data), import_shifts, shifts, datetime.now(UTC), write=True)
    if as_json:
        show_json(changed)
    else:
        print(t("duty_imported", counts=cell(changed) or t("unchanged")))


@duty.command("list")
def duty_list(
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who is on duty now and next.

    Example: sanshen duty list
    """
    show(_client(token, url, data).get("/duty"), as_json, SHIFTS)
