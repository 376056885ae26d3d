"""Texts from files: JSON, YAML, or Markdown with its fields as YAML before it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starter.cli_output import fail

LARGEST = 2 * 1024 * 1024  # bytes, as the interface takes them
FENCE = "---"


def read_text(file: Path) -> str:
    """Return a file's text, `-` being standard input; usage error when it can't be read."""
    try:
        raw = sys.stdin.buffer.read(LARGEST + 1) if str(file) == "-" else _bytes_of(file)
    except OSError as error:
        fail("file_unreadable", file=file, why=error.strerror or type(error).__name__)
    if len(raw) > LARGEST:
        fail("file_too_large", file=file, limit=LARGEST)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        fail("file_not_utf8", file=file)


def _bytes_of(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(LARGEST + 1)


def read_fields(file: Path) -> dict[str, Any]:
    """Return the fields that a file gives.

    `.json` is JSON, `.yaml` and `.yml` are YAML, anything else is Markdown: what stands between
    two lines of `---` at its head is YAML, the rest the body; a title may be its first heading.
    """
    text = read_text(file)
    suffix = file.suffix.lower()
    if suffix == ".json":
        return _mapping(_json(text, file), file)
    if suffix in (".yaml", ".yml"):
        return _mapping(_yaml(text, file), file)
    return _markdown(text, file)


def read_upload(file: Path) -> bytes:
    """Return a file's bytes; usage error when it can't be read or is larger than is taken."""
    from review.uploads import LARGEST as LARGEST_UPLOAD

    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST_UPLOAD + 1)
    except OSError as error:
        fail("file_unreadable", file=file, why=error.strerror or type(error).__name__)
    if len(content) > LARGEST_UPLOAD:
        fail("file_too_large", file=file, limit=LARGEST_UPLOAD)
    return content


def with_uploads(
    fields: dict[str, Any], file: Path, upload: Callable[[str, bytes, int], str]
) -> dict[str, Any]:
    """Return fields whose attachments, named by `path`, have been uploaded and have their id.

    Args:
        fields: `attachments` may hold paths, or mappings with `path` instead of `id`; a path is
            relative to the file's own folder.
        file: Where the fields come from.
        upload: Takes a name, bytes and which one it is; gives the id.
    """
    given = fields.get("attachments")
    if not isinstance(given, list):
        return fields
    folder = Path() if str(file) == "-" else file.parent
    kept: list[Any] = []
    for number, one in enumerate(given, 1):
        use = {"path": one} if isinstance(one, str) else one
        if isinstance(use, dict) and "path" in use:
            path = folder / str(use["path"])
            said = {name: held for name, held in use.items() if name != "path"}
            kept.append({"id": upload(path.name, read_upload(path), number), **said})
        else:
            kept.append(one)
    return fields | {"attachments": kept}


def _markdown(text: str, file: Path) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    lines = text.splitlines(keepends=True)
    if lines and lines[0].rstrip() == FENCE:
        ends = [n for n, line in enumerate(lines[1:], 1) if line.rstrip() == FENCE]
        if not ends:
            fail("front_matter_open", file=file)
        fields = _mapping(_yaml("".join(lines[1 : ends[0]]), file) or {}, file)
        lines = lines[ends[0] + 1 :]
    body = "".join(lines).strip("\r\n")
    if "title" not in fields and body.startswith("# "):
        heading, _, body = body.partition("\n")
        fields["title"] = heading.removeprefix("# ").strip()
        body = body.strip("\r\n")
    if "body" not in fields and body:
        fields["body"] = body + "\n"
    return fields


def _json(text: str, file: Path) -> Any:
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        fail("file_not_json", file=file, why=_first_line(error))


def _yaml(text: str, file: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import SafeConstructor
    from ruamel.yaml.error import YAMLError

    class Plain(SafeConstructor):
        """Leaves moments as they are written; YAML would turn them into UTC without saying so."""

    Plain.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: node.value)
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = Plain
    try:
        return yaml.load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        fail("file_not_yaml", file=file, why=_first_line(error))


def _mapping(value: Any, file: Path) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        fail("file_no_fields", file=file)
    return value


def _first_line(error: BaseException) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.line + 1}:{mark.column + 1} " if mark else ""
    return where + (getattr(error, "problem", None) or str(error)).partition("\n")[0]
