"""Alerts and dashboard ask for what is really shown, and every alert has its section to read."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from ruamel.yaml import YAML
from sqlmodel import select

from review.acts import announcing, hooks
from review.acts.measuring import measure
from review.ids import new_id
from review.records import checkpoints, hook_keys
from review.records.kept import Box
from review.records.tables import Notice
from review.records.ways import NoticeSend
from review.rules.errors import LedgerUnavailableError
from starter.web.metrics import Metrics
from tests.acting import Course
from tests.deploy.test_files import DEPLOY
from tests.examples import MONDAY

# What Prometheus itself and the SDK's runtime show; the SDK's appear with the first task, so the
# side-by-side test sees them (temporal_…), and the names are those of the SDK's own page.
EARLIER = MONDAY - timedelta(minutes=10)
OTHERS = re.compile(r"up$|temporal_")


def rules() -> list[dict[str, Any]]:
    found = YAML(typ="safe").load(DEPLOY / "prometheus" / "alerts.yaml")
    return [rule for group in found["groups"] for rule in group["rules"]]


def queries() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    board = json.loads((DEPLOY / "grafana" / "dashboards" / "sanshen.json").read_text())
    yield from (target["expr"] for panel in board["panels"] for target in panel["targets"])


def names_in(query: str) -> set[tuple[str, frozenset[str]]]:
    """Return each metric a query asks for, with the labels it names."""
    found: set[tuple[str, frozenset[str]]] = set()

    def look(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            labels = frozenset(one.name for one in node.matchers.matchers)
            found.add((node.name, labels))
        for part in ("expr", "lhs", "rhs", "vector_selector"):
            if (inner := getattr(node, part, None)) is not None:
                look(inner)
        for inner in getattr(node, "args", None) or ():
            look(inner)

    look(promql_parser.parse(query))
    return found


async def shown(ledger: Any) -> str:
    """Return what a web shows once an item waits, is overdue, fails, and a checkpoint is signed."""
    metrics = Metrics()
    metrics.answered({"method": "POST", "route": None}, 200, 0.01)

    async def ask() -> Any:
        return await ledger.read(measure, MONDAY)

    await metrics.ask(ask)
    return metrics.text().decode()


@pytest.fixture
def busy(ledger: Any, tmp_path: Path) -> Any:
    Course(ledger, "fire_info").turn()
    course = Course(ledger, "fire_info", title="另一条工作动态", body="另一条内容，用于核对。")
    deed = course.run().publish[0]
    course.claim(deed.channel, deed.generation)
    watch = checkpoints.Watch(tmp_path / "c", checkpoints.keys_in(tmp_path / "k"))
    checkpoints.make(ledger, watch, MONDAY)
    ledger.write(unheard)
    return ledger


def unheard(session: Any) -> None:
    """Have messages wait for a robot, for three people's own destinations, and for the OA."""
    box = Box(b"s" * 48, hook_keys.PURPOSE)
    hooks.add_endpoint(session, "oa", "https://oa.example", (), EARLIER, box, way_in="cli")
    announcing.announce(session, EARLIER, "https://sanshen.example")
    (due, *_) = announcing.take_due(
        session, announcing.endpoints_due(session, MONDAY)[0], MONDAY
    )  # fmt: skip
    announcing.settle(session, due.id, due.attempts, MONDAY, status=500)
    notice = session.exec(select(Notice)).first()
    for way, error in (("named:duty", ""), ("own:a", "401"), ("own:b", ""), ("own:c", "")):
        session.add(
            NoticeSend(
                id=new_id(), notice_id=notice.id, person_id=notice.person_id, way=way,
                not_before=EARLIER, next_try_at=EARLIER, error=error,
            )
        )  # fmt: skip


async def test_every_query_asks_for_what_is_shown(busy: Any):
    text = await shown(busy)
    seen = set(re.findall(r"^([a-z_]+)(?:\{| )", text, re.MULTILINE))
    asked = {name for query in queries() for name in names_in(query)}

    assert {("sanshen_ledger_up", frozenset()), ("sanshen_items_overdue", frozenset())} <= asked
    for name, labels in asked:
        # The SDK as workers/ set it shows counters without an ending.
        assert not re.fullmatch(r"temporal_\w+_total", name), name
        if not OTHERS.match(name):
            assert name in seen, name
            line = next(one for one in text.splitlines() if re.match(rf"{name}[ {{]", one))
            inside = set(re.findall(r'(\w+)="', line)) | {"job", "instance"}
            assert labels <= inside, (name, labels)


async def test_what_waits_is_counted_with_its_age_and_no_id_is_shown(busy: Any):
    text = await shown(busy)

    assert 'sanshen_items_waiting{step="unit_review"} 1.0' in text
    assert 'sanshen_publications_unsettled{channel="site",state="submitted"} 1.0' in text
    assert re.search(r"^sanshen_checkpoint_age_seconds \d", text, re.MULTILINE)
    assert "sanshen_ledger_up 1.0" in text
    assert 'sanshen_messages_waiting{way="named:duty"} 1.0' in text
    assert 'sanshen_messages_waiting{way="own"} 3.0' in text
    assert 'sanshen_messages_failing{way="own"} 1.0' in text
    assert 'sanshen_messages_oldest_seconds{way="own"} 600.0' in text
    assert 'sanshen_hooks_failing{endpoint="oa"} 1.0' in text
    assert 'sanshen_hooks_oldest_seconds{endpoint="oa"} 600.0' in text
    assert not re.search("[0-9a-v]{26}", text) and "工作" not in text


async def test_a_ledger_that_is_away_is_told_and_not_asked_again_at_once():
    metrics, asked = Metrics(), []

    async def away() -> Any:
        asked.append(1)
        raise LedgerUnavailableError

    await metrics.ask(away)
    await metrics.ask(away)

    assert "sanshen_ledger_up 0.0" in metrics.text().decode()
    assert len(asked) == 1


def test_every_alert_has_its_section_and_every_section_its_alert():
    sections = re.findall(
        r"^## (Sanshen\w+)$", (DEPLOY.parent / "docs" / "runbook.md").read_text(), re.MULTILINE
    )

    assert sections == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert re.fullmatch(r"\d+[mh]", rule["for"])


def test_a_query_with_a_slip_is_noticed():
    with pytest.raises(ValueError):
        promql_parser.parse("sum(rate(sanshen_http_requests_total[5m])")
