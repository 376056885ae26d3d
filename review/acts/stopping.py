"""A stop finding: the text is refused before anything is stored; what stays is that it happened.

Rule ids, moment, person and a salted hash are kept, and the security officer is told (R1.3-4).
"""

import hmac
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlmodel import Session

from review.ids import new_id
from review.records import audit
from review.records.people import Person, holders
from review.records.tables import Notice
from review.rules.errors import RefusedError
from review.rules.screening import Finding, screen, texts_of
from review.rules.values import Role
from review.texts import text


def stop_findings(request: BaseModel | dict[str, Any]) -> tuple[Finding, ...]:
    """Return what stops a request; every text in it is looked at, opinions and captions too."""
    fields = request.model_dump(mode="json") if isinstance(request, BaseModel) else request
    return screen(dict(texts_of(fields)) | dict(_names_of(fields)))


def _names_of(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the names that a caller chose, such as a checklist's keys: they are typed too."""
    if isinstance(value, Mapping):
        for number, (name, inner) in enumerate(value.items()):
            yield f"{place}.#{number}", str(name)
            yield from _names_of(inner, f"{place}.#{number}")
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _names_of(inner, f"{place}.{number}")


def shown(findings: Sequence[Finding], language: str = "zh") -> list[dict[str, Any]]:
    """Return findings for a person, with what to do about each."""
    return [
        {
            "id": finding.id,
            **finding.model_dump(mode="json"),
            "advice": text(finding.advice, language, suggest=finding.suggest),
            "advice_code": finding.advice,
            "waiver": finding.waiver or None,
            "waived_by": None,
        }
        for finding in findings
    ]


def stopped(findings: Sequence[Finding]) -> RefusedError:
    """Return the refusal that carries the findings."""
    return RefusedError("screening_stop", findings=shown(findings))


def remember_stop(
    session: Session,
    person: Person,
    what: str,
    request: BaseModel,
    findings: Sequence[Finding],
    way_in: str,
    now: datetime,
    secret: bytes,
) -> None:
    """Write down that a stop happened, without a character of the text, and tell security.

    Args:
        secret: Keys the hash, so that nobody tries texts against a copied ledger.
    """
    salt = secrets.token_bytes(16)
    mark = hmac.digest(secret, salt + request.model_dump_json().encode(), "sha256").hex()
    rules = sorted({finding.rule for finding in findings})
    entry = audit.append(
        session, audit.BUREAU, "screening_stop", at=now, person_id=person.id, way_in=way_in,
        data={"what": what, "rules": rules, "salt": salt.hex(), "hash": f"hmac-sha256:{mark}"},
    )  # fmt: skip
    for officer in holders(session, Role.SECURITY_ADMIN, "", now):
        session.add(
            Notice(
                id=new_id(),
                key=f"stop:{entry.hash}:{officer}",
                submission_id="",
                person_id=officer,
                kind="screening_stop",
                why="security",
                shown={"rules": rules, "by": person.id},
                at=now,
                not_before=now,
                next_try_at=now,
            )
        )
