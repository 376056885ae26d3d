"""Read policy packs and calendars from YAML, and explain each mistake with file and line."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from review.rules.calendar import Calendar
from review.rules.policy import Policy
from review.rules.submissions import canonical, sha256

BUILTIN = ("hebei-lcj-2022-35", "demo-seconds")


@dataclass(frozen=True)
class Mistake:
    """One mistake in a file; `line` counts from 1."""

    path: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.key + ': ' if self.key else ''}{self.message}"


class PackError(Exception):
    """A file that can't be used; one line a mistake."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


def builtin_pack(name: str) -> Path:
    """Return the file of a pack that ships with the product, or the path that `name` is."""
    if name in BUILTIN:
        return Path(str(files("review").joinpath("policies", f"{name}.yaml")))
    return Path(name)


def builtin_calendar() -> Path:
    """Return the file of the calendar that ships with the product."""
    return Path(str(files("review").joinpath("policies", "calendar-2026.yaml")))


def load_pack(path: Path) -> Policy:
    """Return a policy pack.

    Raises:
        PackError: Not there, not YAML, or against the rules of a pack; every mistake with its line.
    """
    policy: Policy = _load(path, Policy)
    return policy


def load_calendar(path: Path) -> Calendar:
    """Return a working calendar; PackError as for a pack."""
    calendar: Calendar = _load(path, Calendar)
    return calendar


def digest_of(value: BaseModel) -> str:
    """Return the digest by which a pack or calendar is pinned."""
    return sha256(canonical(value.model_dump(mode="json", by_alias=True)))


def read_yaml(path: Path) -> Any:
    """Return a YAML file with its places; PackError when it can't be read."""
    try:
        return YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PackError([Mistake(str(path), 1, "", error.strerror or str(error))]) from error
    except UnicodeDecodeError as error:
        raise PackError([Mistake(str(path), 1, "", "is not UTF-8")]) from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PackError([Mistake(str(path), line, "", error.problem or "is not YAML")]) from error


def _load(path: Path, kind: type[Any]) -> Any:
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise PackError([Mistake(str(path), 1, "", "must be a mapping of keys")])
    try:
        return kind.model_validate(_plain(tree))
    except ValidationError as error:
        mistakes = [_mistake(path, tree, one, kind) for one in error.errors(include_url=False)]
        raise PackError(sorted(set(mistakes), key=lambda m: m.line)) from error


def _plain(tree: Any) -> Any:
    """Return the tree without ruamel's own types."""
    if isinstance(tree, dict):
        return {str(key): _plain(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_plain(value) for value in tree]
    return tree


def _mistake(path: Path, tree: Any, error: Any, kind: type[BaseModel]) -> Mistake:
    where = [str(part) for part in error["loc"]]
    message = error["msg"].removeprefix("Value error, ")
    if not where and ": " in message:  # the whole pack's own check names its place
        place, message = message.split(": ", 1)
        where = place.split(".")
    if error["type"] == "extra_forbidden":
        known = list(kind.model_fields)
        close = difflib.get_close_matches(where[-1], known, 1)
        message = "is no key of a pack" + (f"; did you mean {close[0]}?" if close else "")
    if error["type"] == "missing":
        message = "is missing"
    return Mistake(str(path), _line(tree, where), ".".join(where), message)


def _line(tree: Any, where: list[str]) -> int:
    """Return the line of the deepest part of a place that the file has."""
    line = 1
    for part in where:
        if isinstance(tree, CommentedMap) and part in tree:
            line = tree.lc.key(part)[0] + 1
            tree = tree[part]
        elif isinstance(tree, CommentedSeq) and part.isdecimal() and int(part) < len(tree):
            line = tree.lc.item(int(part))[0] + 1
            tree = tree[int(part)]
        elif isinstance(tree, CommentedSeq):
            for index, one in enumerate(tree):
                if isinstance(one, dict) and one.get("id") == part:
                    line, tree = tree.lc.item(index)[0] + 1, one
        else:
            break
    return line
