"""A case: a submission, its steps and decisions so far, and what comes next.

The rules look at rows of the ledger through the protocols below; nothing here reads or writes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from review.rules.plans import CERTIFY, RECONFIRM
from review.rules.values import Role, StepState, Verdict

CENTER_EDITS = (Role.CENTER_EDITOR, Role.CENTER_DEPUTY)
FINISHED = (StepState.DECIDED, StepState.SKIPPED)
EDIT_ROLES = {  # who may change the text while which kind of step is open (requirements 1.8)
    Role.UNIT_HEAD: "tier1",
    Role.CENTER_EDITOR: "proof2",
    Role.CENTER_DEPUTY: "tier2",
}


class StepLike(Protocol):
    """One step in one round."""

    id: str
    key: str
    unit_id: str
    round: int
    position: int
    role: str
    tier: int
    proof: int
    on_timeout: str
    origin: str
    state: str
    opened_at: datetime | None
    decided_at: datetime | None


class DecisionLike(Protocol):
    """One decision; `lapsed_at` is set once it no longer counts."""

    id: str
    step_id: str
    key: str
    unit_id: str
    round: int
    tier: int
    proof: int
    verdict: str
    digest: str
    person_id: str
    acting_for_id: str | None
    role: str
    at: datetime
    lapsed_at: datetime | None


class VersionLike(Protocol):
    """One text; `base_no` is the version it was made from, 0 for the first."""

    no: int
    digest: str
    base_no: int
    change: str
    figures_changed: bool
    author_id: str
    author_role: str
    proofread: bool
    at: datetime


@dataclass(frozen=True)
class Case:
    """Everything a rule may look at; sequences in the order in which things happened."""

    profile: str
    steps: Sequence[StepLike]
    decisions: Sequence[DecisionLike]
    versions: Sequence[VersionLike]
    author_id: str
    digest: str

    def current_steps(self) -> list[StepLike]:
        """Return the steps that count, in order; what lapsed is left out."""
        rows = [step for step in self.steps if step.state != StepState.LAPSED]
        return sorted(rows, key=lambda step: (step.position, step.key, step.unit_id))

    def open_steps(self) -> list[StepLike]:
        """Return the steps that wait for somebody now."""
        return [step for step in self.current_steps() if step.state == StepState.OPEN]

    def next_to_open(self) -> list[StepLike]:
        """Return the waiting steps whose turn has come: strict order, R4.1-11."""
        unfinished = [step for step in self.current_steps() if step.state not in FINISHED]
        if not unfinished:
            return []
        turn = unfinished[0].position
        return [s for s in unfinished if s.position == turn and s.state == StepState.WAITING]

    def finished_before(self, position: int) -> bool:
        """Tell whether every step before a position is decided or skipped."""
        return all(s.state in FINISHED for s in self.current_steps() if s.position < position)

    def approvals(self) -> list[DecisionLike]:
        """Return the approvals that still count, of steps that still count."""
        counting = {s.id for s in self.steps if s.state == StepState.DECIDED}
        return [
            decision
            for decision in self.decisions
            if decision.lapsed_at is None
            and decision.verdict in (Verdict.APPROVE, Verdict.APPROVE_WITH_CHANGES)
            and decision.step_id in counting
        ]

    def authors(self) -> set[str]:
        """Return the information officers who wrote this submission (一校 is theirs)."""
        own = {v.author_id for v in self.versions if v.author_role == Role.INFO_OFFICER}
        return own | {self.author_id}

    def excluded(self, step: StepLike) -> set[str]:
        """Return who may not decide a step because of what they did before.

        Author and the deciders of the three tiers are pairwise distinct persons, the second and
        third proofs are by different persons; other steps may coincide. Both who acted and on
        whose behalf count.

        Source: requirements 0, invariant 4; A-6.
        """
        out: set[str] = set()
        if step.tier:
            out |= self.authors()
        for decision in self.approvals():
            if decision.step_id == step.id:
                continue
            other_tier = bool(step.tier and decision.tier and decision.tier != step.tier)
            other_proof = {step.proof, decision.proof} == {2, 3}
            if other_tier or other_proof:
                out |= people_of(decision)
        if step.origin == "certify":
            out |= {v.author_id for v in self.versions if v.digest == self.digest and v.base_no}
        return out

    def version(self, digest: str) -> VersionLike | None:
        """Return the latest version with a digest."""
        return next((v for v in reversed(self.versions) if v.digest == digest), None)

    def covers(self, approval: DecisionLike, digest: str) -> bool:
        """Tell whether an approval holds for a text: its own, or one reached by allowed edits.

        A certified change carries every approval (A-17); a wording edit by the center carries
        the unit's (A-16), and so does a substantive one that the unit reconfirmed, or did not
        answer in time where the pack lets the second review decide and note it. 同意，修改后发布
        never holds for the text it was said of, only for a certified later one.
        """
        changes = approval.verdict == Verdict.APPROVE_WITH_CHANGES
        by_number = {v.no: v for v in self.versions}
        version = self.version(digest)
        while version is not None:
            if version.digest == approval.digest:
                return not (changes and approval.digest == digest)
            unit_keeps = approval.tier == 1 and self._unit_still_answers(version)
            if not (unit_keeps or self._certified(version)):
                return False
            version = by_number.get(version.base_no)
        return False

    def _certified(self, version: VersionLike) -> bool:
        return any(
            decision.key == CERTIFY
            and decision.digest == version.digest
            and version.author_id not in people_of(decision)
            for decision in self.approvals()
        )

    def _unit_still_answers(self, version: VersionLike) -> bool:
        if version.author_role not in CENTER_EDITS:
            return False
        if version.change == "wording" and not version.figures_changed:
            return True
        answers = [self.version(a.digest) for a in self.approvals() if a.key == RECONFIRM]
        reconfirmed = any(seen is not None and seen.no >= version.no for seen in answers)
        unanswered = any(
            step.key == RECONFIRM
            and step.state == StepState.SKIPPED
            and step.on_timeout == "skip_and_flag"
            and step.opened_at is not None
            and step.opened_at >= version.at
            for step in self.steps
        )
        return reconfirmed or unanswered

    def needs_reconfirmation(self, digest: str) -> bool:
        """Tell whether the unit's approval is there but does not reach this text (A-16)."""
        first = [a for a in self.approvals() if a.tier == 1]
        return bool(first) and not any(self.covers(a, digest) for a in first)

    def first_uncovered(self, before: int, digest: str) -> int | None:
        """Return the earliest position before `before` whose approval the text has lost (A-15).

        The unit's review is left out: what the center changes, the unit reconfirms instead.
        """
        approvals = {a.step_id: a for a in self.approvals()}
        for step in self.current_steps():
            if step.position >= before or step.state != StepState.DECIDED:
                continue
            if step.tier == 1 or step.origin == "reconfirm":
                continue
            approval = approvals.get(step.id)
            if approval is not None and not self.covers(approval, digest):
                return step.position
        return None


def people_of(decision: DecisionLike) -> set[str]:
    """Return who acted, and on whose behalf."""
    return {decision.person_id, decision.acting_for_id or decision.person_id}


def latest_steps(steps: Iterable[StepLike]) -> list[StepLike]:
    """Return each step's latest round, in order, for showing the plan."""
    latest: dict[tuple[str, str], StepLike] = {}
    for step in sorted(steps, key=lambda s: (s.round, s.state != StepState.LAPSED)):
        latest[(step.key, step.unit_id)] = step
    return sorted(latest.values(), key=lambda s: (s.position, s.key, s.unit_id))
