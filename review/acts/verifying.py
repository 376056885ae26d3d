"""Is this text what the bureau authorised under this number? For anyone, about public texts only.

The answer has one shape: a number that is nobody's, an item that is not public and a text that was
changed all get the same.
"""

import hmac
import re
from html import unescape
from typing import Literal

from sqlmodel import Session, col, select

from review.records.tables import Publication, Submission, Version
from review.rendering import body_html
from review.rules.digests import SHA256, SM3, algorithm_of
from review.rules.submissions import folded, text_digest
from review.rules.values import PublicationState

Answer = Literal["same", "retracted", "no"]

_TAG = re.compile(r"<[^>]+>")


def verify_text(session: Session, number: str, title: str, body: str) -> Answer:
    """Compare a text with those that went public under a number.

    White space and the marks of Markdown make no difference: what a reader copies off a page is
    without them.

    Returns:
        `same`; `retracted` when it was the authorised text but was taken back since; `no`.
    """
    given = {str(name): text_digest(title, body, name) for name in (SHA256, SM3)}
    plain = _plain(title, body)
    rows = session.exec(
        select(Version.title, Version.body, Version.text_digest, Publication.state)
        .join(Submission, col(Submission.id) == col(Version.submission_id))
        .join(
            Publication,
            (col(Publication.submission_id) == col(Version.submission_id))
            & (col(Publication.digest) == col(Version.digest)),
        )
        .where(Submission.number == number)
        .where(col(Publication.live_at).is_not(None))
        .where(col(Publication.state).in_([PublicationState.LIVE, PublicationState.RETRACTED]))
    ).all()
    found: set[str] = set()
    for known_title, known_body, known_digest, state in rows:
        exact = hmac.compare_digest(given[algorithm_of(known_digest)], known_digest)
        if exact or plain == _plain(known_title, known_body):
            found.add(state)
    if PublicationState.LIVE in found:
        return "same"
    return "retracted" if found else "no"


def _plain(title: str, body: str) -> str:
    """Return the words a reader sees, without any white space."""
    return f"{folded(title)}\n{folded(unescape(_TAG.sub('', body_html(body))))}"
