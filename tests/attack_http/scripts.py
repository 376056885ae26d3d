"""Scripts in every field: where something can be typed, where it is shown, and who watches.

A new field is one line in `FIELDS` or `NAMES`, a new page one line in `PAGES` or `FORMS`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from sqlmodel import Session, select

from activities.channels import Site
from review.acts import turning
from review.records.access import issue_token
from review.records.tables import Channel, PersonRow, SavedView, Unit
from review.rendering import render_claim
from tests.attack_http.place import NOBODY, Place
from tests.examples import CHECKLIST, LONG_AGO
from tests.publications import a_claim

PAYLOADS = tuple(
    line
    for line in Path(__file__).with_name("payloads.txt").read_text(encoding="utf-8").split("\n")
    if line.strip() and not line.startswith("# ")
)

TITLE, SHORT, TEXT = 64, 200, 4_000
# Every text of a submission, and how long it may be; what stands in a list goes to an attachment.
FIELDS: dict[str, int] = {
    "title": TITLE, "body": TEXT, "sub_type": SHORT, "authority_reference": SHORT,
    "other_outlets": TEXT, "contact": SHORT, "background": TEXT, "audience": SHORT,
    "how_to": TEXT, "source.name": SHORT, "source.url": TEXT, "source.original_title": SHORT,
    "source.original_body": TEXT, "source.original_on": SHORT, "attachment.caption": SHORT,
    "attachment.rights": SHORT, "attachment.map_number": SHORT, "attachment.transcript": TEXT,
}  # fmt: skip
# What else is typed on the way: the file's own name, a remark, an opinion, the answer to it.
BESIDE = ("file", "remark", "anchor", "opinion", "later title", "later body", "note", "view")
NAMES = ("author", "head", "unit", "channel")  # from the roster

AUTHOR, HEAD, DEPUTY = "afforest_info", "afforest_head", "deputy_b"


class Deck:
    """Payloads one after the other, so that neighbouring fields hold different ones.

    Over as many decks as there are payloads, each field holds each of them once.
    """

    def __init__(self, start: int) -> None:
        self._at = start
        self.dealt: dict[str, str] = {}

    def deal(self, field: str, longest: int = SHORT) -> str:
        payload = PAYLOADS[self._at % len(PAYLOADS)]
        self._at += 1
        self.dealt[field] = payload
        return payload[:longest]

    def title(self, field: str) -> str:
        """Deal a title, which has at least five letters."""
        found = self.deal(field, TITLE)
        return found if len(found.strip()) >= 5 else f"标题标题{found}"

    def body(self, field: str) -> str:
        """Deal a text, which says its payload wherever Markdown has a place for it."""
        found = self.deal(field, TEXT)
        return f"{found}\n\n前文{found}后文\n\n> {found}\n\n| a |\n|---|\n| {found} |\n\n`{found}`"


class Laid(NamedTuple):
    """An item that says a payload in every field, and where it stands on the public site."""

    id: str
    returned: str  # its twin, which is left with its author
    attachment: str
    number: str
    deck: Deck


def lay(place: Place, client: httpx.Client, start: int) -> Laid:
    """Fill in everything that a person can fill in, over the ways a person has."""
    deck = Deck(start)
    place.ledger.write(_named, deck)
    for person in (HEAD, "editor_a"):
        if person not in place.tokens:
            place.tokens[person] = place.ledger.write(issue_token, person, "t", place.now)
            place.sessions[person] = place.session_of(person)

    def post(path: str, person: str, **sent: Any) -> Any:
        answer = client.post(path, headers=place.bearer(person), **sent)
        assert answer.status_code in (200, 201), (path, answer.text)
        return answer.json()

    name = deck.deal("file").replace("/", "_")
    kept = post(
        "/api/v1/attachments", AUTHOR, files={"file": (f"{name}.txt", deck.body("bytes").encode())}
    )
    values = {
        name: deck.body(name) if name == "body" else deck.title(name) if name == "title"
        else deck.deal(name, longest)
        for name, longest in FIELDS.items()
    }  # fmt: skip
    inside = {
        part: {n.partition(".")[2]: v for n, v in values.items() if n.startswith(f"{part}.")}
        for part in ("source", "attachment")
    }
    draft = {n: v for n, v in values.items() if "." not in n} | {
        "category": "work_news", "kind": "disclosure", "channels": ["site"],
        "secrecy_pledge": True, "proofread": True, "source": {"type": "own"} | inside["source"],
        "attachments": [{"id": kept["id"], "form": "document"} | inside["attachment"]],
    }  # fmt: skip
    remark = {"act": "comment", "reason": deck.deal("remark"), "anchor": deck.deal("anchor")}
    returned = {
        "step": "unit_review", "verdict": "return", "opinion": deck.deal("opinion"),
        "reason_code": "other", "return_to": "author", "checklist": CHECKLIST,
    }  # fmt: skip
    taken: list[Any] = []
    for _ in range(2):  # one is left with its author, the other is answered
        one = post("/api/v1/submissions", AUTHOR, json=draft)
        item = f"/api/v1/submissions/{one['id']}"
        place.ledger.write(turning.advance, one["id"], place.now)
        post(f"{item}/acts", DEPUTY, json=remark)
        post(f"{item}/decisions", HEAD, json=returned | {"digest": one["digest"]})
        place.ledger.write(turning.advance, one["id"], place.now)
        taken.append(one)
    left, one = taken
    answered = {
        "base_digest": one["digest"], "title": deck.title("later title"),
        "body": deck.body("later body"), "note": deck.deal("note"),
    }  # fmt: skip
    post(f"{item}/versions", AUTHOR, json=answered)
    place.ledger.write(turning.advance, one["id"], place.now)
    number = f"2026-9{start:05}"
    publish(place, number, answered, draft)
    return Laid(one["id"], left["id"], kept["id"], number, deck)


def _named(session: Session, deck: Deck) -> None:
    for person, field in ((AUTHOR, "author"), (HEAD, "head")):
        session.get_one(PersonRow, person).name = deck.deal(field)
    session.get_one(Unit, "afforest").name = deck.deal("unit")
    session.get_one(Channel, "site").name = deck.deal("channel")
    for old in session.exec(select(SavedView)).all():
        session.delete(old)
    session.flush()
    view = SavedView(id="view", person_id="one_supervisor", name=deck.deal("view"), at=LONG_AGO)
    session.add(view)


def publish(place: Place, number: str, text: dict[str, Any], draft: dict[str, Any]) -> None:
    """Put a text on the public site, as an approved one would be."""
    claim = a_claim(
        publication_id=number, submission_id=number, number=number, title=text["title"],
        body=text["body"], source=draft["source"] | {"type": "repost"},
        attachments=tuple(draft["attachments"]), unit_name=draft["contact"],
    )  # fmt: skip
    site = Site(place.app.state.site, place.app.state.public_url)
    receipt = site._publish(claim, render_claim(claim), place.now)
    assert receipt.state == "live", receipt


# --- where it is shown ----------------------------------------------------------------------------

# name: who looks, and at what address
PAGES: dict[str, tuple[str, str]] = {
    "inbox": (HEAD, "/"),
    "item": (HEAD, "/items/{id}"),
    "decision": (HEAD, "/items/{id}?verdict=return"),
    "diff": (DEPUTY, "/items/{id}?against=last"),
    "timeline": (DEPUTY, "/items/{id}/course"),
    "act": (DEPUTY, "/items/{id}/acts/comment"),
    "preview": (DEPUTY, "/items/{id}/preview/site"),
    "preview by program": (DEPUTY, "/api/v1/submissions/{id}/preview?channel=site"),
    "form": (DEPUTY, "/api/v1/submissions/{id}/form.html"),
    "edit": (AUTHOR, "/items/{returned}/edit"),
    "write": (AUTHOR, "/write"),
    "list": (DEPUTY, "/items"),
    "search": ("one_supervisor", "/items?q={typed}"),
    "saved view": ("one_supervisor", "/items?show=running"),
    "board": ("one_supervisor", "/board"),
    "peek": ("one_supervisor", "/board/peek/{id}"),
    "several at once": ("one_supervisor", "/board/act?act=urge&id={id}"),
    "publishing": ("one_publisher", "/publishing"),
    "people": ("one_security_admin", "/admin/people?q={typed}"),
    "person": ("one_security_admin", "/admin/people/afforest_info"),
    "trace": ("one_auditor", "/admin/audit"),
    "trace of": ("one_auditor", "/admin/audit?item={typed}"),
    "delegations": (HEAD, "/delegations"),
    "rules": (HEAD, "/rules"),
    "verify": (NOBODY, "/verify/{typed}"),
    "sign in": (NOBODY, "/sign-in?next={typed}"),
    "nothing there": (NOBODY, "/{typed}"),
    "site": (NOBODY, "/public/"),
    "site page": (NOBODY, "/public/item/{number}.html"),
    "feed": (NOBODY, "/public/feed.atom"),
    "machine's answer": (DEPUTY, "/api/v1/submissions/{id}"),
    "machine's refusal": (DEPUTY, "/api/v1/submissions?after={typed}"),
}
BOXED = ("preview", "preview by program", "form")  # sandboxed by their own policy
EMPTY = "/static/none"  # a page of ours with nothing on it
# name: who sends, where, which fields say the payload, and what is sent beside
FORMS: dict[str, tuple[str, str, tuple[str, ...], dict[str, str]]] = {
    "write again": (
        AUTHOR, "/write",
        ("title", "body", "contact", "audience", "how_to", "background", "other_outlets",
         "source_name", "source_url", "source_original_title", "source_original_body",
         "authority_reference", "sub_type_annex1", "kind", "channels", "level", "event_time"),
        {"do": "submit"},
    ),
    "edit again": (
        AUTHOR, "/items/{returned}/edit",
        ("title", "body", "note", "change", "settled", "audience", "how_to", "source_name",
         "source_url", "source_original_title", "source_original_body"),
        {"do": "send", "digest": "0" * 64},
    ),
    "decide again": (
        HEAD, "/items/{id}/decisions", ("opinion", "reason_code", "checklist", "findings_seen"),
        {"verdict": "return", "step": "unit_review", "digest": "0" * 64},
    ),
    "act again": (
        DEPUTY, "/items/{id}/acts/transfer", ("to", "reason", "unit"), {"step": "unit_review"},
    ),
    "several again": (
        "one_supervisor", "/board/act", ("reason", "to", "due_at"),
        {"act": "reassign", "id": "{id}"},
    ),
    "delegate again": (HEAD, "/delegations", ("to", "until", "category"), {}),
    "rules again": ("one_sysadmin", "/rules/changes", ("pack",), {}),
    "rehearsal again": ("one_sysadmin", "/rules/rehearsal", ("pack", "proposal", "days"), {}),
    "words again": ("one_center_editor", "/admin/lists/words", ("list",), {}),
    "view again": ("one_supervisor", "/board/views", ("name", "query"), {}),
    "grant again": (
        "one_security_admin", "/admin/people/afforest_info/grant", ("unit", "until"),
        {"role": "publisher"},
    ),
    "sign in again": (NOBODY, "/sign-in", ("username", "next"), {"password": "x" * 12}),
}  # fmt: skip


# --- who watches ----------------------------------------------------------------------------------

RAN = "the sentinel ran"
# `sentinel` says that it ran; whatever can be called in another way than by a click is seen so.
SENTINEL = f"window.sentinel = () => {{ console.error({RAN!r}); return '' }}"
# What must stand in no page, even where nothing runs it: our own pages have no such thing.
LOOK = r"""() => {
  const found = [], addresses = ['href', 'src', 'action', 'formaction', 'data', 'xlink:href',
    'poster', 'background', 'srcset', 'ping', 'hx-get', 'hx-post', 'data-hx-get', 'data-hx-post'];
  const foreign = ['base', 'marquee', 'object', 'embed', 'plaintext', 'xmp', 'math', 'animate',
    'set', 'foreignobject', 'audio', 'x-y'];
  const show = e => e.outerHTML.slice(0, 160);
  for (const e of document.querySelectorAll('*')) {
    const tag = e.localName.toLowerCase();
    if (foreign.includes(tag)) found.push('tag: ' + show(e));
    if (tag === 'script' && e.textContent.includes('sentinel')) found.push('script: ' + show(e));
    if (tag === 'style' && e.textContent.includes('evil.test')) found.push('style: ' + show(e));
    if (tag === 'meta' && /refresh/i.test(e.httpEquiv || '')) found.push('refresh: ' + show(e));
    for (const a of e.attributes || []) {
      const name = a.name.toLowerCase(), value = a.value.replace(/[\x00-\x20]/g, '').toLowerCase();
      // the browser's own frame around a plain file
      if (name === 'style' && tag === 'pre' && e.parentElement?.childElementCount === 1) continue;
      if (/^(on|hx-on|data-hx-on|srcdoc$|style$)/.test(name)) found.push(name + ': ' + show(e));
      if (!addresses.includes(name)) continue;
      if (/^(javascript|vbscript|data|java\\script):/.test(value)) found.push('runs: ' + show(e));
      if (value.includes('evil.test') && !(tag === 'a' && name === 'href'))
        found.push('loads: ' + show(e));
    }
  }
  return found;
}"""
# A form that a person's browser sends itself: the answer is shown where a reader would see it.
SEND = """([path, fields, many]) => {
  const form = document.createElement('form');
  form.method = 'post'; form.action = path; form.id = 'sent-by-the-test';
  if (many) form.enctype = 'multipart/form-data';
  for (const [name, value] of Object.entries(fields)) {
    const field = document.createElement('textarea');
    field.name = name; field.value = value; form.append(field);
  }
  document.body.append(form); HTMLFormElement.prototype.submit.call(form);
}"""


def each_field() -> Iterator[str]:
    """Yield every place where a payload is typed, those of the forms included."""
    yield from (*FIELDS, *BESIDE, *NAMES)
    for name, (_, _, fields, _) in FORMS.items():
        yield from (f"{name}: {field}" for field in fields)
    yield from (f"{name}: address" for name, (_, path) in PAGES.items() if "{typed}" in path)
