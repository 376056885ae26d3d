"""微信公众号: a draft, its publication, its removal, by the platform's published protocol.

A send has two steps. A draft is nobody's to read, so it may be made again; its submission is
made once. Each step is recorded before the next, so that a lost answer leaves one question open:
whether the submission arrived. That is answered by the list of published articles, where ours
bears its number and fingerprint (摘要); while it doesn't, nothing is submitted again.

Pictures go up before the draft, and again if a try is repeated: nobody sees them there.

Protocol: developers.weixin.qq.com, 草稿箱, 发布能力 and 素材; docs/channels.md says what was tried.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

import httpx
from temporalio.exceptions import ApplicationError

from activities.channels import Seen
from activities.outgoing import AddressRefusedError, NotConnectedError, NotSentError, Outgoing
from review.rendering import (
    Rendered,
    pictures_in,
    wechat_article,
    wechat_mark,
    with_pictures,
)
from review.rules.publications import Claim, Connection, Receipt, SeenPost
from review.rules.values import PublicationState

ADDRESS = "https://api.weixin.qq.com"
PAGE = 20  # entries of a list, the most the platform gives
READ_AGAIN = 2  # times
PAGES = 10  # how far back a lost article is looked for: the latest 200

TOKEN_WRONG = frozenset({40001, 40014, 42001})
# Errors after which the same call may succeed later, and in how many seconds.
LATER = {
    -1: 60.0,  # 系统繁忙
    45009: 3600.0,  # the day's calls are used up; the count starts anew at midnight
    45011: 60.0,  # too many calls this minute
    45028: 3600.0,  # no publication left today
    50002: 3600.0,  # the account is restricted for now
}
# What is wrong with the account or its registration: an administrator's to mend.
ACCOUNT = frozenset({40002, 40013, 40125, 40164, 40243, 41002, 41004, 48001, 50004, 50005, 50007})
SIZES = frozenset({45002, 45003, 45004, 45005, 45008, 45110})
PICTURE_WRONG = frozenset({40004, 40005, 40006, 40009, 40137, 45001})
NO_DRAFT = frozenset({40007})
UNSURE = frozenset({-1})  # to a submission: it may have been taken all the same
NO_ARTICLE = frozenset({53600})
TYPED = frozenset({"material/add_material"})  # calls that say what kind of material comes
# 发布状态 of freepublish/get
PUBLISHED, PUBLISHING, REMOVED, BANNED = 0, 1, 5, 6


class PlatformError(Exception):
    """The platform answered with an errcode: it did not do what was asked."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code

    @property
    def detail(self) -> str:
        if self.code in ACCOUNT or self.code in TOKEN_WRONG:
            return "publication.wechat_account"
        if self.code in SIZES:
            return "publication.text_too_long"
        if self.code in PICTURE_WRONG:
            return "publication.wechat_picture"
        return "publication.wechat_refused"


class PictureMissingError(Exception):
    """A picture's file is not there, or not what was reviewed."""


class AnswerUnclearError(Exception):
    """An answer that is not the protocol's: what was asked may have been done."""


class Tokens:
    """Access tokens, shared with every other worker by the platform itself.

    `stable_token` gives all callers one token until it ends; nobody's call makes another's
    invalid, unlike `/cgi-bin/token`. Only a token that the platform refuses though it is the
    current one is replaced by force (20 times a day, the platform's limit).
    """

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._held: dict[tuple[str, str], str] = {}
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    async def current(self, connection: Connection, refused: str = "") -> str:
        """Return the account's token; `refused` is one that the platform no longer takes."""
        which = (connection.address, connection.account)
        async with self._locks.setdefault(which, asyncio.Lock()):
            held = self._held.get(which, "")
            if held and held != refused:
                return held
            token = await self._fetch(connection, force=False)
            if token == refused:
                token = await self._fetch(connection, force=True)
            self._held[which] = token
            return token

    async def _fetch(self, connection: Connection, *, force: bool) -> str:
        asked = {
            "grant_type": "client_credential",
            "appid": connection.account,
            "secret": connection.secret,
            "force_refresh": force,
        }
        answer = await self._outgoing.request(
            "POST",
            f"{connection.address or ADDRESS}/cgi-bin/stable_token",
            content=json.dumps(asked).encode(),
            headers={"content-type": "application/json"},
        )
        said = _said(answer.status, answer.content)
        token = said.get("access_token")
        if not isinstance(token, str) or not token:
            raise AnswerUnclearError("no token")
        return token


class Wechat:
    """One account a channel; `Connection.account` is the AppID.

    The platform demands a cover of every article: its first picture, or where it has none the
    permanent material of `options.cover`.

    Args:
        blob: Where the file with a SHA-256 (hex) is kept; without it no picture goes out.
    """

    per_second = 2.0  # sends of all workers together; each makes a few calls

    def __init__(
        self,
        outgoing: Outgoing,
        connect: Callable[[str], Awaitable[Connection]],
        blob: Callable[[str], Path] | None = None,
    ) -> None:
        self._outgoing = outgoing
        self._connect = connect
        self._blob = blob
        self._tokens = Tokens(outgoing)

    # --- deeds ----------------------------------------------------------------------------------

    async def publish(self, claim: Claim, rendered: Rendered, at: datetime) -> Receipt:
        """Make the draft, or submit the one that an earlier step made."""
        return await self._refusing(claim, lambda: self._next_step(claim, rendered))

    async def correct(self, claim: Claim, rendered: Rendered, at: datetime) -> Receipt:
        """Draft, take the old article down, submit: an article can't be changed once it is out."""
        return await self._refusing(claim, lambda: self._next_step(claim, rendered))

    async def retract(self, claim: Claim, at: datetime) -> Receipt:
        """Delete what was published. The platform can't undo that."""
        return await self._refusing(claim, lambda: self._take_down(claim))

    async def lookup(self, claim: Claim) -> Receipt | None:
        try:
            return await self._look(claim)
        except PlatformError as error:
            raise ApplicationError(
                f"wechat: errcode {error.code}",
                type="ChannelFailed",
                next_retry_delay=timedelta(seconds=LATER.get(error.code, 60.0)),
            ) from None

    async def _next_step(self, claim: Claim, rendered: Rendered) -> Receipt:
        stage, _, media_id = claim.reference.partition(":")
        if stage == "ready":
            return await self._submit(claim, media_id)
        if stage == "draft":
            await self._delete_article(claim, claim.replaces.removeprefix("article:"))
            return _step(f"ready:{media_id}")
        if claim.correction_of and not claim.replaces.startswith("article:"):
            return Receipt(state=PublicationState.FAILED, detail="publication.wechat_old_unknown")
        if claim.in_doubt or claim.generation > 1:
            if (found := await self._published(claim)) is not None:
                return found  # it is there already, whoever thought that it failed
            media_id = await self._draft(claim) or ""
        if not media_id:
            media_id = await self._add_draft(claim, rendered)
        return _step(f"{'draft' if claim.replaces else 'ready'}:{media_id}")

    async def _add_draft(self, claim: Claim, rendered: Rendered) -> str:
        connection = await self._connect(claim.channel)
        fields = wechat_article(rendered.content)
        cover = connection.options.get("cover", "")
        addresses: dict[str, str] = {}
        for name in pictures_in(fields["content"]):
            content = await asyncio.to_thread(self._picture, name)
            if not addresses:
                said = await self._upload(claim.channel, "material/add_material", name, content)
                cover = _text(said, "media_id")
            said = await self._upload(claim.channel, "media/uploadimg", name, content)
            addresses[name] = _text(said, "url")
        article = {
            "article_type": "news",
            **fields,
            "content": with_pictures(fields["content"], addresses),
            "thumb_media_id": cover,
            "need_open_comment": 0,
            "only_fans_can_comment": 0,
        }
        said = await self._call(claim.channel, "draft/add", {"articles": [article]})
        return _text(said, "media_id")

    def _picture(self, name: str) -> bytes:
        """Return a picture's bytes, which are those that were reviewed."""
        digest = name.partition(".")[0]
        try:
            content = self._blob(digest).read_bytes() if self._blob else b""
        except OSError:
            content = b""
        if sha256(content).hexdigest() != digest:
            raise PictureMissingError
        return content

    async def _submit(self, claim: Claim, media_id: str) -> Receipt:
        try:
            said = await self._call(claim.channel, "freepublish/submit", {"media_id": media_id})
        except PlatformError as error:
            if error.code not in NO_DRAFT | UNSURE:
                raise
            # The draft is gone, taken by a copy of this very request or deleted by a person; or
            # the platform stumbled, perhaps after it had taken the job.
            return await self._published(claim) or _waiting(claim.reference)
        return _waiting(f"publish:{_text(said, 'publish_id')}:{media_id}")

    async def _take_down(self, claim: Claim) -> Receipt:
        stage, _, rest = claim.reference.partition(":")
        gone = Receipt(state=PublicationState.RETRACTED, reference=claim.reference)
        if stage == "article":
            await self._delete_article(claim, rest)
            return gone
        if stage == "publish":
            job = await self._job(claim, rest.partition(":")[0])
            if job.state is PublicationState.ACCEPTED:
                return _later(claim, "publication.wechat_publishing", 30)
            if job.state is PublicationState.LIVE:
                await self._delete_article(claim, job.reference.removeprefix("article:"))
                return gone.model_copy(update={"reference": job.reference})
            return gone
        found = await self._published(claim)
        if found is not None:
            await self._delete_article(claim, found.reference.removeprefix("article:"))
            return gone.model_copy(update={"reference": found.reference})
        if claim.state is PublicationState.SUBMITTED and not claim.in_doubt:
            return gone
        return Receipt(state=PublicationState.UNKNOWN, detail="publication.wechat_unclear")

    async def _delete_article(self, claim: Claim, article_id: str) -> None:
        """Delete all of one article; deleting again does no harm."""
        try:
            await self._call(claim.channel, "freepublish/delete", {"article_id": article_id})
        except PlatformError as error:
            if error.code not in NO_ARTICLE:
                raise

    # --- looks ----------------------------------------------------------------------------------

    async def _look(self, claim: Claim) -> Receipt | None:
        stage, _, rest = claim.reference.partition(":")
        if claim.deed == "retract":
            if stage != "article":
                return None
            is_there = await self._article(claim.channel, rest) is not None
            state = PublicationState.LIVE if is_there else PublicationState.RETRACTED
            return Receipt(state=state, reference=claim.reference)
        if stage == "publish":
            return await self._job(claim, rest.partition(":")[0])
        if (found := await self._published(claim)) is not None:
            return found
        if stage == "ready":
            # The submission may be under way, and a draft still listed proves nothing.
            return _waiting(claim.reference)
        if claim.state is PublicationState.UNKNOWN:
            return Receipt(state=PublicationState.UNKNOWN, detail="publication.wechat_unclear")
        return None

    async def _job(self, claim: Claim, publish_id: str) -> Receipt:
        said = await self._call(claim.channel, "freepublish/get", {"publish_id": publish_id})
        status = said.get("publish_status")
        if status == PUBLISHING:
            return _waiting(claim.reference)
        if status == PUBLISHED:
            items = (said.get("article_detail") or {}).get("item") or [{}]
            return Receipt(
                state=PublicationState.LIVE,
                url=str(items[0].get("article_url") or ""),
                reference=f"article:{_text(said, 'article_id')}",
            )
        if not isinstance(status, int):
            raise AnswerUnclearError("no publish_status")
        details = {REMOVED: "publication.wechat_removed", BANNED: "publication.wechat_banned"}
        return Receipt(
            state=PublicationState.FAILED,
            detail=details.get(status, "publication.wechat_failed"),
            said=f"publish_status={status}",
            reference=claim.reference,
        )

    async def _published(self, claim: Claim) -> Receipt | None:
        """Return our article out of the list of published ones, by its mark."""
        mark = wechat_mark(claim.number, claim.digest)
        async for entry in self._list(claim.channel, "freepublish/batchget"):
            for article in _articles(entry):
                if article.get("digest") == mark and not article.get("is_deleted"):
                    return Receipt(
                        state=PublicationState.LIVE,
                        url=str(article.get("url") or ""),
                        reference=f"article:{_text(entry, 'article_id')}",
                    )
        return None

    async def _draft(self, claim: Claim) -> str | None:
        """Return the media id of our draft, by its mark."""
        mark = wechat_mark(claim.number, claim.digest)
        async for entry in self._list(claim.channel, "draft/batchget"):
            if any(article.get("digest") == mark for article in _articles(entry)):
                return _text(entry, "media_id")
        return None

    async def _list(self, channel: str, what: str) -> AsyncIterator[dict[str, Any]]:
        for page in range(PAGES):
            asked = {"offset": page * PAGE, "count": PAGE, "no_content": 1}
            said = await self._read_page(channel, what, asked)
            entries = [one for one in said.get("item") or [] if isinstance(one, dict)]
            for entry in entries:
                yield entry
            if len(entries) < PAGE:
                return

    async def _read_page(self, channel: str, what: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Read one page, again if its answer is lost: a long list must not begin anew for that."""
        for _ in range(READ_AGAIN):
            with suppress(httpx.HTTPError, NotSentError, AnswerUnclearError):
                return await self._call(channel, what, asked)
        return await self._call(channel, what, asked)

    async def _article(self, channel: str, article_id: str) -> dict[str, Any] | None:
        try:
            said = await self._call(channel, "freepublish/getarticle", {"article_id": article_id})
        except PlatformError as error:
            if error.code in NO_ARTICLE:
                return None
            raise
        standing = [one for one in said.get("news_item") or [] if not one.get("is_deleted")]
        return standing[0] if standing else None

    # --- reading again --------------------------------------------------------------------------

    async def read(self, claim: Claim) -> Seen | None:
        """Return the article as the platform gives it back; it adds styles, so text counts."""
        article = await self._article(claim.channel, claim.reference.removeprefix("article:"))
        if article is None:
            return None
        fields = "".join(
            f"<p>{escape(str(article.get(name) or ''))}</p>"
            for name in ("title", "author", "digest")
        )
        return Seen(content=f"{fields}{article.get('content') or ''}".encode())

    async def posts(self, channel: str) -> Sequence[SeenPost]:
        found = []
        async for entry in self._list(channel, "freepublish/batchget"):
            standing = [one for one in _articles(entry) if not one.get("is_deleted")]
            if standing:
                found.append(
                    SeenPost(
                        reference=f"article:{_text(entry, 'article_id')}",
                        url=str(standing[0].get("url") or ""),
                        at=datetime.fromtimestamp(int(entry.get("update_time") or 0), UTC),
                        mark=str(standing[0].get("digest") or ""),
                    )
                )
        return found

    # --- the wire -------------------------------------------------------------------------------

    async def _refusing(self, claim: Claim, deed: Callable[[], Awaitable[Receipt]]) -> Receipt:
        """Turn what the platform surely did not do into a receipt; let doubt go on as an error."""
        try:
            return await deed()
        except PlatformError as error:
            if error.code in LATER:
                return _later(
                    claim, "publication.platform_busy", LATER[error.code], said=str(error.code)
                )
            return Receipt(
                state=PublicationState.FAILED,
                detail=error.detail,
                said=str(error.code),
                reference=claim.reference,
            )
        except NotSentError:
            return _later(claim, "publication.not_reached", 30)
        except PictureMissingError:
            return Receipt(state=PublicationState.FAILED, detail="publication.attachment_missing")
        except NotConnectedError:
            return Receipt(state=PublicationState.FAILED, detail="publication.not_connected")
        except AddressRefusedError:
            return Receipt(state=PublicationState.FAILED, detail="publication.address_refused")

    async def _call(self, channel: str, what: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Make one call; raises as `_sent`."""
        # The platform shows \u escapes as they stand, so the text goes as itself.
        content = json.dumps(asked, ensure_ascii=False).encode()
        return await self._sent(channel, what, content, "application/json; charset=utf-8")

    async def _upload(self, channel: str, what: str, name: str, content: bytes) -> dict[str, Any]:
        """Send one picture as a form's file; raises as `_sent`."""
        media_type = "image/png" if name.endswith(".png") else "image/jpeg"
        form = httpx.Request("POST", ADDRESS, files={"media": (name, content, media_type)})
        await form.aread()
        return await self._sent(channel, what, form.content, form.headers["content-type"])

    async def _sent(
        self, channel: str, what: str, content: bytes, media_type: str
    ) -> dict[str, Any]:
        """Send with the current token; a refused token is renewed once.

        Raises:
            PlatformError: The platform did not do it.
            NotSentError: It was not reached.
            AnswerUnclearError, httpx.HTTPError: It may have done it.
        """
        connection = await self._connect(channel)
        token = await self._tokens.current(connection)
        try:
            return await self._once(connection, token, what, content, media_type)
        except PlatformError as error:
            if error.code not in TOKEN_WRONG:
                raise
        token = await self._tokens.current(connection, refused=token)
        return await self._once(connection, token, what, content, media_type)

    async def _once(
        self, connection: Connection, token: str, what: str, content: bytes, media_type: str
    ) -> dict[str, Any]:
        answer = await self._outgoing.request(
            "POST",
            f"{connection.address or ADDRESS}/cgi-bin/{what}",
            params={"access_token": token} | ({"type": "image"} if what in TYPED else {}),
            content=content,
            headers={"content-type": media_type},
        )
        return _said(answer.status, answer.content)


def _said(status: int, content: bytes) -> dict[str, Any]:
    try:
        said = json.loads(content) if status == 200 else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise AnswerUnclearError(str(status))
    code = said.get("errcode", 0)
    if not isinstance(code, int):
        raise AnswerUnclearError("errcode")
    if code:
        raise PlatformError(code)
    return said


def _articles(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in (entry.get("content") or {}).get("news_item") or []]


def _text(said: dict[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str) or not value:
        raise AnswerUnclearError(name)
    return value


def _step(reference: str) -> Receipt:
    return Receipt(state=PublicationState.SUBMITTED, reference=reference)


def _waiting(reference: str) -> Receipt:
    return Receipt(state=PublicationState.ACCEPTED, reference=reference)


def _later(claim: Claim, detail: str, seconds: float, said: str = "") -> Receipt:
    return Receipt(
        state=PublicationState.SUBMITTED,
        reference=claim.reference,
        detail=detail,
        wait_seconds=seconds,
        said=said,
    )
