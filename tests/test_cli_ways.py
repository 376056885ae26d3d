"""The duty roster on the console: brought in whole or not at all, and once."""

import json

import pytest
from sqlmodel import select

from review.acts.duty import import_shifts, read_shifts
from review.records.duty import DutyShift
from review.rules.errors import RuleError
from tests.examples import MONDAY
from tests.test_cli_people import Run, events, run

__all__ = ["run"]

YAML = """shifts:
  - {unit: fire, person: fire_head, from: "2026-11-23 17:30", until: "2026-11-24 08:30"}
  - {person: duty, from: "2026-11-23T17:30:00+08:00", until: "2026-11-24T08:30:00+08:00"}
"""
CSV = "unit,person,from,until\nfire,fire_head,2026-11-23 17:30,2026-11-24 08:30\n"


def shifts(ledger):
    with ledger.reading() as session:
        found = session.exec(select(DutyShift).where(DutyShift.removed_at.is_(None)))
        return sorted((one.unit_id, one.person_id, one.from_at.isoformat()) for one in found)


def test_a_roster_is_brought_in_once_and_replaced_by_the_next(run: Run, quick_ledger, tmp_path):
    file = tmp_path / "duty.yaml"
    file.write_text(YAML)

    first = run("duty", "import", str(file), "--json")
    again = run("duty", "import", str(file), "--json")
    file.write_text(YAML.replace("fire_head", "fire_info"))
    other = run("duty", "import", str(file), "--json")

    assert (json.loads(first[1]), json.loads(again[1])) == ({"added": 2}, {})
    assert json.loads(other[1]) == {"added": 1, "removed": 1}
    at = "2026-11-23T09:30:00+00:00"
    assert shifts(quick_ledger) == [("", "duty", at), ("fire", "fire_info", at)]
    assert [one for one in events(quick_ledger) if one[0] == "duty_imported"] == [
        ("duty_imported", "cli")
    ] * 2


def test_csv_says_the_same_and_leaves_other_units_alone(run: Run, quick_ledger, tmp_path):
    yaml, csv = tmp_path / "duty.yaml", tmp_path / "duty.CSV"
    yaml.write_text(YAML)
    csv.write_text(CSV, encoding="utf-8-sig")

    assert run("duty", "import", str(yaml))[0] == 0
    before = shifts(quick_ledger)
    code, said, _ = run("duty", "import", str(csv))

    assert code == 0 and said
    assert shifts(quick_ledger) == before


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("a.yaml", YAML.replace("fire_head", "nobody"), 1),
        ("a.yaml", YAML.replace("unit: fire", "unit: nowhere"), 1),
        ("a.yaml", YAML.replace("2026-11-24 08:30", "2026-11-23 08:30"), 1),
        ("a.yaml", YAML.replace("person: duty", "person: duty, role: bureau_chief"), 2),
        ("a.yaml", "shifts: []", 2),
        ("a.yaml", "shifts: [", 2),
        ("a.yaml", "shifts: [{person: duty, from: then, until: later}]", 2),
        ("a.csv", "person,from\n1,2\n", 2),
        ("a.csv", CSV + '"', 2),
        ("a.csv", CSV.replace("2026-11-24 08:30", ""), 2),
    ],
)
def test_a_wrong_roster_changes_nothing(run: Run, quick_ledger, tmp_path, name, text, code):
    file = tmp_path / name
    file.write_text(text)

    found, out, said = run("duty", "import", str(file))

    assert (found, out) == (code, "")
    assert said and "Traceback" not in said
    assert shifts(quick_ledger) == []


def test_a_roster_is_the_same_on_both_ledgers(ledger, tmp_path):
    file = tmp_path / "duty.yaml"
    file.write_text(YAML)
    read = read_shifts(file)

    counts = [ledger.write(import_shifts, read, MONDAY) for _ in range(2)]
    file.write_text(YAML.replace("fire_head", "nobody"))
    with pytest.raises(RuleError):
        ledger.write(import_shifts, read_shifts(file), MONDAY)

    assert counts == [{"added": 2}, {}]
    assert len(shifts(ledger)) == 2
