"""Two years of a bureau's work: 40 units, 6,000 items, each with its rows and its whole trace.

Courses of every sort are really driven through the acts by one unit's people; their rows are then
written again under new ids, for another unit's people and whole weeks earlier, chained anew. A
test compares an item made this way with one that the acts made (`tests/acts/test_statistics.py`).
What stays the course's own: its text, and two hashes that nothing compares again (of the request
and of the page that went out).

    python -m tests.bench.years FILE.db [ITEMS]
"""

import json
import random
import re
import sys
from collections import Counter as Counted
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlmodel import Session, select

from review.ids import new_id
from review.records.audit import hash_of
from review.records.engine import Ledger, upgrade
from review.records.tables import (
    Attempt,
    Audit,
    Authorisation,
    Counter,
    Decision,
    FindingRow,
    MilestoneRow,
    Notice,
    Outbox,
    PersonRow,
    Publication,
    Remark,
    Step,
    StepPerson,
    Submission,
    Unit,
    UtcDateTime,
    Version,
)
from review.rules.submissions import canonical
from tests.acting import Course
from tests.bench.ledgers import Model, Row, Rows, _raw, _tidy, _write_tables
from tests.examples import LONG_AGO, MONDAY, grant, office

ITEMS = 6_000
UNITS = 40
WEEKS = 104
SEED = 20261123
BATCH = 250
TABLES = (
    Submission, Version, Step, StepPerson, Decision, FindingRow, MilestoneRow, Remark,
    Authorisation, Publication, Notice, Outbox,
)  # fmt: skip
KINDS = ("disclosure", "interpretation", "interaction", "service")
DAY = re.compile(r"\b\d{4}-\d\d-\d\d(?=[T ]\d\d:)")
ID = re.compile(r"(?<![0-9a-v])[0-9a-v]{26}(?![0-9a-v])")
NAMES = (
    "生态修复处", "森林资源管理处", "草原管理处", "湿地管理处", "防治荒漠化处", "野生动植物保护处",
    "自然保护地处", "林业改革处", "国有林场处", "种苗管理处", "科技处", "规划财务处", "人事处",
    "行政审批处", "森林防火处", "宣传教育处", "产业发展处", "机关党委", "离退休干部处", "审计处",
    "林草调查规划院", "林草科学研究院", "林草种苗总站", "有害生物防治总站", "野生动物救护中心",
    "湿地监测中心", "草原站", "林草碳汇中心", "退耕办公室", "三北工程站", "林业基金站", "信息中心",
    "塞罕坝林场", "木兰林场", "洪崖山林场", "小五台保护区", "雾灵山保护区", "衡水湖保护区",
    "昌黎黄金海岸保护区", "古树名木保护站",
)  # fmt: skip


def bureau(session: Session) -> None:
    """Add forty units to the office, each with an information officer and a head."""
    for number, name in enumerate(NAMES[:UNITS], 1):
        unit = f"u{number:02d}"
        session.add(Unit(id=unit, name=name, place=100 + number))
        session.flush()
        for role, duty in (("info", "info_officer"), ("head", "unit_head")):
            person = f"{unit}_{role}"
            session.add(
                PersonRow(
                    id=person, username=person, name=f"{name}{duty[:4]}", unit_id=unit,
                    oa_account=person, created_at=LONG_AGO,
                )
            )  # fmt: skip
            session.flush()
            grant(session, person, duty, unit)
        grant(session, "leader_eco", "supervising_leader", unit)


# --- what is copied -------------------------------------------------------------------------------


def courses(ledger: Ledger, chance: random.Random) -> Iterator[tuple[Model, int]]:
    """Drive one course of every sort; yield its rows and how often it happens."""
    for kind in KINDS:
        for sort, often in SORTS.items():
            more = SERVICE if kind == "service" else {}
            draft = _text(chance) | more | DRAFTS.get(sort, {})
            course = Course(ledger, "forest_info", kind=kind, **draft)
            RUNS.get(sort, _through)(course, chance)
            yield model_of(ledger, course.id), often


SERVICE = {
    "audience": "造林单位", "how_to": "到政务服务大厅林草窗口办理",
    "valid_until": MONDAY + timedelta(days=300),
}  # fmt: skip
DRAFTS: dict[str, dict[str, Any]] = {
    "repost": {
        "title": "国务院关于加强草原保护修复的若干意见",
        "body": "国务院就加强草原保护修复提出意见。",
        "source": {
            "type": "repost", "name": "中国政府网", "url": "https://www.gov.cn/a.html",
            "original_title": "国务院关于加强草原保护修复的若干意见",
            "original_body": "国务院就加强草原保护修复提出意见。", "original_on": "2026-11-20",
        },
    },
    "important": {"category": "important", "sub_type": "政策解读"},
    "warned": {"body": "各地严禁焚烧秸杆，压实防火责任，加强野外火源管控，确保形势平稳。"},
    "opinion": {"category": "public_opinion", "found_time": MONDAY - timedelta(minutes=30)},
}  # fmt: skip
SORTS = {  # and how often, of a hundred
    "plain": 40, "slow": 12, "returned": 12, "returned_late": 5, "overdue": 8, "rejected": 3,
    "withdrawn": 3, "corrected": 3, "retracted": 2, "repost": 6, "important": 4, "opinion": 1,
    "warned": 1,
}  # fmt: skip


PLACES = (
    "塞罕坝", "白洋淀", "雾灵山", "衡水湖", "小五台", "坝上草原", "木兰围场", "太行山", "燕山", 
    "滦河", "永定河", "张家口",
)  # fmt: skip
WORKS = (
    "造林整地进度过半", "古树名木普查完成外业", "湿地候鸟数量创新高", "草原改良面积扩大",
    "种苗质量抽检合格", "林业有害生物监测布点到位", "防火隔离带清理完毕", "林长巡林记录上线",
    "野生动物收容救护站揭牌", "退化林修复工程验收", "林下经济示范基地授牌", "科普宣传走进校园",
)  # fmt: skip


def _text(chance: random.Random) -> Row:
    """Return a title and a body that resemble no other's."""
    places, works = chance.sample(PLACES, 5), chance.sample(WORKS, 5)
    lines = [f"{place}{work}" for place, work in zip(places, works, strict=True)]
    more = [f"参加人员{chance.randint(11, 97)}名，历时{chance.randint(2, 9)}天" for _ in lines]
    body = "".join(f"{line}，{number}。" for line, number in zip(lines, more, strict=True))
    return {"title": lines[0], "body": body}


def _decide(course: Course, chance: random.Random, until: str = "", minutes: int = 50) -> Any:
    """Approve step after step, each after a while, up to the named one."""
    position = course.turn()
    while position.open_steps:
        for step in position.open_steps:
            if step.step == until:
                return position
            course.wait(minutes=chance.randint(3, minutes))
            course.decide(course.usual(step.step, step.unit), step.step, unit=step.unit or None)
        position = course.turn()
    return position


def _through(course: Course, chance: random.Random) -> None:
    course.publish(_decide(course, chance))


def _slow(course: Course, chance: random.Random) -> None:
    _decide(course, chance, "second_review", minutes=110)
    course.publish(_decide(course, chance, minutes=110))


def _returned(course: Course, chance: random.Random, step: str = "unit_review") -> None:
    _decide(course, chance, step)
    course.wait(minutes=chance.randint(5, 60))
    reason = chance.choice(["facts", "wording"])
    course.decide(
        course.usual(step), step, "return", reason_code=reason, opinion="请核实", return_to="author"
    )
    course.turn()
    course.wait(hours=1)
    course.edit(course.author, body="现场推进会召开。4个市作了交流发言。")
    _through(course, chance)


def _overdue(course: Course, chance: random.Random) -> None:
    _decide(course, chance, "edit_proof2")
    course.wait(hours=26)
    _through(course, chance)


def _rejected(course: Course, chance: random.Random) -> None:
    _decide(course, chance, "second_review")
    course.wait(minutes=20)
    course.decide("deputy_b", "second_review", "reject", reason_code="other", opinion="不宜发布")
    course.turn()


def _withdrawn(course: Course, chance: random.Random) -> None:
    course.turn()
    course.wait(minutes=chance.randint(5, 90))
    course.act(course.author, "withdraw")
    course.turn()


def _corrected(course: Course, chance: random.Random) -> None:
    _through(course, chance)
    course.wait(hours=3)
    course.act(
        "editor_a", "correct", reason="数据有误", base_digest=course.row().digest,
        body="现场推进会召开。5个市作了交流发言。",
    )  # fmt: skip
    _through(course, chance)


def _retracted(course: Course, chance: random.Random) -> None:
    _through(course, chance)
    course.wait(hours=2)
    course.act("chief", "retract", reason="内容过时")
    course.publish()


RUNS: dict[str, Any] = {
    "slow": _slow,
    "returned": _returned,
    "returned_late": lambda course, chance: _returned(course, chance, "second_review"),
    "overdue": _overdue,
    "rejected": _rejected,
    "withdrawn": _withdrawn,
    "corrected": _corrected,
    "retracted": _retracted,
}


def model_of(ledger: Ledger, submission: str) -> Model:
    """Return every row that an item has, and its trace."""
    rows: Rows = {}
    with ledger.reading() as session:
        for table in TABLES:
            key = "id" if table is Submission else "submission_id"
            name = str(table.__tablename__)
            rows[name] = _raw(session, table, f'"{key}" = :id', {"id": submission})
        rows["attempt"] = _raw(
            session,
            Attempt,
            "publication_id IN (SELECT id FROM publication WHERE submission_id = :id)",
            {"id": submission},
        )
        rows["audit"] = _raw(session, Audit, "chain = :id", {"id": submission})
    return Model(submission, rows, False)


# --- copies ---------------------------------------------------------------------------------------


def copied(model: Model, number: str, days_back: int, people: Mapping[str, str]) -> Rows:
    """Return a course's rows as another item's.

    Args:
        number: The item's.
        days_back: Whole weeks, so that working days stay working days.
        people: What stands for whom: units, people, grants.
    """
    ids: dict[str, str] = {}
    back = timedelta(days=days_back)

    def word(value: str) -> str:
        value = ":".join(people.get(part, part) for part in value.split(":"))
        value = ID.sub(lambda found: ids.setdefault(found[0], new_id()), value)
        return DAY.sub(lambda found: str(date.fromisoformat(found[0]) - back), value)

    def anew(value: Any) -> Any:
        match value:
            case str():
                return word(value)
            case dict():
                return {word(name): anew(held) for name, held in value.items()}
            case list():
                return [anew(one) for one in value]
        return value

    def row_of(table: Any, row: Row) -> Row:
        found = {}
        for column in table.__table__.columns:
            value = row[column.name]
            if isinstance(value, str) and value[:1] in ("{", "["):
                value = json.dumps(anew(json.loads(value)), ensure_ascii=False)
            elif isinstance(value, str) and (
                isinstance(column.type, UtcDateTime) or column.name not in ("title", "body")
            ):
                value = word(value)
            found[column.name] = value
        return found

    made: Rows = {
        str(table.__tablename__): [row_of(table, row) for row in model.rows[table.__tablename__]]
        for table in (*TABLES, Attempt)
    }
    made["submission"][0]["number"] = number
    entries, prev = [], ""
    for row in model.rows["audit"]:
        new = row_of(Audit, row) | {"prev": prev}
        data = json.loads(new["data"])
        new["data"] = json.dumps(json.loads(canonical(data)), ensure_ascii=False)
        at = datetime.fromisoformat(new["at"])
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        new["hash"] = prev = hash_of(
            Audit(**new | {"at": at, "n": int(new["n"]), "data": json.loads(new["data"])})
        )
        del new["seq"]
        entries.append(new)
    made["audit"] = entries
    made["submission"][0] |= {"audit_n": len(entries), "audit_head": prev}
    return made


def cast_of(unit: str, chance: random.Random) -> dict[str, str]:
    """Return who plays whom where a unit stands for the one of the courses."""
    found = {"forest": unit, "forest_info": f"{unit}_info", "forest_head": f"{unit}_head"}
    if chance.random() < 0.5:
        found |= {"editor_a": "editor_b", "editor_b": "editor_a"}
        found |= {"publisher_a": "publisher_b", "publisher_b": "publisher_a"}
    for person, duty, place in (
        ("forest_info", "info_officer", "forest"), ("forest_head", "unit_head", "forest"),
        ("leader_eco", "supervising_leader", "forest"), ("editor_a", "center_editor", ""),
        ("editor_b", "center_editor", ""), ("publisher_a", "publisher", ""),
        ("publisher_b", "publisher", ""),
    ):  # fmt: skip
        other = found.get(person, person)
        there = found.get(place, place)
        found[f"{person}-{duty}-{place}"] = f"{other}-{duty}-{there}"
    return found


def fill(ledger: Ledger, items: int = ITEMS, seed: int = SEED) -> Counted[str]:
    """Fill a ledger that has the office's roster; the same seed gives the same bureau.

    Returns:
        How many items each unit got.
    """
    chance = random.Random(seed)
    ledger.write(bureau)
    models = list(courses(ledger, chance))
    with ledger.reading() as session:
        really = Counted(number[:4] for number in session.exec(select(Submission.number)).all())
    units = [f"u{number:02d}" for number in range(1, UNITS)]  # the last one submits nothing
    weights = [1 + chance.random() * 5 for _ in units]
    chosen = []
    for _ in range(items - sum(really.values())):
        weeks = chance.randint(1, WEEKS)
        (model,) = chance.choices([one for one, _ in models], [often for _, often in models])
        (unit,) = chance.choices(units, weights)
        chosen.append((weeks, chance.random(), model, unit))
    chosen.sort(key=lambda one: (-one[0], one[1]))
    numbers, given, batch = Counted(really), Counted[str](), []
    for weeks, _, model, unit in chosen:
        days = weeks * 7 - chance.randint(0, 4)  # from Monday on
        days += {5: 1, 6: 2}.get((MONDAY - timedelta(days=days)).weekday(), 0)
        year = str((MONDAY - timedelta(days=days)).year)
        numbers[year] += 1
        given[unit] += 1
        number = f"{year}-{numbers[year]:06d}"
        batch.append(copied(model, number, days, cast_of(unit, chance)))
        if len(batch) == BATCH:
            _write(ledger, batch)
            batch = []
    _write(ledger, batch)
    ledger.write(_count_on, numbers)
    _tidy(ledger)
    return given


def _write(ledger: Ledger, batch: list[Rows]) -> None:
    names = (*(str(table.__tablename__) for table in (*TABLES, Attempt)), "audit")
    _write_tables(ledger, names, batch)


def _count_on(session: Session, numbers: Mapping[str, int]) -> None:
    """Go on with the numbers after those that were given."""
    for year, last in numbers.items():
        session.merge(Counter(year=int(year), last=last))


def main() -> None:
    path = Path(sys.argv[1])
    items = int(sys.argv[2]) if len(sys.argv) > 2 else ITEMS
    url = f"sqlite:///{path.resolve()}"
    upgrade(url)
    ledger = Ledger(url)
    ledger.write(office, MONDAY)
    given = fill(ledger, items)
    ledger.close()
    print(f"{sum(given.values())} items of {len(given)} units in {path}")


if __name__ == "__main__":
    main()
