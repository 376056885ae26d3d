"""Fill an empty ledger with the demo bureau, its people and the sample submissions, once.

Everything is one transaction, so a start that was cut short begins again from nothing; a ledger
that holds anybody is left as it is, and the passwords and tokens of the first time stay valid.
"""

import json
import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from ruamel.yaml import YAML
from sqlmodel import Session, select

from review.acts.lists import import_list
from review.acts.submitting import submit
from review.lists import builtin_words, load_words
from review.records import audit
from review.records.access import issue_token
from review.records.bureau import Roster, import_roster, roster_of
from review.records.engine import Ledger
from review.records.passwords import hashed
from review.records.people import load_person
from review.records.tables import PersonRow
from review.requests import Draft
from review.rules.policy import Length
from review.rules.screening import Words
from review.rules.screening.lists import Leader
from review.settings import Settings

# A password here is as long as a key, so nobody guesses it however quick its hash is; at full cost
# the 43 of them would take half of what the whole start may. The first sign-in hashes it anew.
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ACCOUNTS = "demo-accounts.json"  # in DATA, mode 0600 (contract)
MOMENTS = ("event_time", "found_time")  # lengths before the demo's start
BUILT: frozenset[str] = frozenset()  # what a sample may need; grows with the system
NO_DRAFT = ("id", "unit", "needs", "stopped", "mended")  # a sample's keys beside the draft's

Fields = dict[str, Any]


@cache
def data_file(name: str) -> Any:
    """Return the content of one of this package's YAML files."""
    text = files("starter.demo").joinpath(name).read_text(encoding="utf-8")
    return YAML(typ="safe", pure=True).load(text)


def roster() -> Roster:
    """Return the bureau of requirements 6.1."""
    return roster_of(data_file("bureau.yaml"))


def samples() -> list[Fields]:
    """Return the samples of requirements 6.2 whose stories can be told with what is built."""
    listed: list[Fields] = data_file("samples.yaml")["samples"]
    return [sample for sample in listed if sample.get("needs", "") in ("", *BUILT)]


def officer_of(sample: Mapping[str, Any]) -> str:
    """Return the user name of the information officer who submits a sample."""
    return f"{sample['unit']}_info1"


def words() -> Words:
    """Return the shipped words with the demo bureau's leaders."""
    shipped = load_words(builtin_words())
    leaders = tuple(Leader.model_validate(one) for one in data_file("leaders.yaml")["leaders"])
    return shipped.model_copy(
        update={"version": f"{shipped.version}-demo", "leaders": shipped.leaders + leaders}
    )


def storable(sample: Mapping[str, Any]) -> Fields | None:
    """Return a sample as it may be stored: mended where screening stops it, or not at all."""
    if "stopped" not in sample:
        return dict(sample)
    return {**sample, **sample["mended"]} if "mended" in sample else None


def draft_of(sample: Mapping[str, Any], submitted: Mapping[str, str], now: datetime) -> Draft:
    """Return a sample as a draft.

    Args:
        submitted: The ids of the samples that others refer to, by name.
        now: The demo's start; the sample's moments lie before it.
    """
    fields = {k: v for k, v in sample.items() if k not in NO_DRAFT}
    for name in MOMENTS:
        if name in fields:
            fields[name] = now - Length.model_validate(fields[name]).wall
    if "linked" in fields:
        fields["linked"] = [submitted[other] for other in fields["linked"] if other in submitted]
    if "incident" in fields:
        fields["incident"] = submitted.get(fields["incident"])
    given = {"channels": ["site"], "secrecy_pledge": True, "proofread": True}
    return Draft.model_validate(given | fields)


def seed(settings: Settings) -> None:
    """Fill the ledger named by the settings; a filled one stays as it is.

    The pack and the calendar in force are adopted before: submissions are pinned to them.

    Raises:
        OSError: `demo-accounts.json` can't be written; then the ledger stays empty.
    """
    fill(settings.ledger_url, settings.data, with_samples=True)


def fill(ledger_url: str, data: Path, *, with_samples: bool) -> bool:
    """Fill a ledger and write the accounts beside it; False when somebody is in it already."""
    ledger = Ledger(ledger_url)
    try:
        return ledger.write(_fill, data / ACCOUNTS, with_samples, datetime.now(UTC))
    finally:
        ledger.close()


def accounts(data: Path) -> list[Fields]:
    """Return the demo's accounts with their secrets.

    Raises:
        OSError, ValueError: The file is not there or not ours.
    """
    kept: list[Fields] = json.loads((data / ACCOUNTS).read_text(encoding="utf-8"))
    return kept


def _fill(session: Session, file: Path, with_samples: bool, now: datetime) -> bool:
    if session.exec(select(PersonRow.id).limit(1)).first() is not None:
        return False
    bureau = roster()
    import_roster(session, bureau, now)
    import_list(session, words(), now)
    session.flush()
    people = {row.username: row for row in session.exec(select(PersonRow))}
    listed = []
    for line in bureau.people:
        row = people[line.username]
        password = secrets.token_urlsafe(16)
        row.password_hash = hashed(password, QUICK)
        session.add(row)
        listed.append(
            {
                "id": row.id,
                "username": row.username,
                "name": row.name,
                "unit": row.unit_id,
                "roles": list(dict.fromkeys(str(role) for role, _ in line.held())),
                "password": password,
                "token": issue_token(session, row.id, "demo", now),
            }
        )
    audit.append(
        session, audit.BUREAU, "demo_filled", at=now, way_in="cli", data={"people": len(listed)}
    )
    session.flush()
    if with_samples:
        submitted: dict[str, str] = {}
        for sample in filter(None, map(storable, samples())):
            person = load_person(session, people[officer_of(sample)].id, now)
            assert person is not None, "the roster was imported above"
            draft = draft_of(sample, submitted, now)
            submitted[sample["id"]] = submit(session, person, draft, way_in="cli", now=now)["id"]
    # Before the commit: accounts without a ledger are written anew, a ledger without accounts is
    # of no use to anybody.
    _write_private(file, listed)
    return True


def _write_private(file: Path, content: list[Fields]) -> None:
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        json.dump(content, output, ensure_ascii=False, indent=2)
        output.flush()
        os.fsync(output.fileno())
    new.replace(file)
