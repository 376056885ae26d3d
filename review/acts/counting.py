"""As what an item counts in statistics (R5.2-3), as conditions on the ledger's rows."""

from typing import Any

from sqlalchemy import exists, literal
from sqlmodel import col

from review.records.tables import (
    Decision,
    FindingRow,
    Publication,
    Remark,
    Step,
    Submission,
)
from review.rules.statistics import REPOSTS
from review.rules.values import Status, Verdict


def _has(table: Any, *conditions: Any) -> Any:
    return exists().where(col(table.submission_id) == col(Submission.id), *conditions)


def asked_of_items() -> dict[str, Any]:
    """Return the conditions on an item from which everything it counts as follows."""
    return {
        "repost": col(Submission.source_type).in_(REPOSTS),
        "adopted": col(Submission.published_at).is_not(None),
        "returned": _has(Decision, col(Decision.verdict) == Verdict.RETURN),
        "rejected": col(Submission.status) == Status.REJECTED,
        "withdrawn": col(Submission.status) == Status.WITHDRAWN,
        "overdue": col(Submission.overdue_at).is_not(None)
        | _has(Step, col(Step.overdue_at).is_not(None)),
        "corrected": _has(Remark, col(Remark.kind) == "correct"),
        "retracted": _has(Publication, col(Publication.wanted) == "retracted"),
        "ignored": _has(FindingRow, col(FindingRow.ignored_at).is_not(None)),
    }


def condition(measure: str) -> Any:
    """Return the condition on the items that count as something, for a list of them.

    Raises:
        KeyError: There is no such measure.
    """
    asked = asked_of_items()
    derived = {
        "submitted": literal(True),
        "on_time": asked["adopted"] & ~asked["overdue"],
        "original": ~asked["repost"],
        "reposts": asked["repost"],
        "first_pass": asked["adopted"] & ~asked["returned"],
    }
    return (asked | derived)[measure]
