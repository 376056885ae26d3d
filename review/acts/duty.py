"""The duty roster (值班表): brought in from a file, read by everybody.

    shifts:                       # or CSV with the columns unit,person,from,until
      - {unit: fire, person: liumin, from: "2026-11-23 17:30", until: "2026-11-24 08:30"}
      - {person: zhiban, from: …, until: …}      # no unit: the bureau's duty office (总值班室)

A file replaces what it overlaps: for each unit that it names, the shifts between its first
beginning and its last end. A moment without a zone is the bureau's. Being on duty gives no role.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from sqlmodel import Session, col, select

from review.ids import new_id
from review.records import audit
from review.records.duty import DutyShift
from review.records.people import Person, names
from review.records.tables import PersonRow, Unit
from review.rules.errors import MalformedError, RefusedError

Json = dict[str, Any]
ZONE = ZoneInfo("Asia/Shanghai")
LARGEST = 2 * 1024 * 1024  # bytes of a file
COLUMNS = ("unit", "person", "from", "until")


def _of_the_bureau(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=ZONE)


Moment = Annotated[datetime, AfterValidator(_of_the_bureau)]


class ShiftLine(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    unit: Annotated[str, Field(max_length=64)] = ""
    person: Annotated[str, Field(min_length=1, max_length=120)]  # a user name
    from_: Annotated[Moment, Field(alias="from")]
    until: Moment


class Shifts(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shifts: Annotated[tuple[ShiftLine, ...], Field(min_length=1, max_length=20_000)]


def read_shifts(file: Path) -> Shifts:
    """Read a duty roster, CSV by its name, else YAML.

    Raises:
        MalformedError: With `errors`, each with its place.
        OSError: The file can't be read.
    """
    raw = file.read_bytes()
    if len(raw) > LARGEST:
        raise MalformedError(errors=[{"field": str(file), "message": "too_large"}])
    try:
        text = raw.decode("utf-8-sig")
        fields = (
            _from_csv(text)
            if file.suffix.lower() == ".csv"
            else YAML(typ="safe", pure=True).load(text)
        )
        return Shifts.model_validate(fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise MalformedError(pydantic_errors=found) from None
    except (UnicodeDecodeError, YAMLError, csv.Error, ValueError):
        raise MalformedError(errors=[{"field": str(file), "message": "json_invalid"}]) from None


def _from_csv(text: str) -> Json:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    if set(rows.fieldnames or ()) != set(COLUMNS):
        raise ValueError("other columns")
    return {"shifts": [{k: (v or "").strip() for k, v in row.items() if k} for row in rows]}


def import_shifts(
    session: Session, shifts: Shifts, now: datetime, *, by: str = "", way_in: str = "cli"
) -> dict[str, int]:
    """Bring the roster to what a file says; twice the same changes nothing.

    Raises:
        RefusedError: `unknown_unit`, `unknown_person`, `shift_odd` (over before it begins);
            `entry` says which. Nothing is changed then.
    """
    units = set(session.exec(select(Unit.id))) | {""}
    people = {row.username: row for row in session.exec(select(PersonRow))}
    wanted: dict[tuple[str, str, datetime, datetime], None] = {}
    for number, line in enumerate(shifts.shifts):
        entry = f"shifts[{number}] {line.person}"
        if line.unit not in units:
            raise RefusedError("unknown_unit", name=line.unit, entry=entry)
        if line.person not in people or people[line.person].disabled_at is not None:
            raise RefusedError("unknown_person", name=line.person, entry=entry)
        if line.until <= line.from_:
            raise RefusedError("shift_odd", entry=entry)
        wanted[(line.unit, people[line.person].id, line.from_, line.until)] = None
    counts: Counter[str] = Counter()
    for row in _overlapped(session, wanted):
        if wanted.pop((row.unit_id, row.person_id, row.from_at, row.until_at), 0) is None:
            continue
        row.removed_at = now
        session.add(row)
        counts["removed"] += 1
    for unit, person, from_at, until_at in wanted:
        session.add(
            DutyShift(
                id=new_id(), unit_id=unit, person_id=person, from_at=from_at, until_at=until_at,
                added_at=now,
            )
        )  # fmt: skip
        counts["added"] += 1
    session.flush()
    if counts:
        audit.append(
            session, audit.BUREAU, "duty_imported", at=now, person_id=by, way_in=way_in,
            data=dict(counts),
        )  # fmt: skip
    return dict(counts)


def _overlapped(
    session: Session, wanted: Iterable[tuple[str, str, datetime, datetime]]
) -> list[DutyShift]:
    """Return the shifts that a file speaks about: of its units, within its span."""
    spans: dict[str, tuple[datetime, datetime]] = {}
    for unit, _, from_at, until_at in wanted:
        first, last = spans.get(unit, (from_at, until_at))
        spans[unit] = (min(first, from_at), max(last, until_at))
    found: list[DutyShift] = []
    for unit, (first, last) in spans.items():
        found += session.exec(
            select(DutyShift)
            .where(DutyShift.unit_id == unit)
            .where(DutyShift.from_at < last)
            .where(DutyShift.until_at > first)
            .where(col(DutyShift.removed_at).is_(None))
            .with_for_update()
        )
    return found


def shifts_listed(session: Session, _person: Person, now: datetime, most: int = 200) -> list[Json]:
    """Return who is on duty now and next, the earliest first."""
    rows = session.exec(
        select(DutyShift)
        .where(DutyShift.until_at > now)
        .where(col(DutyShift.removed_at).is_(None))
        .order_by(col(DutyShift.from_at), col(DutyShift.unit_id), col(DutyShift.person_id))
        .limit(most)
    ).all()
    known = names(session, {row.person_id for row in rows})
    units = {row.id: row.name for row in session.exec(select(Unit))}
    return [
        {
            "id": row.id,
            "unit": {"id": row.unit_id, "name": units[row.unit_id]} if row.unit_id else None,
            "person": known.get(row.person_id),
            "from_at": row.from_at,
            "until_at": row.until_at,
            "now": row.from_at <= now,
        }
        for row in rows
    ]
