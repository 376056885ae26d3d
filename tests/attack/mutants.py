"""Seeded one-line bugs, each of which the machine must find.

    python -m tests.attack.mutants [--only N …] [--runs 400] [--jobs 1]

Each is put into a copy of the source; the machine runs there until an answer, the ledger or a
channel differs from what the model says. The work tree is never touched.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("review", "activities", "workflows", "workers", "starter", "tests")


@dataclass(frozen=True)
class Mutant:
    """One bug: `old` stands once in `file`, `new` takes its place."""

    what: str
    file: str
    old: str
    new: str


MUTANTS = (
    Mutant(
        "an approval stays valid after an edit", "review/rules/cases.py",
        "if approval is not None and not self.covers(approval, digest):",
        "if approval is None:",
    ),
    Mutant(
        "nobody asks for the role", "review/acts/entitlement.py",
        'if held.role == role and (held.unit_id or "") == wanted:',
        'if (held.unit_id or "") == wanted:',
    ),
    Mutant(
        "one person decides at two tiers", "review/acts/deciding.py",
        'if person.id in excluded or (able.acting_for or "") in excluded:',
        'if (able.acting_for or "") in excluded:',
    ),
    Mutant(
        "acknowledged although the commit failed", "review/records/engine.py",
        "            yield session\n            session.commit()",
        "            yield session\n            with suppress(Exception): session.commit()",
    ),
    Mutant(
        "the publication's key contains the run", "review/rules/publications.py",
        "return publication_key(self.submission_id, self.channel, self.generation)",
        "return publication_key(self.submission_id, self.channel, self.attempt_no)",
    ),
    Mutant(
        "the workflow's id contains the run", "workflows/names.py",
        'return f"submission-{submission}"',
        'return f"submission-{submission}-{id(object())}"',
    ),
    Mutant(
        "a session survives that its account was closed", "review/records/access.py",
        "    end_sessions(session, person_id, now)\n    revoke_tokens(session, person_id, now)",
        "    revoke_tokens(session, person_id, now)",
    ),
    Mutant(
        "a token survives that its account was closed",
        "review/records/access.py",
        "    end_sessions(session, person_id, now)\n    revoke_tokens(session, person_id, now)",
        "    end_sessions(session, person_id, now)",
    ),
    Mutant(
        "the source stands outside the digest", "review/rules/submissions.py",
        '"source": dict(source),', '"source": {},',
    ),
    Mutant(
        "a generation is claimed out of turn", "review/acts/publishing.py",
        "if generation != len(before) + 1:", "if generation < 1:",
    ),
    Mutant(
        "what may have arrived is sent again", "review/acts/publishing.py",
        "in_doubt=any(a.ended_at is None for a in attempts)\n        or", "in_doubt=",
    ),
    Mutant(
        "the gate ignores a missing step", "review/rules/gate.py",
        '            problems.append(f"step:{rule.id}")\n            continue',
        "            continue",
    ),
    Mutant(
        "the gate believes a grant that was not held", "review/rules/gate.py",
        "if _counts(case, d, policy) and entitled(d)]", "if _counts(case, d, policy)]",
    ),
    Mutant(
        "a GET acts", "starter/reviews.py",
        "return await self._seen(person, submission_id, showing.timeline_of)",
        'await self._ledger.run(lambda s: item.Item.locked(s, submission_id).trace("read", '
        "self._clock())); return await self._seen(person, submission_id, showing.timeline_of)",
    ),
    Mutant(
        "a repeated decision is judged anew", "review/acts/deciding.py",
        "    if first is not None:\n        if first.request_hash",
        "    if first is not None and first.person_id != person.id:\n        if first.request_hash",
    ),
    Mutant(
        "a revoked role still counts", "review/records/people.py",
        "or_(col(Grant.revoked_at).is_(None), col(Grant.revoked_at) > now),",
        "col(Grant.from_at) <= now,",
    ),
    Mutant(
        "an expired delegation still counts",
        "review/records/people.py",
        "col(Delegation.from_at) <= now,\n        col(Delegation.until_at) > now,",
        "col(Delegation.from_at) <= now,",
    ),
    Mutant(
        "a withdrawn item goes on", "review/acts/acting.py",
        "row.status, row.ended_at = Status.WITHDRAWN, doing.now", "row.ended_at = doing.now",
    ),
    Mutant(
        "a hold holds nothing", "review/acts/turning.py",
        "    if row.status != Status.HELD:\n        if row.status in ACTIVE",
        "    if True:\n        if row.status in ACTIVE",
    ),
    Mutant(
        "the digest is not compared", "review/rules/decisions.py",
        "if request.digest != case.digest:", "if not request.digest:",
    ),
    Mutant(
        "refusals by a rule leave no audit line", "starter/reviews.py",
        "if refusal.status in (403, 404, 409):", "if refusal.status in (403, 404):",
    ),
    Mutant(
        "a title reaches the workflow's history", "review/acts/turning.py",
        "number=row.number,", "number=row.title,",
    ),
    Mutant(
        "escalation approves", "review/acts/turning.py",
        "            step.escalated = 2\n",
        "            step.escalated, step.state = 2, StepState.DECIDED\n",
    ),
    Mutant(
        "an authorisation never expires at the gate", "review/rules/gate.py",
        "if now > authorisation.valid_until:", "if now > now:",
    ),
    Mutant(
        "the authorisation names every channel", "review/acts/authorising.py",
        ".where(col(Channel.id).in_(row.channels))", "",
    ),
    Mutant(
        "a raised item keeps its former final review", "review/acts/replanning.py",
        "if planned is None or planned.role != step.role:", "if planned is None:",
    ),
    Mutant(
        "CSRF is not checked", "starter/web/dependencies.py",
        "if csrf and request.method not in SAFE_METHODS:",
        "if csrf and request.method in SAFE_METHODS:",
    ),
    Mutant(
        "a stopped text is kept with its stop", "review/acts/stopping.py",
        '"salt": salt.hex(),', '"salt": request.model_dump_json(),',
    ),
    Mutant(
        "the nudge is not written down", "review/acts/item.py",
        "        if nudge:\n", "        if nudge and person is None:\n",
    ),
    Mutant(
        "an item is there for everybody", "review/acts/visibility.py",
        "    if found is None:\n        raise NotFoundError",
        "    if found is None:\n        return",
    ),
    Mutant(
        "changed figures pass as wording", "review/acts/editing.py",
        'figures = figures_in(old.title + "\\n" + old.body) != figures_in(title + "\\n" + body)',
        "figures = False",
    ),
    Mutant(
        "who handed a step over keeps it", "review/acts/entitlement.py",
        "if step.only_for and step.only_for != person.id:", "if False:",
    ),
    Mutant(
        "a step is handed to somebody of another role", "review/acts/acting.py",
        'if able is None or able.why not in ("role", "backup"):', "if False:",
    ),
    Mutant(
        "anybody lets an authorisation run anew", "review/acts/acting.py",
        "raise NotYourStepError(step=final.key, role=final.role)",
        "from review.acts.entitlement import Capacity as C; able = C(final.role, '')",
    ),
    Mutant(
        "a link in a letter survives the account", "review/records/sessions.py",
        "    end_links(session, person_id, now)", "    pass",
    ),
    Mutant(
        "a link decides for whom the step is no more", "review/acts/linking.py",
        "if step is None or capacity(session, person, item, step, now) is None:",
        "if step is None:",
    ),
    Mutant(
        "a link never ends", "review/acts/linking.py",
        "if link.expires_at <= now:", "if link.expires_at <= link.made_at:",
    ),
    Mutant(
        "a link decides twice", "review/records/links.py",
        'return f"link-{link_id}"', "return new_id()",
    ),
    Mutant(
        "a link decides whatever the text is by now", "review/acts/linking.py",
        "    step = session.get(Step, link.step_id)\n    if step is None or",
        "    step, link.digest = session.get(Step, link.step_id), item.row.digest\n"
        "    if step is None or",
    ),
    Mutant(
        "a link asks nobody for the second factor", "review/acts/linking.py",
        "if asks and not second_factor_given:", "if False:",
    ),
)  # fmt: skip

NO_BUG = Mutant("nothing: the source as it is", "-", "", "")


@dataclass(frozen=True)
class Kill:
    """What became of one mutant; `how` is the first line of what the machine said."""

    number: int
    mutant: Mutant
    found: bool
    seconds: float
    how: str


def copy_with(mutant: Mutant | None, folder: Path) -> None:
    """Copy the source, with the bug in it.

    Raises:
        ValueError: The source no longer has the line, or has it more than once.
    """
    unneeded = shutil.ignore_patterns("__pycache__", "*.pyc")
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=unneeded)
    if mutant is not None:
        file = folder / mutant.file
        source = file.read_text(encoding="utf-8")
        if source.count(mutant.old) != 1:
            raise ValueError(f"{mutant.file} has {source.count(mutant.old)} times {mutant.old!r}")
        file.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")


def attack(number: int, runs: int, patience: float = 1500.0) -> Kill:
    """Put one bug into a copy and run the machine there; number 0 is no bug at all."""
    mutant = MUTANTS[number - 1] if number else NO_BUG
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        copy_with(mutant if number else None, folder)
        done = subprocess.run(
            [sys.executable, "-m", "tests.attack", "--quick", "--runs", str(runs)],
            cwd=folder, capture_output=True, text=True, timeout=patience,
            env=os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    return Kill(number, mutant, done.returncode != 0, time.monotonic() - began, _said(done.stderr))


def _said(output: str) -> str:
    """Return what the machine noticed, without what follows."""
    noticed = [
        line for line in output.splitlines()
        if line.startswith(("AssertionError", "sqlalchemy", "review.", "KeyError", "IndexError"))
        or "Error:" in line.split(" ")[0]
    ]  # fmt: skip
    return noticed[0].replace("AssertionError: ", "") if noticed else ""


def table(kills: Iterable[Kill]) -> Iterator[str]:
    """Yield the kill table as Markdown."""
    yield "| # | bug | in | found | seconds | noticed by |"
    yield "|---|---|---|---|---|---|"
    for kill in kills:
        how = kill.how.split(" {")[0][:90]
        how = how.replace("|", "/")
        found = "yes" if kill.found else "no"
        yield (
            f"| {kill.number} | {kill.mutant.what} | `{kill.mutant.file}` | {found} "
            f"| {kill.seconds:.0f} | {how} |"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, nargs="*", help="numbers; 0: no bug")
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    numbers = given.only or range(len(MUTANTS) + 1)
    kills = []
    with ThreadPoolExecutor(given.jobs) as pool:
        for done in as_completed([pool.submit(attack, n, given.runs) for n in numbers]):
            kill = done.result()
            kills.append(kill)
            found = "found" if kill.found else "not found"
            line = f"{kill.number:2} {found}, {kill.seconds:.0f} s: {kill.mutant.what}: {kill.how}"
            print(line[:200], file=sys.stderr, flush=True)
    kills.sort(key=lambda kill: kill.number)
    print("\n".join(table(kills)))
    return 0 if all(kill.found == bool(kill.number) for kill in kills) else 1


if __name__ == "__main__":
    sys.exit(main())
