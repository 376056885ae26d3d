"""What one decision costs the web process: processor time and statements, no engine beside it.

The act runs as it does for a request, past the network: judged and committed with an fsync.
"""

import statistics
import time
from pathlib import Path

from sqlmodel import Session, col, select

from review.records.engine import counting
from review.records.people import Person
from review.records.tables import Step, Submission
from review.requests import DecisionRequest
from review.rules.values import StepState
from starter.reviews import Reviews
from tests.bench.figures import Figure
from tests.bench.ledgers import fill
from tests.bench.lists import NOW, ledger_at
from tests.examples import who

DECIDERS = {"edit_proof2": "editor_a", "second_review": "deputy_b"}
ROUND = 50  # decisions
WARM = 20  # fill what a process keeps


async def bench(folder: Path, *, decisions: int = 300) -> list[Figure]:
    """Take decisions one after the other; quote the median and the least of rounds of fifty.

    The least is the honest one on a machine that does other things too.
    """
    with ledger_at(folder, None) as ledger:
        fill(ledger, 10 * (decisions + WARM))
        with ledger.reading() as session:
            waiting = _waiting(session)[: decisions + WARM]
            people = {step: who(session, person) for step, person in DECIDERS.items()}
        reviews = Reviews(ledger, None, clock=lambda: NOW)
        with counting(ledger) as statements:
            await _decide(reviews, people, waiting[:1])
        await _decide(reviews, people, waiting[1:WARM])
        taken = []
        for start in range(WARM, len(waiting), ROUND):
            part = waiting[start : start + ROUND]
            began = time.process_time()
            await _decide(reviews, people, part)
            taken.append((time.process_time() - began) / len(part) * 1000)
    return [
        Figure(
            "one decision at the web process, processor time",
            f"median {statistics.median(taken):.2f} ms, least {min(taken):.2f} ms"
            f" (rounds of {ROUND}), {len(statements)} statements",
            numbers={"of": "decision", "x": decisions, "processor_ms": round(min(taken), 2)},
        )
    ]


Waiting = tuple[str, str, str, int]  # submission, step, digest, round


def _waiting(session: Session) -> list[Waiting]:
    rows = session.exec(
        select(Step.submission_id, Step.key, Submission.digest, Submission.round)
        .join(Submission, col(Submission.id) == col(Step.submission_id))
        .where(Step.state == StepState.OPEN)
        .where(col(Step.key).in_(DECIDERS))
        .order_by(col(Step.id))
    )
    return [(item, step, digest, round_) for item, step, digest, round_ in rows]


async def _decide(reviews: Reviews, people: dict[str, Person], rows: list[Waiting]) -> None:
    for item, step, digest, round_ in rows:
        request = DecisionRequest(step=step, verdict="approve", digest=digest, round=round_)
        await reviews.decide(people[step], item, request, decision_id=None, way_in="api")
