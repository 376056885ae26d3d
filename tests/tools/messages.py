"""Bring the pages' message catalogues up to date: `python -m tests.tools.messages`.

Chinese is the source and translates itself; English entries that are new stay empty, and a test
fails until they are filled in.
"""

from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

WEB = Path(__file__).parents[2] / "starter" / "web"
METHODS = [("templates/**.html", "jinja2"), ("pages/**.py", "python")]
OPTIONS = {"templates/**.html": {"trimmed": "true", "silent": "false"}}
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "say": None, "N_": None}


def found() -> Catalog:
    """Return every message that templates and page modules say."""
    catalogue = Catalog(charset="utf-8")
    messages = extract_from_dir(WEB, METHODS, OPTIONS, KEYWORDS, strip_comment_tags=True)
    for filename, _, message, comments, context in sorted(
        messages, key=lambda one: (one[0], one[1])
    ):
        catalogue.add(message, None, [(filename, None)], auto_comments=comments, context=context)
    return catalogue


def path_of(language: str) -> Path:
    return WEB / "locale" / language / "messages.po"


def kept(language: str) -> Catalog:
    """Return the catalogue as it stands in the repository."""
    with path_of(language).open("rb") as file:
        return read_po(file, locale=language, charset="utf-8")


def renewed(language: str) -> Catalog:
    """Return a language's catalogue with exactly the messages that are said today."""
    old = kept(language) if path_of(language).exists() else Catalog()
    new = Catalog(locale=language, charset="utf-8", fuzzy=False, project="sanshen")
    for message in found():
        if not message.id:
            continue
        said = old.get(message.id, message.context)
        string = said.string if said else ""
        if language == "zh":
            string = (message.id[0],) if isinstance(message.id, tuple) else message.id
        elif isinstance(message.id, tuple) and not string:
            string = ("", "")
        new.add(message.id, string, sorted(set(message.locations)), context=message.context)
    return new


def main() -> None:
    for language in ("zh", "en"):
        catalogue = renewed(language)
        with path_of(language).open("wb") as file:
            write_po(
                file, catalogue, omit_header=True, width=100, sort_output=True,
                include_lineno=False,
            )  # fmt: skip


if __name__ == "__main__":
    main()
