"""A submission's course in a test, act by act, on a real ledger without an engine."""

from datetime import datetime, timedelta
from typing import Any

from review.acts import acting, deciding, editing, submitting, turning
from review.acts.item import Item
from review.acts.publishing import claim, finish
from review.acts.screening import rows_of
from review.ids import new_id
from review.records.engine import Ledger
from review.requests import ActRequest, DecisionRequest, NewVersion
from review.rules.positions import Position
from review.rules.publications import Claim, Receipt
from review.rules.values import PublicationState
from tests.examples import CHECKLIST, MONDAY, a_draft, who

WHO = {  # who decides what in a plain course
    "edit_proof2": "editor_a",
    "second_review": "deputy_b",
    "center_sign": "chief",
    "office_opinion": "reviewer_b",
    "proof3_publish": "publisher_a",
}


def warnings_of(ledger: Ledger, submission: str) -> list[str]:
    """Return the ids that a reviewer of the current text must tick."""
    with ledger.reading() as session:
        rows = rows_of(session, Item.seen(session, submission).row)
    return [one.finding_id for one in rows if one.severity == "warn"]


class Course:
    """Drives one submission; `now` moves only when told."""

    def __init__(
        self,
        ledger: Ledger,
        author: str = "afforest_info",
        *,
        now: datetime = MONDAY,
        **draft: Any,
    ) -> None:
        self.ledger = ledger
        self.now = now
        self.author = author
        self.answer = self._write(
            lambda s: submitting.submit(
                s, who(s, author, self.now), a_draft(**draft), way_in="api", now=self.now
            )
        )
        self.id: str = self.answer["id"]

    def _write(self, act: Any) -> Any:
        return self.ledger.write(lambda session: act(session))

    def turn(self) -> Position:
        """Take a turn, as the workflow would."""
        return self._write(lambda s: turning.advance(s, self.id, self.now))

    def wait(self, **length: float) -> Position:
        """Let time pass, then take a turn."""
        self.now += timedelta(**length)
        return self.turn()

    def until(self, moment: datetime) -> Position:
        self.now = moment
        return self.turn()

    def row(self) -> Any:
        with self.ledger.reading() as session:
            return Item.seen(session, self.id).row

    def item(self, look: Any) -> Any:
        with self.ledger.reading() as session:
            return look(Item.seen(session, self.id))

    def decide(self, person: str, step: str, verdict: str = "approve", **fields: Any) -> Any:
        """Decide on the current text, ticking what the step requires."""
        given = {
            "step": step,
            "verdict": verdict,
            "digest": self.row().digest,
            "checklist": CHECKLIST if step == "unit_review" else {},
            "findings_seen": warnings_of(self.ledger, self.id),
        } | fields
        key = given.pop("decision_id", None) or new_id()
        return self._write(
            lambda s: deciding.decide(
                s, who(s, person, self.now), self.id, DecisionRequest.model_validate(given),
                decision_id=key, way_in="api", now=self.now,
            )
        )  # fmt: skip

    def edit(self, person: str, **fields: Any) -> Any:
        given = {"base_digest": self.row().digest} | fields
        return self._write(
            lambda s: editing.new_version(
                s, who(s, person, self.now), self.id, NewVersion.model_validate(given),
                way_in="api", now=self.now,
            )
        )  # fmt: skip

    def act(self, person: str, act: str, **fields: Any) -> Any:
        return self._write(
            lambda s: acting.act(
                s, who(s, person, self.now), self.id,
                ActRequest.model_validate({"act": act} | fields), way_in="api", now=self.now,
            )
        )  # fmt: skip

    def head(self) -> str:
        return {"afforest": "afforest_head", "forest": "forest_head", "fire": "fire_head",
                "pest": "pest_head", "center": "section_head"}[self.row().unit_id]  # fmt: skip

    def final(self) -> str:
        role = self.item(lambda i: next(s.role for s in i.case.current_steps() if s.tier == 3))
        leaders = {"afforest": "leader_eco", "forest": "leader_eco", "fire": "leader_prot",
                   "pest": "leader_pub", "center": "leader_pub"}  # fmt: skip
        return {
            "center_chief": "chief",
            "supervising_leader": leaders[self.row().unit_id],
            "bureau_chief": "bureau_chief",
        }[role]

    def usual(self, step: str, unit: str = "") -> str:
        """Return who decides a step in a plain course."""
        if step == "unit_review" or step == "unit_reconfirm":
            return self.head()
        if step == "final_review":
            return self.final()
        if step == "proof3_publish" and unit == "pest":
            return "pest_operator"
        return WHO[step]

    def run(self, until: str | None = None) -> Position:
        """Approve step after step, up to the named one (not included) or to the end."""
        position = self.turn()
        while position.open_steps:
            for step in position.open_steps:
                if step.step == until:
                    return position
                self.decide(self.usual(step.step, step.unit), step.step, unit=step.unit or None)
            position = self.turn()
        return position

    def claim(self, channel: str = "site", generation: int = 1) -> Claim:
        return self._write(lambda s: claim(s, self.id, channel, generation, self.now))

    def publish(self, position: Position | None = None, **outcome: Any) -> Position:
        """Send everything that is to be sent, as a channel that answers `live` would."""
        position = position or self.turn()
        for deed in position.publish:
            claimed = self.claim(deed.channel, deed.generation)
            state = (
                PublicationState.RETRACTED if claimed.deed == "retract" else PublicationState.LIVE
            )
            receipt = Receipt.model_validate({"state": state} | outcome)
            self._write(
                lambda s, c=claimed, r=receipt: finish(
                    s, c.publication_id, c.attempt_no, r, self.now
                )
            )
        return self.turn()
