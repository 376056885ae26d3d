"""Read policy packs and calendars from YAML, and explain each mistake with file and line."""

import difflib
import re
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from review.rules.calendar import Calendar
from review.rules.policy import Policy
from review.rules.submissions import canonical, sha256
from review.texts import text

BUILTIN = ("hebei-lcj-2022-35", "demo-seconds")

Kind = TypeVar("Kind", bound=BaseModel)
Place = tuple[tuple[str, ...], str]
Found = tuple[tuple[str, ...], str, dict[str, Any]]  # where, code, params


@dataclass(frozen=True)
class Mistake:
    """One mistake in a file; `line` counts from 1, `message` is the text of `policy.CODE`."""

    path: str
    line: int
    key: str
    message: str
    code: str
    params: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.key + ': ' if self.key else ''}{self.message}"


class PackError(Exception):
    """A file that can't be used; one line a mistake."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


class _Reader(RoundTripConstructor):
    """Leaves days as text, so that an impossible one is a mistake with its line."""


_Reader.add_constructor("tag:yaml.org,2002:timestamp", RoundTripConstructor.construct_scalar)


def builtin_pack(name: str) -> Path:
    """Return the file of a pack that ships with the product, or the path that `name` is."""
    if name in BUILTIN:
        return Path(str(files("review").joinpath("policies", f"{name}.yaml")))
    return Path(name)


def builtin_calendar() -> Path:
    """Return the file of the calendar that ships with the product."""
    return Path(str(files("review").joinpath("policies", "calendar-2026.yaml")))


def load_pack(path: Path, language: str = "zh") -> Policy:
    """Return a policy pack.

    Args:
        language: What the mistakes are told in.

    Raises:
        PackError: Not there, not YAML, or against the rules of a pack; every mistake with its line.
    """
    return load_file(path, Policy, language)


def load_calendar(path: Path, language: str = "zh") -> Calendar:
    """Return a working calendar; PackError as for a pack."""
    return load_file(path, Calendar, language)


def digest_of(value: BaseModel) -> str:
    """Return the digest by which a pack or calendar is pinned."""
    return sha256(canonical(value.model_dump(mode="json", by_alias=True)))


def read_yaml(path: Path, language: str = "zh") -> Any:
    """Return a YAML file with its places; PackError when it can't be read."""

    def refused(code: str, line: int = 1, **params: Any) -> PackError:
        message = text(f"policy.{code}", language, **params)
        return PackError([Mistake(str(path), line, "", message, code, params)])

    try:
        reader = YAML(typ="rt")
        reader.Constructor = _Reader
        return reader.load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise refused("unreadable", why=error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise refused("not_utf8") from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        why = (error.problem or "?").partition("\n")[0]
        raise refused("not_yaml", line, why=why) from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise refused("not_yaml", why=str(error).partition("\n")[0]) from error


def load_file(path: Path, kind: type[Kind], language: str) -> Kind:
    """Return any file of ours as its kind; PackError as for a pack."""
    tree = read_yaml(path, language)
    found: dict[Place, Found] = {}
    if not isinstance(tree, dict):
        _keep(found, ((), "not_a_mapping", {}))
    else:
        try:
            return kind.model_validate(_plain(tree), extra="forbid")
        except ValidationError as error:
            for one in error.errors(include_url=False):
                for mistake in _found(tree, one, kind):
                    _keep(found, mistake)
        except RecursionError:  # an alias that holds itself
            _keep(found, ((), "not_yaml", {"why": "recursive alias"}))
    mistakes = [
        Mistake(
            path=str(path),
            line=_line(tree, where),
            key=".".join(where),
            message=text(f"policy.{code}", language, **params),
            code=code,
            params=params,
        )
        for where, code, params in found.values()
    ]
    raise PackError(sorted(mistakes, key=lambda m: m.line))


def _keep(found: dict[Place, Found], mistake: Found) -> None:
    """Keep one mistake of a kind a place; of an alternative's several answers the clearest."""
    where, code, _ = mistake
    if code == "wrong_value" and any(place == where for place, _ in found):
        return
    if code != "wrong_value":
        found.pop((where, "wrong_value"), None)
    found[where, code] = mistake


def _plain(tree: Any) -> Any:
    """Return the tree without ruamel's own types."""
    if isinstance(tree, dict):
        return {str(key): _plain(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_plain(value) for value in tree]
    return tree


def _found(tree: Any, error: Any, kind: type[BaseModel]) -> Iterator[Found]:
    """Yield what one of pydantic's errors says, in our words."""
    name = error["type"]
    if name == "problems":
        for one in error["ctx"]["problems"]:
            yield tuple(one["where"]), one["code"], one["params"]
        return
    where = _place(tree, error["loc"], missing=name == "missing")
    given = str(error["input"])[:60]
    if name == "extra_forbidden":
        near = difflib.get_close_matches(where[-1], _keys_at(kind, where[:-1]), 1)
        yield (where, "unknown_key_near", {"near": near[0]}) if near else (where, "unknown_key", {})
    elif name == "missing":
        yield where, "missing", {}
    elif name in ("enum", "literal_error"):
        expected = error["ctx"]["expected"]
        near = difflib.get_close_matches(given, re.findall(r"'([^']+)'", expected), 1)
        if near:
            yield where, "unknown_word_near", {"given": given, "near": near[0]}
        else:
            listed = expected.replace("'", "").replace(" or ", ", ")
            yield where, "unknown_word", {"given": given, "expected": listed}
    elif name in OWN_ERRORS:
        yield where, name, {}
    else:
        yield where, "wrong_value", {"given": given, "why": error["msg"]}


OWN_ERRORS = ("not_a_length", "length_too_long", "not_a_span", "not_a_time", "zone_unknown")


def _place(tree: Any, loc: Iterable[Any], *, missing: bool) -> tuple[str, ...]:
    """Return where an error is, without the names of pydantic's own alternatives."""
    where: list[str] = []
    parts = [str(part) for part in loc]
    for index, part in enumerate(parts):
        if isinstance(tree, dict) and part in tree:
            tree = tree[part]
        elif isinstance(tree, list) and part.isdecimal() and int(part) < len(tree):
            tree = tree[int(part)]
        elif not (missing and index == len(parts) - 1):
            continue
        where.append(part)
    return tuple(where)


def _keys_at(kind: Any, where: Iterable[str]) -> list[str]:
    """Return the keys that a place of the file may have, by the model's own annotations."""
    for part in where:
        kind = _model(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = next(
                (
                    one.annotation
                    for name, one in kind.model_fields.items()
                    if part in (name, one.alias)
                ),
                None,
            )
        elif typing.get_origin(kind) is dict:
            kind = typing.get_args(kind)[1]
        elif typing.get_origin(kind) is tuple:
            kind = typing.get_args(kind)[0]
    kind = _model(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [one.alias or name for name, one in kind.model_fields.items()]
    return []


def _model(kind: Any) -> Any:
    """Return what an annotation is about: without notes, without `None`."""
    if typing.get_origin(kind) is typing.Annotated:
        return _model(typing.get_args(kind)[0])
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        rest = [one for one in typing.get_args(kind) if one is not type(None)]
        return _model(rest[-1])
    return kind


def _line(tree: Any, where: Iterable[str]) -> int:
    """Return the line of the deepest part of a place that the file has; a step goes by its id."""
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
                    line = tree.lc.item(index)[0] + 1
                    tree = one
                    break
            else:
                break
        else:
            break
    return line
