"""What people read, by code and language: Chinese first, English second.

Catalogues are flat YAML files, one an area, under `review/locales/LANGUAGE/`.
"""

from functools import cache
from importlib.resources import files
from typing import Any

from ruamel.yaml import YAML

LANGUAGES = ("zh", "en")


@cache
def catalogue(language: str) -> dict[str, str]:
    """Return every text of a language by code."""
    texts: dict[str, str] = {}
    for area in sorted(files("review").joinpath("locales", language).iterdir(), key=str):
        if area.name.endswith(".yaml"):
            texts |= YAML(typ="safe", pure=True).load(area.read_text(encoding="utf-8")) or {}
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
