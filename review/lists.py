"""Read words files and source lists from YAML, and explain each mistake with file and line."""

from importlib.resources import files
from pathlib import Path

from review.packs import load_file
from review.rules.screening.lists import Sources, Words


def builtin_words() -> Path:
    """Return the words file that ships with the product."""
    return Path(str(files("review").joinpath("policies", "words-2026.yaml")))


def builtin_sources() -> Path:
    """Return the source whitelist that ships with the product."""
    return Path(str(files("review").joinpath("policies", "sources-2026.yaml")))


def load_words(path: Path, language: str = "zh") -> Words:
    """Return a words file.

    Args:
        language: What the mistakes are told in.

    Raises:
        PackError: Not there, not YAML, or against the rules; every mistake with its line.
    """
    return load_file(path, Words, language)


def load_sources(path: Path, language: str = "zh") -> Sources:
    """Return a source whitelist; PackError as for a words file."""
    return load_file(path, Sources, language)
