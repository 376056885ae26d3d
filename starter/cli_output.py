"""How the command line shows facts: tables for people, JSON for programs, errors in a line."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

DONE, REFUSED, USAGE, OUTSIDE, NOT_FOUND, NOT_ALLOWED = range(6)  # exit codes (contract)
EXIT_OF_STATUS = {
    400: USAGE,
    401: NOT_ALLOWED,
    403: NOT_ALLOWED,
    404: NOT_FOUND,
    409: REFUSED,
    413: USAGE,
    415: USAGE,
    422: USAGE,
    429: OUTSIDE,
}
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d:\d\d")
NARROW = 48  # characters of a text in a table


class CommandError(Exception):
    """A command ends without having done its work; the message is one line."""

    def __init__(self, line: str, exit_code: int = USAGE) -> None:
        self.exit_code = exit_code
        super().__init__(" ".join(line.split()))


def language() -> str:
    """Return the language to speak before, and whether or not, the settings can be read."""
    import os

    chosen = os.environ.get("SANSHEN_LANGUAGE", "")
    return chosen if chosen in ("zh", "en") else "zh"


def t(code: str, **params: Any) -> str:
    """Return a text of the command line."""
    from review.texts import text

    return text(f"cli.{code}", language(), **params)


def fail(code: str, exit_code: int = USAGE, **params: Any) -> NoReturn:
    """End the command with one line of the catalogue."""
    raise CommandError(t(code, **params), exit_code)


def word(name: str) -> str:
    """Return a field, status, step or verdict as a reader knows it."""
    found = t(f"word.{name}")
    return name if found.startswith("cli.word.") else found


def say(line: str) -> None:
    """Tell a person something that is not a fact asked for; never on standard output."""
    print(line, file=sys.stderr)


def show_json(value: Any) -> None:
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2, default=str)
    print()


def moment(value: str) -> str:
    """Return a moment as people write it; `--json` has it exactly."""
    at = datetime.fromisoformat(value)
    return at.strftime("%Y年%m月%d日 %H:%M" if language() == "zh" else "%Y-%m-%d %H:%M")


def cell(value: Any) -> str:
    """Return a value in the space of a table's cell."""
    match value:
        case None | "":
            return ""
        case bool():
            return t("yes") if value else t("no")
        case {"name": str(name)}:
            return name
        case {"text": str(line)} | {"advice": str(line)}:
            return line
        case Mapping():
            return "，".join(f"{word(str(k))} {cell(v)}" for k, v in value.items() if cell(v))
        case str():
            return moment(value) if MOMENT.fullmatch(value) else word(value)
        case Sequence():
            return "、".join(filter(None, map(cell, value)))
    return str(value)


def table(rows: Sequence[Any], columns: Sequence[str] = (), title: str = "") -> None:
    """Show rows; without columns named, those that hold anything."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if title:
        print(title)
    if not rows:
        print(t("nothing"))
        return
    if not all(isinstance(row, Mapping) for row in rows):
        for row in rows:
            print(cell(row))
        return
    names = columns or list(dict.fromkeys(name for row in rows for name in row))
    names = [name for name in names if any(cell(row.get(name)) for row in rows)]
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in names:
        shown.add_column(Text(word(name)), overflow="fold")
    for row in rows:
        # Text, not markup: a title with brackets stays what it is.
        shown.add_row(*(Text(cell(row.get(name))) for name in names))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    console.print(shown)


def facts(value: Mapping[str, Any], names: Sequence[str] = ()) -> None:
    """Show one thing: a line each for what is plain, a table each for what is a list of things."""
    chosen = {name: value.get(name) for name in names} if names else dict(value)
    lists = {}
    for name, held in chosen.items():
        if isinstance(held, (list, tuple)) and any(isinstance(row, Mapping) for row in held):
            lists[name] = held
        elif line := cell(held):
            print(f"{word(name)}: {line}")
    for name, rows in lists.items():
        print()
        table(rows, title=word(name))


def show(value: Any, as_json: bool, columns: Sequence[str] = ()) -> None:
    """Show an answer of the interface."""
    if as_json:
        show_json(value)
    elif isinstance(value, Mapping) and set(value) == {"items", "next"}:
        table(value["items"], columns)
        if value["next"]:
            say(t("more", after=value["next"]))
    elif isinstance(value, Mapping):
        facts(value)
    else:
        table(value, columns)
