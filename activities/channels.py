"""How each channel is reached: what a channel must offer, and the embedded site.

A channel never decides whether something may appear; the ledger's claim did. It makes one item
appear once, says honestly what it holds, and says "unknown" when it can't tell.
"""

import asyncio
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable
from uuid import NAMESPACE_URL, uuid5

from jinja2 import Environment, PackageLoader, StrictUndefined
from temporalio.exceptions import ApplicationError

from review.rendering import Rendered, printable, published_file
from review.rules.publications import Claim, Receipt, SeenPost
from review.rules.values import Moment, PublicationState, Value

PAGE_OF_INDEX = 200  # items on one page of the site's list, and entries in its feed
BEIJING = timezone(timedelta(hours=8), "+08:00")  # moments are shown with this offset
NUMBER = re.compile("[0-9A-Za-z][0-9A-Za-z-]{0,63}")  # a number is part of a file's name
FILE = re.compile(r"[0-9a-f]{64}\.[a-z0-9]{2,4}")

Mark = tuple[int, int, int]


class Channel(Protocol):
    """One platform. Every call carries the claim's key and may come twice.

    A receipt is LIVE, ACCEPTED (the platform will decide later), RETRACTED, FAILED (surely not
    there, and trying again won't help), SUBMITTED (surely not there; `reference` says how far it
    is, and the next try goes on from it) or UNKNOWN. An exception means: it may have arrived.
    """

    async def publish(self, claim: Claim, rendered: Rendered, at: datetime) -> Receipt:
        """Make the item appear; a repeat of the same key changes nothing."""

    async def correct(self, claim: Claim, rendered: Rendered, at: datetime) -> Receipt:
        """Put this generation in the place of `claim.correction_of`."""

    async def retract(self, claim: Claim, at: datetime) -> Receipt:
        """Take the item down; nothing of its content stays."""

    async def lookup(self, claim: Claim) -> Receipt | None:
        """Say what the platform holds under the claim's key.

        None means that it surely holds nothing and that nothing is under way; a platform that
        can't be sure answers UNKNOWN.
        """


class Seen(Value):
    """What stands on a channel now. Exact bytes are compared by digest, others by their text."""

    content: bytes
    is_exact: bool = False


@runtime_checkable
class Readable(Protocol):
    """A channel that can be read again: for the drift watch and the patrol (R5.3-4)."""

    async def read(self, claim: Claim) -> Seen | None:
        """Return what readers find of a live item; None when it is surely gone."""

    async def posts(self, channel: str) -> Sequence[SeenPost]:
        """Return what is public there, the latest first; old posts may be left out."""


@runtime_checkable
class Limited(Protocol):
    """A channel whose platform takes only so much; the engine keeps the pace for all workers."""

    per_second: float


def channel_for(channels: Mapping[str, Channel], platform: str) -> Channel:
    """Return the channel of a platform.

    Raises:
        ApplicationError: type UnknownPlatform, not retried: no such channel is installed.
    """
    try:
        return channels[platform]
    except KeyError:
        known = ", ".join(sorted(channels)) or "none"
        raise ApplicationError(
            f"no channel for platform {platform!r} is installed (there is: {known})",
            type="UnknownPlatform",
            non_retryable=True,
        ) from None


class Item(Value):
    """The manifest of one item: the truth from which list and feed are made."""

    number: str
    submission_id: str
    channel: str
    generation: int
    key: str
    state: Literal["live", "retracted"]
    url: str
    first_published_at: Moment
    updated_at: Moment
    name: str = ""  # of its files, where it is not the number
    title: str = ""
    unit_name: str = ""
    digest: str = ""
    rendered_digest: str = ""
    files: tuple[str, ...] = ()

    @property
    def receipt(self) -> Receipt:
        return Receipt(state=PublicationState(self.state), url=self.url, reference=self.key)

    @property
    def uid(self) -> str:
        """A name for feed readers that outlives a change of address (RFC 4287 4.2.6)."""
        return uuid5(NAMESPACE_URL, f"sanshen:{self.submission_id}:{self.channel}").urn


class Site:
    """The embedded channel: plain files that the web serves under `/public/`.

    `items/NUMBER.json` is the truth, `item/NUMBER.html` the approved bytes untouched,
    `files/` what they show; `index.html`, `page-N.html` and `feed.atom` are made from the
    manifests alone. A file is replaced whole or not at all, and one lock in the folder orders
    all worker processes, so a crash at any point leaves a site that the next call completes.

    Args:
        root: The folder behind `/public/`.
        base_url: The web's public address, without `/public`.
        blob: Where the file with a SHA-256 (hex) is kept; without it an item with files is
            refused rather than published with holes.
    """

    def __init__(
        self, root: Path, base_url: str, blob: Callable[[str], Path] | None = None
    ) -> None:
        self._root = root
        self._base_url = base_url.rstrip("/")
        self._blob = blob
        self._read: dict[str, tuple[Mark, Item]] = {}
        self._drawn: dict[str, tuple[Mark, tuple[str, str, tuple[Item, ...]]]] = {}

    async def lay_out(self) -> None:
        """Make the folders, the list and the feed, and complete what a crash left undone."""
        await asyncio.to_thread(self._lay_out)

    async def publish(self, claim: Claim, rendered: Rendered, at: datetime) -> Receipt:
        return await asyncio.to_thread(self._publish, claim, rendered, at)

    async def correct(self, claim: Claim, rendered: Rendered, at: datetime) -> Receipt:
        """The new generation's page replaces the old one; first publication keeps its moment."""
        return await asyncio.to_thread(self._publish, claim, rendered, at)

    async def retract(self, claim: Claim, at: datetime) -> Receipt:
        """Put a short note in the page's place and drop the item from list and feed (A-24)."""
        return await asyncio.to_thread(self._retract, claim, at)

    async def lookup(self, claim: Claim) -> Receipt | None:
        return await asyncio.to_thread(self._lookup, claim)

    async def read(self, claim: Claim) -> Seen | None:
        """Return the page's bytes as they are served now."""
        return await asyncio.to_thread(self._read_page, claim)

    async def posts(self, channel: str) -> Sequence[SeenPost]:
        """Return the pages that show something, with and without a manifest.

        A page that has none of its own is everybody's: whatever channel is asked about.
        """
        return await asyncio.to_thread(self._pages_of, channel)

    # --- deeds, each under the lock -------------------------------------------------------------

    def _lay_out(self) -> None:
        with self._alone():
            self._rebuild()

    def _publish(self, claim: Claim, rendered: Rendered, at: datetime) -> Receipt:
        with self._alone():
            name = self._name(claim)
            held = self._manifest(name)
            refusal = _refusal(held, claim, rendered)
            if refusal:
                return refusal
            published = [file for one in claim.attachments if (file := published_file(one))]
            if published and not self._lay_files(published):
                return Receipt(
                    state=PublicationState.FAILED, detail="publication.attachment_missing"
                )
            self._replace(f"item/{name}.html", rendered.content)
            if held and held.key == claim.key:
                item = held
            else:
                item = Item(
                    number=claim.number,
                    name=name if name != claim.number else "",
                    submission_id=claim.submission_id,
                    channel=claim.channel,
                    generation=claim.generation,
                    key=claim.key,
                    state="live",
                    url=f"{self._base_url}/public/item/{name}.html",
                    first_published_at=_first(held, claim, at),
                    updated_at=at.astimezone(BEIJING),
                    title=printable(claim.title),
                    unit_name=printable(claim.unit_name),
                    digest=claim.digest,
                    rendered_digest=rendered.digest,
                    files=tuple(dict.fromkeys(published)),
                )
                self._keep(item)
            self._rebuild()
            return item.receipt

    def _retract(self, claim: Claim, at: datetime) -> Receipt:
        with self._alone():
            name = self._name(claim)
            held = self._manifest(name)
            if held and not _same_item(held, claim):
                return Receipt(state=PublicationState.FAILED, detail="publication.number_taken")
            if held and held.generation > claim.generation:
                return Receipt(state=PublicationState.RETRACTED, reference=claim.key)
            is_repeat = held is not None and (held.key, held.state) == (claim.key, "retracted")
            retracted_at = held.updated_at if held and is_repeat else at.astimezone(BEIJING)
            # Nothing of the content stays, not even the title, in page or manifest.
            item = Item(
                number=claim.number,
                name=name if name != claim.number else "",
                submission_id=claim.submission_id,
                channel=claim.channel,
                generation=claim.generation,
                key=claim.key,
                state="retracted",
                url=f"{self._base_url}/public/item/{name}.html",
                first_published_at=_first(held, claim, at),
                updated_at=retracted_at,
            )
            note = _pages().get_template("retracted.html").render(item=item)
            # The page first: while it still shows the text, the manifest must not say otherwise.
            self._replace(f"item/{name}.html", note.encode())
            if item != held:
                self._keep(item)
            self._rebuild()
            return item.receipt

    def _lookup(self, claim: Claim) -> Receipt | None:
        """A manifest proves the page; list and feed are completed if a crash came between."""
        with self._alone():
            held = self._manifest(self._name(claim))
            if held is None or held.key != claim.key:
                return None
            self._rebuild()
            return held.receipt

    # --- reading again --------------------------------------------------------------------------

    def _read_page(self, claim: Claim) -> Seen | None:
        with self._alone():
            page = self._root / "item" / f"{self._name(claim)}.html"
            return Seen(content=page.read_bytes(), is_exact=True) if page.exists() else None

    def _pages_of(self, channel: str) -> list[SeenPost]:
        with self._alone():
            known = {item.name or item.number: item for item in self._items()}
            found = []
            for page in sorted((self._root / "item").glob("*.html"), reverse=True):
                item = known.get(page.stem)
                if item is not None and (item.channel != channel or item.state != "live"):
                    continue
                found.append(
                    SeenPost(
                        reference=item.key if item else page.name,
                        url=f"{self._base_url}/public/item/{page.name}",
                    )
                )
            return found

    # --- list and feed --------------------------------------------------------------------------

    def _rebuild(self) -> None:
        """Make list and feed from all manifests; what did not change is not written."""
        items = self._items()
        live = sorted(
            (item for item in items if item.state == "live"),
            key=lambda item: (item.first_published_at, item.number),
            reverse=True,
        )
        # Older pages fill from the oldest item up, so a new item touches the last of them alone.
        older = live[PAGE_OF_INDEX:][::-1]
        chunks = [older[at : at + PAGE_OF_INDEX] for at in range(0, len(older), PAGE_OF_INDEX)]
        last = len(chunks)
        self._draw("index.html", live[:PAGE_OF_INDEX], "", f"page-{last}.html" if last else "")
        for at, chunk in enumerate(chunks, start=1):
            newer = f"page-{at + 1}.html" if at < last else "index.html"
            self._draw(
                f"page-{at}.html", chunk[::-1], newer, f"page-{at - 1}.html" if at > 1 else ""
            )
        recent = sorted(live, key=lambda item: item.updated_at, reverse=True)[:PAGE_OF_INDEX]
        moments = [item.updated_at for item in items]
        feed = _pages().get_template("feed.atom")
        text = feed.render(
            items=recent,
            base_url=self._base_url,
            # A retraction is an update of the feed as well. An empty feed has no moment of its own.
            updated_at=max(moments) if moments else datetime.fromisoformat("1970-01-01T00:00:00Z"),
        )
        self._replace("feed.atom", text.encode())
        style = files("activities").joinpath("templates", "site", "site.css").read_bytes()
        self._replace("site.css", style)
        self._drop_pages_after(last)
        self._drop_files({name for item in live for name in item.files})

    def _draw(self, name: str, items: list[Item], newer: str, older: str) -> None:
        """Write one page of the list, unless it is as this process last wrote it."""
        path = self._root / name
        drawn = (newer, older, tuple(items))
        if path.exists() and self._drawn.get(name) == (_mark(path.stat()), drawn):
            return
        template = _pages().get_template("index.html")
        self._replace(name, template.render(items=items, newer=newer, older=older).encode())
        self._drawn[name] = (_mark(path.stat()), drawn)

    def _items(self) -> list[Item]:
        """Read every manifest; one that has not changed since the last look is not read again."""
        seen: dict[str, tuple[Mark, Item]] = {}
        with os.scandir(self._root / "items") as entries:
            for entry in entries:
                if not entry.name.endswith(".json"):
                    continue
                mark = _mark(entry.stat())
                known = self._read.get(entry.name)
                if known is None or known[0] != mark:
                    known = (mark, Item.model_validate_json(Path(entry.path).read_bytes()))
                seen[entry.name] = known
        self._read = seen
        return [item for _, item in seen.values()]

    def _drop_pages_after(self, last: int) -> None:
        for path in self._root.glob("page-*.html"):
            if int(path.stem.removeprefix("page-")) > last:
                path.unlink()

    def _drop_files(self, wanted: set[str]) -> None:
        for path in (self._root / "files").iterdir():
            if path.name not in wanted:
                path.unlink()

    # --- files ----------------------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the site's lock: one writer among all threads and processes."""
        for folder in ("item", "items", "files", ".tmp"):
            (self._root / folder).mkdir(parents=True, exist_ok=True)
        lock = os.open(self._root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in (self._root / ".tmp").iterdir():  # a killed writer's
                left.unlink()
            yield
        finally:
            os.close(lock)

    def _name(self, claim: Claim) -> str:
        """Return what an item's files are called: its number, which its first channel takes.

        A second website channel of the same item adds what tells it apart.
        """
        held = self._manifest(claim.number)
        if held is None or held.submission_id != claim.submission_id:
            return claim.number
        if held.channel == claim.channel:
            return claim.number
        return f"{claim.number}-{sha256(claim.channel.encode()).hexdigest()[:8]}"

    def _manifest(self, name: str) -> Item | None:
        if not NUMBER.fullmatch(name):
            raise ValueError("the item's number can't name a file")
        path = self._root / "items" / f"{name}.json"
        return Item.model_validate_json(path.read_bytes()) if path.exists() else None

    def _keep(self, item: Item) -> None:
        name = item.name or item.number
        self._replace(f"items/{name}.json", item.model_dump_json(indent=1).encode())

    def _lay_files(self, names: list[str]) -> bool:
        """Copy what a page shows; False if a file is missing or not what its name says."""
        for name in names:
            if not FILE.fullmatch(name) or self._blob is None:
                return False
            digest = name.partition(".")[0]
            source = self._blob(digest)
            if not source.is_file():
                return False
            content = source.read_bytes()
            if sha256(content).hexdigest() != digest:
                return False
            self._replace(f"files/{name}", content)
        return True

    def _replace(self, name: str, content: bytes) -> None:
        """Put a file in place whole, durable before it is seen; leave an equal one alone."""
        path = self._root / name
        if path.exists() and path.read_bytes() == content:
            return
        new = self._root / ".tmp" / name.replace("/", "-")
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        _sync(path.parent)


def _refusal(held: Item | None, claim: Claim, rendered: Rendered) -> Receipt | None:
    """Say why this claim may not take the number's page; a late sender never wins it back."""
    if held is None:
        return None
    if not _same_item(held, claim):
        return Receipt(state=PublicationState.FAILED, detail="publication.number_taken")
    if held.generation > claim.generation:
        return Receipt(state=PublicationState.FAILED, detail="publication.superseded")
    if held.key != claim.key:
        return None
    if held.state == "retracted":
        return held.receipt
    if held.rendered_digest != rendered.digest:
        return Receipt(state=PublicationState.UNKNOWN, detail="publication.key_reused")
    return None


def _same_item(held: Item, claim: Claim) -> bool:
    return (held.submission_id, held.channel) == (claim.submission_id, claim.channel)


def _first(held: Item | None, claim: Claim, at: datetime) -> datetime:
    """Return when the item first went live; neither repeat nor correction changes it."""
    first = held.first_published_at if held else claim.first_published_at or at
    return first.astimezone(BEIJING)


def _mark(stat: os.stat_result) -> Mark:
    """Return what changes whenever a file is replaced."""
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _sync(folder: Path) -> None:
    """Make a rename durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@cache
def _pages() -> Environment:
    return Environment(
        loader=PackageLoader("activities", "templates/site"),
        autoescape=True,  # titles are other people's text, in HTML and XML alike
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
