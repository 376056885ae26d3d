"""The pages' own sentences, from message catalogues; Chinese is written in the templates.

Words for the rules' codes (a step, a status, a refusal) come from `review.texts` instead, because
the command line and the mails say them too.
"""

from functools import cache
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

LOCALE = Path(__file__).parent.parent / "locale"


@cache
def messages(language: str) -> Translations:
    """Return a language's catalogue, compiled in memory when it is first wanted."""
    with (LOCALE / language / "messages.po").open("rb") as file:
        catalogue = read_po(file, locale=language)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(compiled)


def say(message: str, language: str, **params: object) -> str:
    """Return one sentence with its `%(name)s` filled in; for what is said outside a template."""
    words = str(messages(language).gettext(message))
    return words % params if params else words


def N_(message: str) -> str:
    """Mark a message for the catalogues; it is translated where it is shown."""
    return message
