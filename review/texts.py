"""What people read, by code and language: Chinese first, English second.

Catalogues are flat YAML files, one an area, under `review/locales/LANGUAGE/`.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

LANGUAGES = ("zh", "en")
MOMENT = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)(?:T(?P<clock>\d\d:\d\d)(?::(?P<seconds>\d\d))?[+-]\d\d:\d\d)?"
)


@cache
def catalogue(language: str) -> dict[str, str]:
    """Return every text of a language by code."""
    texts: dict[str, str] = {}
    for area in sorted(files("review").joinpath("locales", language).iterdir(), key=str):
        if area.name.endswith(".yaml"):
            # libyaml's: every process reads these, and ruamel's takes twelve times as long
            texts |= yaml.load(area.read_text(encoding="utf-8"), yaml.CSafeLoader) or {}
    return texts


def text(code: str, language: str = "zh", **params: Any) -> str:
    """Return the text of a code with its parameters filled in; an unknown code stays itself."""
    pattern = catalogue(language if language in LANGUAGES else "zh").get(code)
    if pattern is None:
        return code
    try:
        return pattern.format(**params)
    except (KeyError, IndexError):
        return pattern


def sentence(reason: Mapping[str, Any], language: str = "zh") -> str:
    """Return one stored `{code, params}` in words, its days and moments as people write them.

    Moments are RFC 3339 in the bureau's zone already, days ISO 8601; a person's name or any other
    value is left alone. Seconds are shown where there are any, for packs that count in seconds.
    """
    given = {
        name: in_words(value, language) if isinstance(value, str) and name != "by" else value
        for name, value in reason.get("params", {}).items()
    }
    return text(str(reason["code"]), language, **given)


def in_words(value: str, language: str = "zh") -> str:
    """Return a value with each day and moment in it as `2026年11月22日 09:30`."""

    def written(found: re.Match[str]) -> str:
        day = found["day"]
        if language == "zh":
            at = datetime.fromisoformat(day)
            day = f"{at.year}年{at.month}月{at.day}日"
        seconds = found["seconds"] or "00"
        clock = (found["clock"] or "") + (f":{seconds}" if seconds != "00" else "")
        return f"{day} {clock}".rstrip()

    words = MOMENT.sub(written, value)
    return words.replace(", ", "、") if language == "zh" and words != value else words
