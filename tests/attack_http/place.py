"""A bureau at its desks behind the real web application: items of several units, a person a role.

Nobody of the people here was ever asked on a step, so what they see is by their role alone.
"""

import asyncio
import base64
import hashlib
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from argon2 import PasswordHasher
from fastapi import FastAPI
from sqlmodel import Session

from review.acts import adopting, incidents, supervising, topics, violations
from review.blobs import Blobs
from review.matter_requests import NewIncident, NewOrder, NewTopic, NewViolation, ViolationAct
from review.packs import builtin_pack, load_pack
from review.records.access import Access, issue_token, open_session
from review.records.engine import Ledger
from review.records.tables import PersonRow
from review.rendering import published_file
from review.rules.matters import IncidentKind
from review.rules.values import Role
from review.settings import Settings
from starter.reviews import Reviews
from starter.web.app import create_app
from starter.web.hook import Key, Verifier
from tests.acting import Course
from tests.examples import LONG_AGO, MONDAY, grant, who

HOOK_KEY = Key("oa", b"k" * 32)
PAYLOAD_KEY = base64.b64encode(b"p" * 32).decode()
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
URL = "http://127.0.0.1:8080"
NOBODY = "nobody"
SCOPES = {  # the unit for which a role is held; every other role is for the whole bureau
    Role.INFO_OFFICER: "afforest", Role.UNIT_HEAD: "afforest", Role.SUPERVISING_LEADER: "afforest",
    Role.CHANNEL_OPERATOR: "pest",
}  # fmt: skip
DESKS = {  # where somebody with a role sits
    "office": {
        Role.OFFICE_REVIEWER, Role.OFFICE_DIRECTOR, Role.SECURITY_ADMIN, Role.SYSADMIN,
        Role.AUDITOR, Role.DUTY_OFFICER, Role.SUPERVISING_LEADER, Role.PUBLICITY_LEADER,
        Role.BUREAU_CHIEF,
    },
}  # fmt: skip


class Item(NamedTuple):
    """An item under review, with two versions and one attachment."""

    id: str
    canary: str  # a word that stands in its title, its text and its attachment's name alone
    channel: str
    attachment: str
    file: str  # its name in previews


# name: author, what is particular about it
ITEMS: dict[str, tuple[str, dict[str, Any]]] = {
    "afforest": ("afforest_info", {}),
    "fire": ("fire_info", {}),
    "incident": (
        "fire_info",
        {
            "category": "emergency", "level": "larger",
            "authority_reference": "省林火指〔2026〕1号",
            "event_time": "2026-11-23T08:00:00+08:00",
        },
    ),
    "outlet": ("pest_info", {"channels": ["mini_pest"]}),
}  # fmt: skip
CANARIES = {"afforest": "云杉渡", "fire": "白桦坪", "incident": "落叶沟", "outlet": "油松岭"}


class Place:
    """The application without a network, over a ledger that can be put back as it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = Ledger(f"sqlite:///{path}")
        self.now = MONDAY + timedelta(minutes=1)
        settings = Settings(
            data=path.parent, secret_key="s" * 32, public_url=URL, _env_file=None,
            payload_keys=f"k1:{PAYLOAD_KEY}",
        )  # fmt: skip
        self.blobs = Blobs(path.parent / "blobs")
        self.app: FastAPI = create_app(*self._parts(), settings)
        self.app.state.verifier = Verifier([HOOK_KEY], self.clock)
        self.app.state.stopping = lambda: True  # a stream of events ends at once
        self._runner = asyncio.Runner()
        # Whatever a refusal on the way would raise is an answer here, as it is for a caller.
        self.web = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False), base_url=URL,
            trust_env=False,
        )  # fmt: skip
        self.people: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        self.sessions: dict[str, tuple[str, str]] = {}
        self.items: dict[str, Item] = {}
        for name, (author, more) in ITEMS.items():
            self.items[name] = self._item(author, CANARIES[name], more)
        self.ledger.write(self._roles)
        self.proposal = str(self.ledger.write(self._propose)["id"])
        self.matters: dict[str, str] = self.ledger.write(self._matters)
        for person in [*self.people.values(), "deputy_b", "afforest_info"]:
            self.tokens[person] = self.ledger.write(issue_token, person, "t", self.now)
            self.sessions[person] = self.session_of(person)
        self._kept = b""
        self.keep()

    def clock(self) -> datetime:
        return self.now

    def _parts(self) -> tuple[Reviews, Access]:
        secret = b"s" * 32
        return (
            Reviews(self.ledger, None, clock=self.clock, secret=secret, blobs=self.blobs),
            Access(self.ledger, clock=self.clock, hasher=QUICK, secret=secret),
        )

    def _item(self, author: str, canary: str, more: dict[str, Any]) -> Item:
        token = self.ledger.write(issue_token, author, "t", self.now)
        taken = self.run(
            self.web.post(
                "/api/v1/attachments",
                files={"file": (f"{canary}.txt", f"{canary}附表".encode(), "text/plain")},
                headers={"Authorization": f"Bearer {token}"},
            )
        )
        assert taken.status_code == 201, taken.text
        attachment = taken.json()["id"]
        course = Course(
            self.ledger, author,
            title=f"{canary}秋冬季造林现场推进会召开",
            body=f"11月18日，{canary}造林绿化现场推进会召开。3个市作了交流发言。",
            attachments=[{"id": attachment, "form": "document"}], **more,
        )  # fmt: skip
        course.run("edit_proof2")
        course.edit(
            "editor_a", body=f"11月18日，{canary}造林绿化现场推进会召开。3个市作交流发言。",
            change="wording",
        )  # fmt: skip
        course.run("second_review")
        row = course.row()
        assert row.version == 2, canary
        [kept] = course.item(lambda item: item.version.attachments)
        file = published_file(kept)
        assert file is not None
        return Item(course.id, canary, row.channels[0], attachment, file)

    def _roles(self, session: Session) -> None:
        for role in Role:
            unit = SCOPES.get(role, "")
            desk = next((desk for desk, roles in DESKS.items() if role in roles), unit or "center")
            person = f"one_{role.value}"
            session.add(
                PersonRow(
                    id=person, username=person, name=person, unit_id=desk, oa_account=person,
                    created_at=LONG_AGO,
                )
            )  # fmt: skip
            session.flush()
            grant(session, person, role.value, unit)
            self.people[role.value] = person

    def _propose(self, session: Session) -> dict[str, Any]:
        """Leave a change of the rules that nobody of the roles' people proposed."""
        policy = load_pack(builtin_pack("demo-seconds"))
        proposer = who(session, "chief", self.now)
        return adopting.propose_policy(session, proposer, policy, self.now, way_in="page")

    def _matters(self, session: Session) -> dict[str, str]:
        """Leave an order, an incident and a case of a unit, opened by nobody of the roles'."""
        opened = {"way_in": "page", "now": self.now}
        order = supervising.open_order(
            session, who(session, "chief", self.now),
            NewOrder(unit="afforest", subject="造林数据未按要求及时发布"), **opened,
        )  # fmt: skip
        incident = incidents.register(
            session, who(session, "duty", self.now),
            NewIncident(
                title="某林场发生火情", kind=IncidentKind.FIRE, unit="afforest", event_at=self.now
            ), **opened,
        )  # fmt: skip
        case = violations.report(
            session, who(session, "supervisor_a", self.now),
            NewViolation(kind=3, unit="afforest", subject="面积数据与年报不一致"), **opened,
        )  # fmt: skip
        violations.act(
            session, who(session, "chief", self.now), case["id"], ViolationAct(act="take_up"),
            **opened,
        )  # fmt: skip
        topic = topics.open_topic(
            session, who(session, "chief", self.now), NewTopic(title="秋冬季森林防火专题"), **opened
        )
        return {
            "orders": order["id"], "incidents": incident["id"], "violations": case["id"],
            "topics": topic["id"],
        }  # fmt: skip

    def matter_of(self, path: str) -> str:
        """Return the matter that an address is about; of no kind when it is about none."""
        return next((id_ for kind, id_ in self.matters.items() if kind in path), "none")

    def session_of(self, person: str) -> tuple[str, str]:
        opened = self.ledger.write(
            lambda s: open_session(s, person, "", self.now, second_factor=True)
        )
        assert opened is not None
        return opened.secret, opened.csrf

    # --- asking -----------------------------------------------------------------------------------

    def run(self, deed: Any) -> Any:
        return self._runner.run(deed)

    def bearer(self, person: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[person]}"} if person != NOBODY else {}

    def cookie(self, person: str) -> dict[str, str]:
        if person == NOBODY:
            return {}
        secret, csrf = self.sessions[person]
        return {"Cookie": f"sanshen_session={secret}", "X-CSRF-Token": csrf}

    def ask(
        self, method: str, path: str, person: str = NOBODY, *, page: bool = False, **more: Any
    ) -> httpx.Response:
        """Ask as somebody: a program with a token, or a browser with a session."""
        headers = self.cookie(person) | {"Accept": "text/html"} if page else self.bearer(person)
        headers |= more.pop("headers", {})
        self.web.cookies.clear()
        found: httpx.Response = self.run(self.web.request(method, path, headers=headers, **more))
        return found

    def actors(self) -> Iterator[tuple[str, str]]:
        """Yield nobody, then each role with the person who holds it alone."""
        yield NOBODY, NOBODY
        yield from self.people.items()

    # --- the ledger -------------------------------------------------------------------------------

    def keep(self) -> None:
        """Take the ledger as it is now as the one to go back to."""
        self.ledger.close()
        self._kept = self.path.read_bytes()
        self._opened = dict(self.tokens), dict(self.sessions)
        self._open()

    def back(self) -> None:
        """Put the ledger back, and forget the tokens and sessions that it doesn't know."""
        self.ledger.close()
        for beside in ("-wal", "-shm"):
            self.path.with_name(self.path.name + beside).unlink(missing_ok=True)
        self.path.write_bytes(self._kept)
        self.tokens, self.sessions = (dict(kept) for kept in self._opened)
        self._open()

    def _open(self) -> None:
        self.ledger = Ledger(f"sqlite:///{self.path}")
        self.app.state.reviews, self.app.state.access = self._parts()
        self.app.state.turned_away = self.app.state.reviews.turned_away

    def state(self) -> str:
        """Return a digest of everything the ledger holds but refusals and when it was looked at."""
        found = hashlib.sha256()
        with sqlite3.connect(self.path) as raw:
            tables = raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (table,) in sorted(tables.fetchall()):
                found.update(table.encode())
                for row in raw.execute(_SHOWN.get(table, f'SELECT * FROM "{table}"')):
                    found.update(repr(row).encode())
        raw.close()
        return found.hexdigest()

    def count(self, event: str) -> int:
        """Return how many entries of a kind the trace has."""
        with sqlite3.connect(self.path) as raw:
            (found,) = raw.execute("SELECT count(*) FROM audit WHERE event = ?", (event,))
        raw.close()
        return int(found[0])

    def close(self) -> None:
        self.run(self.web.aclose())
        self._runner.close()
        self.ledger.close()


# A refusal adds its entry and so moves the head of the chain; a session tells when it was used.
_SHOWN = {
    "audit": "SELECT chain, event, person_id, data FROM audit"
    " WHERE event NOT IN ('refused', 'turned_away', 'sign_in_closed') ORDER BY seq",
    "sign_in": "SELECT count(*) FROM sign_in",
    "sign_in_attempts": "SELECT 1",
    "counter": "SELECT 1",
    "hook_delivery": "SELECT * FROM hook_delivery WHERE status = 200",
    "submission": "SELECT id, status, round, version, digest, title, due_at FROM submission",
    "sqlite_sequence": "SELECT 1",
}
