"""The real system that the machine drives: ledger, acts, web, publisher; a clock, an engine and a
platform that do what they are told."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from sqlmodel import Session
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from activities.publish import Publisher
from review.acts import turning
from review.acts.entitlement import refresh_open_steps
from review.acts.linking import DeadLinkError, make_links
from review.records import access, bureau
from review.records.engine import Ledger, upgrade
from review.records.people import Person
from review.records.tables import Channel
from review.rendering import Rendered
from review.rules.errors import NotFoundError, RuleError
from review.rules.positions import Position
from review.rules.publications import Claim, PublicationRef, Receipt
from review.rules.values import PublicationState, Role
from review.settings import Settings
from starter.reviews import Reviews
from starter.web.app import create_app
from starter.web.hook import Key, Verifier
from tests.examples import CHANNELS, MONDAY, PEOPLE, office

PLACES = CHANNELS | {"wechat": "center"}  # a second channel of the center's own
HOOK_KEY = Key("oa", b"k" * 32)


class Answer(NamedTuple):
    """`ok`, or the code of the refusal, and what was said beside it."""

    code: str
    body: dict[str, Any]


class Crash(BaseException):
    """The process ends at this point."""


@cache
def template() -> bytes:
    """Return a migrated ledger with the office's roster, as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        upgrade(f"sqlite:///{path}")
        ledger = Ledger(f"sqlite:///{path}")
        ledger.write(_office)
        ledger.close()
        return path.read_bytes()


def _office(session: Session) -> None:
    office(session, MONDAY)
    session.add(Channel(id="wechat", name="wechat", platform="website", operator_unit_id="center"))


class Platform:
    """A channel's far end: keeps what arrives under its key, and answers as it is told.

    `answer`: live, accepted, unknown; failed (nothing is kept); lost (breaks before it arrives),
    torn (breaks after).
    """

    def __init__(self) -> None:
        self.answer = "live"
        self.holds: dict[str, str] = {}
        self.sent: list[tuple[str, str, str, int, bytes]] = []

    async def publish(self, claim: Claim, rendered: Rendered, at: datetime) -> Receipt:
        if self.answer == "failed":
            return Receipt(state=PublicationState.FAILED)
        if self.answer == "lost":
            raise ConnectionRefusedError(111, "no way")
        self.sent.append(
            (claim.key, claim.submission_id, claim.channel, claim.generation, rendered.content)
        )
        self.holds[claim.key] = "unknown" if self.answer == "unknown" else "live"
        if self.answer == "torn":
            raise TimeoutError("no answer")
        return Receipt(state=PublicationState(self.answer), reference="job")

    correct = publish

    async def retract(self, claim: Claim, at: datetime) -> Receipt:
        raise AssertionError("nothing here is retracted")

    async def lookup(self, claim: Claim) -> Receipt | None:
        found = self.holds.get(claim.key)
        return Receipt(state=PublicationState(found)) if found else None


class Handle:
    def __init__(self, engine: "Engine", workflow: str) -> None:
        self._engine, self._workflow = engine, workflow

    async def signal(self, _name: str, message: Any, **_: Any) -> None:
        self._engine.answering()
        if self._workflow not in self._engine.workflows:
            raise RPCError("not found", RPCStatusCode.NOT_FOUND, b"")
        self._engine.take(self._workflow, message)

    async def query(self, _query: Any) -> Any:
        raise RPCError("no worker", RPCStatusCode.UNAVAILABLE, b"")


class Engine:
    """Stands for the engine's client: takes nudges while it is up, keeps everything it was told."""

    def __init__(self) -> None:
        self.up = True
        self.workflows: set[str] = set()
        self.nudged: list[str] = []
        self.history: list[str] = []

    def answering(self) -> None:
        if not self.up:
            raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")

    def take(self, workflow: str, *messages: Any) -> None:
        self.nudged.append(workflow)
        self.history += [m.model_dump_json() for m in messages]

    async def start_workflow(self, _run: Any, ref: Any, *, id: str, **more: Any) -> None:
        self.answering()
        self.workflows.add(id)
        self.take(id, ref, *more.get("start_signal_args", ()))

    def get_workflow_handle(self, workflow: str) -> Handle:
        return Handle(self, workflow)

    def get_workflow_handle_for(self, _run: Any, workflow: str) -> Handle:
        return Handle(self, workflow)


class World:
    """One ledger in one folder, and everything that works on it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="attack-", dir=_quick_folder())
        self.folder = Path(self._folder.name)
        self.path = self.folder / "ledger.db"
        self.path.write_bytes(template())
        self.ledger = Ledger(f"sqlite:///{self.path}")
        self.now = MONDAY
        self.engine = Engine()
        self.reviews = Reviews(self.ledger, self.engine, clock=self.clock)  # type: ignore[arg-type]
        self.access = access.Access(self.ledger, clock=self.clock, hasher=_hasher())
        self.platform = Platform()
        self.crash_at = ""
        self.publisher = Publisher(
            self.ledger, {"website": self.platform}, self.clock, fault=self._fault
        )
        self._runner = asyncio.Runner()
        self._web: httpx.AsyncClient | None = None
        self._look: sqlite3.Connection | None = None
        self.tokens: dict[str, str] = {}
        self.dead: dict[str, tuple[str, str]] = {}  # token and session of accounts once closed
        self.closed: set[str] = set()
        self.positions: dict[str, Position] = {}

    def clock(self) -> datetime:
        return self.now

    def run(self, deed: Any) -> Any:
        return self._runner.run(deed)

    def _fault(self, point: str) -> None:
        if point == self.crash_at:
            raise Crash(point)

    def close(self) -> None:
        async def end() -> None:
            if self._web is not None:
                await self._web.aclose()

        self.run(end())
        if self._look is not None:
            self._look.close()
        self._runner.close()
        self.ledger.close()
        self._folder.cleanup()

    @property
    def web(self) -> httpx.AsyncClient:
        """The web application, without a network."""
        if self._web is None:
            app = _app()
            app.state.reviews, app.state.access = self.reviews, self.access
            app.state.verifier = Verifier([HOOK_KEY], self.clock)
            self._web = httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080",
                trust_env=False,
            )  # fmt: skip
        return self._web

    # --- people ---------------------------------------------------------------------------------

    def person(self, name: str) -> Person:
        """Return a person as an authentication long ago did: the acts must look again."""
        unit, _ = PEOPLE[name]
        return Person(id=name, username=name, name=name, unit_id=unit)

    def token(self, person: str) -> str:
        if person not in self.tokens:
            self.tokens[person] = self.ledger.write(access.issue_token, person, "t", self.now)
        return self.tokens[person]

    def cookie(self, person: str) -> tuple[str, str]:
        """Return a fresh session's secret and CSRF token."""
        opened = self.ledger.write(
            lambda s: access.open_session(s, person, "", self.now, second_factor=True)
        )
        assert opened is not None
        return opened.secret, opened.csrf

    def _roster(self, person: str, change: Any) -> Any:
        def act(session: Session) -> Any:
            done = change(session)
            session.flush()
            refresh_open_steps(session, {person}, self.now)
            return done

        return self.ledger.write(act)

    def grant(self, person: str, role: str, unit: str, until: datetime | None) -> str:
        row = self._roster(
            person,
            lambda s: bureau.grant(s, person, Role(role), unit, self.now, until=until),
        )
        return str(row.id)

    def revoke(self, person: str, grant_id: str) -> None:
        self._roster(person, lambda s: bureau.revoke(s, grant_id, self.now))

    def disable(self, person: str) -> None:
        self.dead[person] = self.token(person), self.cookie(person)[0]
        self._roster(person, lambda s: access.disable(s, person, self.now))
        del self.tokens[person]
        self.closed.add(person)

    def enable(self, person: str) -> None:
        self._roster(person, lambda s: access.enable(s, person, self.now))
        self.closed.discard(person)

    # --- letters --------------------------------------------------------------------------------

    def asked_by_letter(self) -> list[tuple[str, ...]]:
        """Return the notices about open steps: id, person, item, step, unit."""
        rows = self.sql(
            "SELECT n.id, n.person_id, n.submission_id, s.key, s.unit_id FROM notice n"
            " JOIN step s ON s.id = n.step_id WHERE s.state = 'open' ORDER BY n.id"
        )
        return [tuple(map(str, row)) for row in rows]

    def letter(self, notice: str, lasts: timedelta) -> str | None:
        """Write the letter of a notice; returns its link's token, if it asks for a decision."""
        return self.ledger.write(make_links, [notice], lasts, self.now).get(notice)

    def press(self, token: str, body: dict[str, Any], strong: bool) -> tuple[Answer, bool]:
        """Decide by a link as its page does; also returns whether it still led somewhere."""
        try:
            try:
                link = self.run(self.reviews.link(token))
            except DeadLinkError as dead:
                link = self.run(self.reviews.link_used(token))
                if link is None:
                    return Answer(dead.code, dead.params), False
            deed = self.reviews.decide_by_link(token, link, body, second_factor_given=strong)
        except NotFoundError as unknown:
            return Answer(unknown.code, unknown.params), False
        try:
            return Answer("ok", self.run(deed)), True
        except RuleError as refusal:
            return Answer(refusal.code, refusal.params), True

    # --- the worker -----------------------------------------------------------------------------

    def turn(self, submission: str) -> Position:
        position = self.ledger.write(turning.advance, submission, self.now)
        self.positions[submission] = position
        self.engine.history.append(position.model_dump_json())
        return position

    def owed(self) -> set[str]:
        """Return the submissions whose nudge is still owed to the engine, as the relay does."""
        rows = self.sql("SELECT DISTINCT submission_id FROM outbox WHERE done_at IS NULL")
        return {str(row[0]) for row in rows}

    def publish(
        self, submission: str, channel: str, generation: int, answer: str, crash_at: str
    ) -> str:
        """Run the publisher once, as the worker does; returns what came of it."""
        self.platform.answer, self.crash_at = answer, crash_at
        ref = PublicationRef(submission_id=submission, channel=channel, generation=generation)
        self.engine.history.append(ref.model_dump_json())
        try:
            outcome = self.run(_activity(self.publisher, ref))
        except Crash:
            return "crash"
        except ApplicationError as error:
            self.engine.history.append(str(error))
            return str(error.type)
        finally:
            self.crash_at = ""
        self.engine.history.append(outcome.model_dump_json())
        return str(outcome.state)

    # --- the ledger, past the product -----------------------------------------------------------

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        if self._look is None:
            self._look = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        return self._look.execute(statement, values).fetchall()

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Let every commit fail, as on a full disk."""

        def refuse(_connection: Any) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        dialect = self.ledger.engine.dialect
        commit, dialect.do_commit = dialect.do_commit, refuse  # type: ignore[method-assign]
        try:
            yield
        finally:
            dialect.do_commit = commit  # type: ignore[method-assign]

    def bytes_kept(self) -> bytes:
        return b"".join(p.read_bytes() for p in sorted(self.folder.rglob("*")) if p.is_file())


async def _activity(publisher: Publisher, ref: PublicationRef) -> Any:
    return await ActivityEnvironment().run(publisher.publish, ref)


@cache
def _hasher() -> Any:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@cache
def _app() -> Any:
    folder = Path(tempfile.gettempdir()) / "attack-site-that-is-not-there"
    settings = Settings(
        data=folder, secret_key="s" * 32, public_url="http://127.0.0.1:8080", _env_file=None
    )
    return create_app(None, None, settings)  # type: ignore[arg-type]


def _quick_folder() -> str | None:
    """Return a folder in memory: what is shown here does not depend on the disk."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() else None


SECOND = timedelta(seconds=1)
