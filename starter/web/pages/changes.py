"""What changed between two versions, character by character: Chinese has no words to split at."""

import difflib
from collections.abc import Sequence
from typing import Any

from review.rules.submissions import figures_in

Json = dict[str, Any]
Mark = tuple[str, str]  # "same", "gone" or "new", and the text
LIKE = 0.4  # two lines less alike than this are shown one after the other
LONGEST = 4_000  # characters of a line that are compared one by one


def marks(old: str, new: str) -> list[Mark]:
    """Return a line's parts: what stayed, what went, what came."""
    if max(len(old), len(new)) > LONGEST:
        return [("gone", old), ("new", new)]
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    if matcher.ratio() < LIKE:
        return [(kind, text) for kind, text in (("gone", old), ("new", new)) if text]
    found: list[Mark] = []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            found.append(("same", old[i1:i2]))
        else:
            found += [m for m in (("gone", old[i1:i2]), ("new", new[j1:j2])) if m[1]]
    return found


def lines_of(diff: Json) -> list[list[Mark] | int]:
    """Return the body's lines; a number stands for so many that stayed as they were."""
    found: list[list[Mark] | int] = []
    for change in diff["body"]:
        if change["change"] == "equal":
            found.append(len(change["from"]))
            continue
        for old, new in paired(change["from"], change["to"]):
            if old or new:
                found.append(marks(old, new))
    return found


def lines_between(old: str, new: str) -> list[list[Mark] | int]:
    """Return two bodies' lines as `lines_of` does, before the newer one is anywhere kept."""
    before, after = old.splitlines(), new.splitlines()
    matcher = difflib.SequenceMatcher(a=before, b=after, autojunk=False)
    body = [
        {"change": tag, "from": before[i1:i2], "to": after[j1:j2]}
        for tag, i1, i2, j1, j2 in matcher.get_opcodes()
    ]
    return lines_of({"body": body})


def figures_differ(old: Json, new: Json) -> bool:
    """Tell whether an edit touches a figure, which makes it substantive (A-16)."""
    was, is_ = (f"{one['title']}\n{one['body']}" for one in (old, new))
    return figures_in(was) != figures_in(is_)


def paired(old: Sequence[str], new: Sequence[str]) -> list[tuple[str, str]]:
    """Return lines beside each other; what has no counterpart stands alone."""
    longest = max(len(old), len(new))
    return [
        (old[i] if i < len(old) else "", new[i] if i < len(new) else "") for i in range(longest)
    ]


def bases(item: Json, versions: Sequence[Json], person_id: str) -> list[tuple[str, int]]:
    """Return what the current text may be compared with: `(last, unit, live or before; number)`.

    `last` is what this person decided on last, `unit` what the unit's head approved, `live` what
    the public reads now.
    """
    numbers = {version["digest"]: version["version"] for version in versions}
    seen = [d["digest"] for d in item["decisions"] if d["person"]["id"] == person_id]
    unit = [
        d["digest"]
        for d in item["decisions"]
        if d["step"] in ("unit_review", "unit_reconfirm") and d["verdict"] == "approve"
    ]
    live = [p["digest"] for p in item["publications"] if p["state"] == "live"]
    found = [
        (name, numbers[digests[-1]])
        for name, digests in (("last", seen), ("unit", unit), ("live", live))
        if digests and digests[-1] in numbers
    ]
    if not any(number == item["version"] - 1 for _, number in found) and item["version"] > 1:
        found.append(("before", item["version"] - 1))
    return [(name, number) for name, number in found if number < item["version"]]


def from_original(item: Json) -> Json | None:
    """Return how a text differs from the original it was taken from (R3.2-5); None without one."""
    source = item["source"]
    body = str(source.get("original_body") or "")
    if not body:
        return None
    title = str(source.get("original_title") or item["title"])
    return {
        "title": marks(title, item["title"]) if title != item["title"] else None,
        "lines": lines_between(body, item["body"]),
        "source": False,
        "attachments": False,
        "figures": None,
        "same": title == item["title"] and _tight(body) == _tight(item["body"]),
    }


def _tight(text: str) -> str:
    """Return a text without white space, as an unaltered repost is judged."""
    return "".join(text.split())
