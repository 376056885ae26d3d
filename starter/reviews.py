"""`Reviews`: every act and every read of the outside, and the one client of the engine.

An act is judged and committed in the ledger first; then the engine is nudged. A nudge that fails
is no failure of the act: the relay sends it again (design, principles 1 to 3).
"""

import asyncio
import hashlib
import hmac
import re
import secrets
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

import structlog
from sqlmodel import Session, select
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from review.acts import (
    acting,
    attaching,
    bundling,
    connecting,
    deciding,
    deliveries,
    drafting,
    editing,
    foreseeing,
    item,
    linking,
    measuring,
    outlets,
    overseeing,
    publishing,
    reading,
    relating,
    retention,
    screening,
    showing,
    statistics,
    submitting,
    upkeep,
    verifying,
    waiting,
)
from review.acts.forms import form_html, form_of, supplement_of
from review.acts.repeats import once, request_hash
from review.acts.stopping import remember_stop, stop_findings, stopped
from review.acts.visibility import require_visible
from review.blobs import Blobs
from review.engine import connect
from review.envelopes import Envelope
from review.ids import new_id
from review.records import audit, checkpoints
from review.records.access import Access
from review.records.checkpoints import CheckpointError, Watch, keys_in
from review.records.engine import Ledger
from review.records.people import Person, load_person
from review.records.tables import Submission
from review.rendering import Limit
from review.requests import ActRequest, DecisionRequest, Draft, NewVersion
from review.rules.errors import (
    KeyReusedError,
    LedgerUnavailableError,
    NotAllowedError,
    NotSignedInError,
    RefusedError,
    RuleError,
)
from review.rules.matters import MatterKind
from review.rules.screening import Finding
from review.rules.values import Role
from review.settings import Settings
from starter.turned_away import TurnedAway
from starter.uploading import Uploaded
from workflows.names import TASK_QUEUE, submission_workflow_id
from workflows.nudges import nudge, nudge_matter, nudge_publication
from workflows.submission import SubmissionWorkflow

Json = dict[str, Any]
T = TypeVar("T")
log = structlog.get_logger()

# A page asks the running workflow, but doesn't wait for a worker that isn't there (design).
DIGEST = re.compile("(sha256|sm3):[0-9a-f]{64}")
QUERY_PATIENCE = 1.0  # seconds
BUNDLE_IN_MEMORY = 16 * 1024 * 1024  # bytes; what is larger waits on the disk to be sent


def system_clock() -> datetime:
    """Return now, aware."""
    return datetime.now(UTC)


class Reviews:
    """What people and programs may do, over the ledger and the engine."""

    def __init__(
        self,
        ledger: Ledger,
        client: Client | None,
        *,
        clock: Callable[[], datetime] = system_clock,
        task_queue: str = TASK_QUEUE,
        secret: bytes = b"",
        watch: Watch | None = None,
        blobs: Blobs | None = None,
    ) -> None:
        """Take what it works with.

        Args:
            secret: Keys the hash that is kept of a stopped text; a random one unless given.
            watch: Knows the last checkpoint of the trace, kept outside the ledger.
            blobs: Where uploads are kept; in the folder of the moment unless given.
        """
        self._blobs = blobs or Blobs(Path("data") / "blobs")
        self._secret = secret or secrets.token_bytes(32)
        self._watch = watch
        self._ledger = ledger
        self.turned_away = TurnedAway(ledger, clock)
        self._client = client
        self._clock = clock
        self._task_queue = task_queue

    # --- acts ---------------------------------------------------------------------------------

    async def submit(self, person: Person, draft: Draft, *, key: str | None, way_in: str) -> Json:
        """Take a new submission (R4.1-4); see `submitting.submit` for what is refused."""

        def act(session: Session, who: Person, now: datetime) -> Json:
            return submitting.submit(session, who, draft, way_in=way_in, now=now)

        answer = await self._do(person, "submit", draft, key, way_in, act)
        return await self._delivered(answer["id"], answer, first=True)

    async def submit_by(
        self,
        person: Person,
        what: str,
        request: Any,
        act: Callable[[Session, Person, datetime], Json],
        *,
        key: str | None,
        way_in: str,
    ) -> Json:
        """Do an act that submits an item, and tell the engine of the item."""
        answer = await self._do(person, what, request, key, way_in, act)
        return await self._delivered(answer["id"], answer, first=True)

    async def decide(
        self,
        person: Person,
        submission_id: str,
        request: DecisionRequest,
        *,
        decision_id: str | None,
        way_in: str,
        conflict_code: str = "key_reused",
    ) -> Json:
        """Take one decision: judged and committed, then told to the engine."""
        decision_id = decision_id or new_id()

        def act(session: Session, who: Person, now: datetime) -> Json:
            return deciding.decide(
                session, who, submission_id, request,
                decision_id=decision_id, way_in=way_in, now=now,
            )  # fmt: skip

        try:
            answer = await self._do(person, "decide", request, None, way_in, act, submission_id)
        except KeyReusedError as error:
            if conflict_code != "key_reused":
                raise RefusedError("key_reused") from error
            raise
        return await self._delivered(submission_id, answer)

    async def link(self, token: str) -> linking.Opened:
        """Return what the link in a letter leads to; see `linking.opened` for what is refused."""
        return await self._read(linking.opened, token, self._clock())

    async def decide_by_link(
        self, token: str, link: linking.Opened, asked: Json, *, second_factor_given: bool
    ) -> Json:
        """Take the one decision of a link, on the step and the version that it is bound to.

        Args:
            asked: Verdict, opinion and ticks; nothing of what the link fixes.

        Raises:
            ValidationError: A field is not of the right shape.
            RuleError: See `linking.decide`.
        """
        bound = {"step": link.step, "unit": link.unit, "round": link.round, "digest": link.digest}
        request = DecisionRequest.model_validate(asked | bound)
        strong = second_factor_given or not link.asks_factor
        person = link.person.model_copy(update={"second_factor": strong})

        def act(session: Session, who: Person, now: datetime) -> Json:
            return linking.decide(
                session, who, token, request, now, second_factor_given=second_factor_given
            )

        answer = await self._do(
            person, "decide", request, None, linking.WAY_IN, act, link.submission_id
        )
        return await self._delivered(link.submission_id, answer)

    async def link_used(self, token: str) -> linking.Opened | None:
        """Return what a link that was used led to, for a press that comes twice."""
        return await self._read(linking.sent_again, token, self._clock())

    async def claim_delivery(self, message_id: str, key: str, body: bytes) -> tuple[int, Json]:
        """Bind a signed message's id to its body, and return its first answer; 0: none yet.

        Raises:
            RefusedError: `key_reused`: the id came before with another body.
        """
        hash_ = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        return await self._ledger.run(
            deliveries.claim_delivery, message_id, key, hash_, self._clock()
        )

    async def answer_delivery(self, message_id: str, status: int, answer: Json) -> None:
        """Keep the first answer to a signed message."""
        await self._ledger.run(deliveries.answer_delivery, message_id, status, answer)

    async def release_delivery(self, message_id: str) -> None:
        """Bind a signed message's id to no body after all."""
        await self._ledger.run(deliveries.release_delivery, message_id)

    async def new_version(
        self,
        person: Person,
        submission_id: str,
        request: NewVersion,
        *,
        key: str | None,
        way_in: str,
    ) -> Json:
        """Take a new text: an answer after a return, or an edit in an edit step."""

        def act(session: Session, who: Person, now: datetime) -> Json:
            return editing.new_version(session, who, submission_id, request, way_in=way_in, now=now)

        answer = await self._do(person, "version", request, key, way_in, act, submission_id)
        return await self._delivered(submission_id, answer)

    async def act(
        self,
        person: Person,
        submission_id: str,
        request: ActRequest,
        *,
        key: str | None,
        way_in: str,
    ) -> Json:
        """Do any other act on an item (requirements 1.8)."""

        def act(session: Session, who: Person, now: datetime) -> Json:
            return acting.act(session, who, submission_id, request, way_in=way_in, now=now)

        answer = await self._do(person, "act", request, key, way_in, act, submission_id)
        return await self._delivered(submission_id, answer)

    def may_submit(self, person: Person) -> None:
        """Refuse before anything is read or kept whoever submits no texts."""
        submitting.unit_of(person)

    def may_attach(self, person: Person) -> None:
        """Refuse before a byte is read whoever writes no texts."""
        attaching.require_uploader(person)

    async def attach(
        self,
        person: Person,
        name: str,
        content: bytes,
        *,
        key: str | None,
        way_in: str,
        words: bool = False,
    ) -> Json:
        """Take a file: examined and screened in memory, then kept, then written down.

        Args:
            words: Answer with a document's text too, for its uploader to go on writing.
        """
        upload = await Uploaded.examine(name, content)
        if not upload.stops:
            await self._read(upload.screen, self._clock())
        if not upload.stops:
            await asyncio.to_thread(upload.keep, self._blobs)
        answer = await self._do(
            person, "attach", upload.request, key, way_in, upload.act(way_in), found=upload.stops
        )
        return answer | {"words": upload.cleaned.words} if words else answer

    async def administer(
        self,
        person: Person,
        what: str,
        request: Any,
        *,
        key: str | None,
        way_in: str,
        act: Callable[[Session, Person, datetime], Json],
    ) -> Json:
        """Do an administrator's act; the act itself judges who may (requirements 1.8)."""
        return await self._do(person, what, request, key, way_in, act)

    async def manage(
        self,
        person: Person,
        kind: MatterKind,
        what: str,
        request: Any,
        *,
        key: str | None,
        way_in: str,
        act: Callable[[Session, Person, datetime], Json],
    ) -> Json:
        """Do an act on an order, an incident or a case, then tell its workflow."""
        answer = await self._do(person, what, request, key, way_in, act)
        if self._client is None:
            return answer | {"delivered": False}
        taken = await nudge_matter(self._client, kind, answer["id"], task_queue=self._task_queue)
        return answer | {"delivered": taken}

    async def run_retention(
        self, person: Person, request: Any, *, key: str | None, way_in: str
    ) -> Json:
        """Remove what was reported and is due (A-29); its files after the ledger says so."""

        def act(session: Session, who: Person, now: datetime) -> Json:
            return retention.run_at_once(session, who, now, way_in=way_in)

        answer = await self._do(person, "retention_run", request, key, way_in, act)
        await retention.drop_files(self._ledger, self._blobs, self._clock)
        return answer

    async def administration(
        self, person: Person, read: Callable[[Session, Person, datetime], T]
    ) -> T:
        """Read for an administrator; what is read itself judges who may."""
        return await self._read(read, person, self._clock())

    async def keep_draft(self, person: Person, typed: Json, known: Json) -> bool:
        """Keep what somebody is writing; False, and nothing is kept, when a stop rule stops it.

        Args:
            typed: Every field of the form, as it is to be shown again.
            known: What of it is named and shaped as in a request, for the checks.
        """

        def keep(session: Session) -> bool:
            found = screening.check(session, person, known | {"typed": typed}, self._clock())
            if any(one["severity"] == "stop" for one in found):
                return False
            drafting.keep(session, person, typed, self._clock())
            return True

        return await self._ledger.run(keep)

    async def drop_draft(self, person: Person) -> None:
        await self._ledger.run(drafting.drop, person)

    async def check(self, person: Person, draft: Json) -> Json:
        """Screen a text without storing it."""
        return {"findings": await self._read(screening.check, person, draft, self._clock())}

    async def _do(
        self,
        person: Person,
        what: str,
        request: Any,
        key: str | None,
        way_in: str,
        act: Callable[[Session, Person, datetime], Json],
        submission_id: str = "",
        found: tuple[Finding, ...] = (),
    ) -> Json:
        """Run an act in one transaction; a refusal changes nothing and leaves an audit line."""
        findings = found or stop_findings(request)
        if findings:  # before anything is stored (R1.3-4)
            await self._ledger.run(
                remember_stop,
                person,
                what,
                request,
                findings,
                way_in,
                self._clock(),
                self._secret,
            )
            raise _remembered(stopped(findings))
        hash_ = request_hash(f"{what}:{submission_id}", request) if key else ""

        def transaction(session: Session) -> Json:
            now = self._clock()
            who = load_person(session, person.id, now)
            if who is None:
                raise NotSignedInError
            if not person.second_factor:
                who = who.model_copy(update={"second_factor": False})
            return once(session, who.id, key, hash_, now, lambda: act(session, who, now))

        try:
            return await self._ledger.run(transaction)
        except LedgerUnavailableError:
            raise
        except RuleError as refusal:
            if refusal.status in (403, 404, 409):
                await self._remember(person, what, request, submission_id, refusal, way_in)
                _remembered(refusal)
            raise

    async def _remember(
        self,
        person: Person,
        what: str,
        request: Any,
        submission_id: str,
        refusal: RuleError,
        way_in: str,
    ) -> None:
        """Write down who was refused what; codes only, never content."""
        data = {"what": what, "code": refusal.code}
        for name in ("step", "verdict", "act"):
            if getattr(request, name, None):
                data[name] = str(getattr(request, name))

        def transaction(session: Session) -> None:
            chain: Submission | str = "bureau"
            if submission_id:
                row = session.exec(
                    select(Submission).where(Submission.id == submission_id).with_for_update()
                ).first()
                chain = row if row is not None else "bureau"
            audit.append(
                session, chain, "refused", at=self._clock(), person_id=person.id,
                way_in=way_in, digest=_digest_in(request), data=data,
            )  # fmt: skip

        await self._ledger.run(transaction)

    async def _delivered(self, submission_id: str, answer: Json, *, first: bool = False) -> Json:
        """Nudge the engine and say whether it took the nudge."""
        if self._client is None:
            return answer | {"delivered": False}

        async def about() -> tuple[str, str]:
            return await self._ledger.read(item.category_and_unit, submission_id)

        taken = await nudge(
            self._client, submission_id, reason="act", about=about, first=first,
            task_queue=self._task_queue,
        )  # fmt: skip
        return answer | {"delivered": taken}

    # --- reads --------------------------------------------------------------------------------

    async def draft(self, person: Person) -> Json | None:
        """Return what is kept of what somebody is writing."""
        return await self._read(drafting.kept, person)

    async def choices(self, person: Person) -> Json:
        """Return what the form of a new submission may offer."""
        return await self._read(foreseeing.choices, person)

    async def sources(self) -> list[str]:
        """Return the names on the whitelist of sources."""
        return await self._read(foreseeing.source_names)

    async def foresee(self, person: Person, fields: Json) -> Json:
        """Return who would review a text and by when, if it were submitted now."""
        return await self._read(foreseeing.foresee, person, fields, self._clock())

    async def limits_of_text(self, person: Person, fields: Json) -> list[Limit]:
        """Return which limits of its channels' platforms a text would exceed."""
        return await self._read(foreseeing.limits_of_text, person, fields)

    def now(self) -> datetime:
        """Return the moment by which requests are judged."""
        return self._clock()

    async def envelope(self, channel: str) -> Envelope:
        """Return with what a channel's callbacks are signed and sealed; NotFoundError."""
        return await self._read(connecting.envelope_of, channel, self._secret)

    async def ask_platform_now(self, channel: str, job: str) -> bool:
        """Have the workflow of a platform's job ask how it went; False when nobody waits for it."""
        found = await self._read(publishing.under_way, channel, f"publish:{job}:")
        if self._client is None:
            return False
        told = [await nudge_publication(self._client, s, channel, g) for s, g in found]
        return any(told)

    async def _read(self, read: Callable[..., T], *args: Any) -> T:
        return await self._ledger.read(read, *args)

    async def _seen(
        self, person: Person, submission_id: str, show: Callable[[Session, item.Item], T]
    ) -> T:
        """Show something of an item that the person may see; NotFoundError for others."""

        def read(session: Session) -> T:
            found = item.Item.seen(session, submission_id)
            require_visible(session, person, found.row, self._clock())
            return show(session, found)

        return await self._ledger.read(read)

    async def submission(
        self, person: Person, submission_id: str, language: str = "zh", *, ask_engine: bool = True
    ) -> Json:
        """Return an item from the ledger, with the running workflow's word beside it if wanted."""
        shown = await self._seen(
            person,
            submission_id,
            lambda session, found: showing.item_of(session, person, found, self._clock(), language),
        )
        if not ask_engine:
            return shown
        return shown | {"workflow": await self._workflow(submission_id)}

    async def _workflow(self, submission_id: str) -> Json:
        """Ask the running workflow; within a second, or say that it didn't answer."""
        if self._client is None:
            return {"answered": False}
        handle = self._client.get_workflow_handle(submission_workflow_id(submission_id))
        try:
            position = await asyncio.wait_for(
                handle.query(SubmissionWorkflow.status), QUERY_PATIENCE
            )
        except (RPCError, RuntimeError, TimeoutError):
            return {"answered": False}
        return {
            "answered": True,
            "status": position.status,
            "round": position.round,
            "open_steps": [step.model_dump(mode="json") for step in position.open_steps],
            "next_at": position.next_at.isoformat() if position.next_at else None,
            "next_mark": position.next_mark or None,
        }

    async def timeline(self, person: Person, submission_id: str) -> list[Json]:
        return await self._seen(person, submission_id, showing.timeline_of)

    async def related(self, person: Person, submission_id: str) -> list[Json]:
        """Return incident, topic, orders and cases of an item, of what the person may read."""
        return await self._seen(
            person,
            submission_id,
            lambda session, found: relating.related(session, person, found.row.id, self._clock()),
        )

    async def versions(self, person: Person, submission_id: str) -> list[Json]:
        return await self._seen(person, submission_id, showing.versions_of)

    async def diff(self, person: Person, submission_id: str, from_: int, to: int) -> Json:
        return await self._seen(
            person, submission_id, lambda s, found: showing.diff_of(s, found, from_, to)
        )

    async def preview(self, person: Person, submission_id: str, channel: str) -> tuple[str, bytes]:
        """Return exactly the bytes a channel would get, with their media type."""
        rendered = await self._seen(
            person, submission_id, lambda s, found: showing.preview_of(s, found, channel)
        )
        return rendered.media_type, rendered.content

    async def limits(self, person: Person, submission_id: str) -> dict[str, list[Limit]]:
        """Return, by channel, which limits of its platform the current version exceeds."""
        return await self._seen(person, submission_id, showing.limits_of)

    async def attachment(self, person: Person, attachment_id: str) -> tuple[attaching.Kept, bytes]:
        """Return a file that the person may see, with its bytes.

        Raises:
            RefusedError: attachment_wrong: the bytes on the disk are not those that were kept.
        """
        kept = await self._read(attaching.fetch, person, attachment_id, self._clock())
        return kept, await self._bytes_of(kept)

    async def preview_file(
        self, person: Person, submission_id: str, name: str
    ) -> tuple[attaching.Kept, bytes]:
        """Return a file that an item's previews show under this name, with its bytes.

        Raises:
            RefusedError: attachment_wrong, as for `attachment`.
        """
        kept = await self._seen(
            person, submission_id, lambda s, found: showing.file_of(s, found, name)
        )
        return kept, await self._bytes_of(kept)

    async def _bytes_of(self, kept: attaching.Kept) -> bytes:
        content = await asyncio.to_thread(self._blobs.read, kept.sha256)
        if content is None:
            raise RefusedError("attachment_wrong", sha256=kept.sha256)
        return content

    async def form_html(self, person: Person, submission_id: str, site: str = "") -> str:
        """Return the official form, annex 1 or 2, filled in (R4.2).

        Args:
            site: Our public address; with it the form bears a code that leads to `/verify`.
        """
        return await self._seen(
            person, submission_id, lambda session, found: form_html(session, found, site=site)
        )

    async def bundle(
        self, person: Person, submission_id: str, site: str = "", own: Path | None = None
    ) -> tuple[str, IO[bytes]]:
        """Return the item's number and a ZIP that verifies by itself; see `bundling`.

        Raises:
            NotAllowedError: For those whose roles do not read a whole trace.
            RefusedError: `attachment_wrong`: a file of its is not there, or is not the one.
        """

        def read(session: Session, found: item.Item) -> tuple[list[tuple[str, bytes]], list[str]]:
            made = list(bundling.parts(session, person, found))
            made.append(("form.html", form_html(session, found, site=site).encode()))
            return made, bundling.attachments(session, found.row.id)

        made, held = await self._seen(person, submission_id, read)
        number, word = await self.form_docx(person, submission_id, site, own)
        made.append(("form.docx", word))

        def write() -> IO[bytes]:
            for digest in held:
                path = self._blobs.path(digest)
                if self._blobs.problem(digest) is not None:
                    raise RefusedError("attachment_wrong", sha256=digest)
                made.append((f"attachments/{path.name}", path.read_bytes()))
            out: IO[bytes] = tempfile.SpooledTemporaryFile(BUNDLE_IN_MEMORY)  # noqa: SIM115
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
                for name, content in [
                    *made,
                    ("manifest.json", bundling.manifest(made)),
                    ("verify.py", bundling.script()),
                ]:
                    bundle.writestr(f"{number}/{name}", content)
            out.seek(0)
            return out

        return number, await asyncio.to_thread(write)

    async def form_docx(
        self, person: Person, submission_id: str, site: str = "", own: Path | None = None
    ) -> tuple[str, bytes]:
        """Return the item's number and its official form with the 附页 as a Word file (R4.2).

        Args:
            site: Our public address; with it the file bears a code that leads to `/verify`.
            own: The folder where the bureau keeps its own templates, if it does.

        Raises:
            RefusedError: form_template_wrong: the bureau's own template can't be filled.
        """
        from review import word_forms  # it loads much that few processes need

        def read(session: Session, found: item.Item) -> tuple[Json, list[tuple[str, str]]]:
            return form_of(session, found, site=site), supplement_of(session, found)

        form, more = await self._seen(person, submission_id, read)

        def write() -> bytes:
            path = own / f"{form['form']}.docx" if own else None
            kept = path.read_bytes() if path is not None and path.is_file() else None
            return word_forms.filled(form, more, kept)

        try:
            return form["number"], await asyncio.to_thread(write)
        except word_forms.TemplateError as error:
            raise RefusedError(
                "form_template_wrong", form=f"{form['form']}.docx", why=str(error)
            ) from None

    async def submissions(
        self, person: Person, filters: Json, limit: int, after: str | None
    ) -> Json:
        return await self._read(reading.submissions, person, filters, limit, after, self._clock())

    async def inbox(self, person: Person, limit: int = 50, after: str | None = None) -> Json:
        return await self._read(waiting.inbox, person, limit, after, self._clock())

    async def waiting(self, person: Person, most: int) -> int:
        """Return how many steps wait for a person, at most so many."""
        return await self._read(waiting.count, person, most, self._clock())

    async def board(self, person: Person) -> Json:
        return await self._read(reading.board, person, self._clock())

    async def overview(self, person: Person) -> Json:
        """Return the supervisor's board: tiles, heat, what breaches next, who is away."""
        return await self._read(overseeing.overview, person, self._clock())

    async def measures(self) -> measuring.Measures:
        """Return how things stand, in counts and ages.

        Raises:
            LedgerUnavailableError: The ledger can't be asked.
        """
        return await self._read(measuring.measure, self._clock())

    async def latest_entry(self) -> int:
        """Return the number of the trace's last entry; a number and nothing else."""
        return await self._read(overseeing.latest_entry)

    async def course(self, person: Person, submission_id: str) -> Json:
        """Return who had an item when, and which step approved which version."""
        return await self._seen(
            person, submission_id, lambda s, found: overseeing.course_of(s, found, self._clock())
        )

    async def verify_text(self, number: str, title: str, body: str) -> verifying.Answer:
        """Compare a text with what was published under a number; for anyone, keeps nothing."""
        return await self._read(verifying.verify_text, number, title, body)

    async def upkeep(self, person: Person) -> Json:
        """Return what those who run the place look at first, the engine's word beside it."""
        waiting = await self._read(upkeep.waiting, person, self._clock())
        parts = await self.readiness()
        return waiting | {"parts": parts, "workers": await self._workers()}

    async def _workers(self) -> list[Json] | None:
        """Return who takes work from the queue and when they last asked; None when unknown."""
        if self._client is None:
            return None
        found: dict[str, datetime] = {}
        for kind in (
            TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        ):
            asked = DescribeTaskQueueRequest(
                namespace=self._client.namespace,
                task_queue=TaskQueue(name=self._task_queue),
                task_queue_type=kind,
            )
            try:
                answer = await asyncio.wait_for(
                    self._client.workflow_service.describe_task_queue(asked), QUERY_PATIENCE
                )
            except (RPCError, RuntimeError, TimeoutError):
                return None
            for poller in answer.pollers:
                at = poller.last_access_time.ToDatetime(UTC)
                found[poller.identity] = max(at, found.get(poller.identity, at))
        now = self._clock()
        return [
            {"identity": name, "age": max(int((now - at).total_seconds()), 0)}
            for name, at in sorted(found.items())
        ]

    async def statistics(
        self, person: Person, from_: datetime | None, to: datetime | None, by: str
    ) -> Json:
        return await self._read(statistics.statistics, person, from_, to, by, self._clock())

    async def compare_statistics(
        self, person: Person, from_: datetime | None, to: datetime | None
    ) -> Json:
        return await self._read(statistics.compared, person, from_, to, self._clock())

    async def channels(self, person: Person) -> list[Json]:
        return await self._read(reading.channels)

    async def channel_trouble(self, person: Person) -> list[Json]:
        """Return where a channel needs somebody, of what the person may see."""
        return await self._read(outlets.channel_trouble, person, self._clock())

    async def audit_verify(self, person: Person) -> Json:
        """Recompute the whole trail; for auditors and those who run the place."""
        allowed = {Role.AUDITOR, Role.SUPERVISOR, Role.CENTER_CHIEF, Role.SECURITY_ADMIN}
        if not {held.role for held in person.roles} & allowed:
            raise NotAllowedError
        if self._watch is None:
            return await self._read(checkpoints.verify)
        try:
            expected = self._watch.expected()
        except CheckpointError as error:
            raise RefusedError(error.code) from None
        outside = [expected] if expected else []
        return await self._read(checkpoints.verify, self._watch.keys, outside)

    async def readiness(self) -> dict[str, str | None]:
        """Return each part that must be there, with what is missing, None when it is fine."""
        parts: dict[str, str | None] = {"ledger": None, "policy": None, "engine": None}
        try:
            await self._read(item.policy_in_force)
        except LedgerUnavailableError:
            parts["ledger"] = "unavailable"
        except RuleError as error:
            parts["policy"] = error.code
        if self._client is None:
            parts["engine"] = "not configured"
        else:
            try:
                await self._client.service_client.check_health()
            except (RPCError, RuntimeError):
                parts["engine"] = "unreachable"
        return parts


def _remembered(refusal: RuleError) -> RuleError:
    """Mark a refusal as written down, so that it is not written down twice."""
    refusal.remembered = True
    return refusal


def _digest_in(request: Any) -> str:
    """Return which version a request was about, if it says so in a digest's shape."""
    given = getattr(request, "digest", None) or getattr(request, "base_digest", None)
    return given if isinstance(given, str) and DIGEST.fullmatch(given) else ""


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[Reviews, Access]]:
    """Open ledger and engine as the settings say, and close what was opened."""
    ledger = Ledger(settings.ledger_url, settings.digests)
    client = await connect(settings, lazy=True)
    try:
        secret = settings.secret_key.get_secret_value().encode()
        given = [key.get_secret_value() for key in settings.audit_keys]
        watch = Watch(settings.checkpoints, keys_in(settings.keys, given))
        reviews = Reviews(
            ledger, client, secret=secret, watch=watch, blobs=Blobs(settings.data / "blobs")
        )
        counting = asyncio.create_task(reviews.turned_away.run())
        try:
            yield (
                reviews,
                Access(ledger, secret=secret, turned_away=reviews.turned_away.count),
            )
        finally:
            counting.cancel()
            await reviews.turned_away.flush()
    finally:
        ledger.close()
