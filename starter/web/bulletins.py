"""Bulletins (通报, R5.2-4): read, sign, issue, and submit for publication."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import Field
from sqlmodel import Session
from starlette.responses import Response

from review import requests
from review.acts import bulletins
from review.records.people import Person
from review.requests import Draft
from review.rules.periods import PERIOD
from review.rules.values import Category, Kind
from review.texts import text
from starter.reviews import Reviews
from starter.web.bodies import body_of
from starter.web.dependencies import CallerDep, KeyDep, ReviewsDep, listing
from starter.web.openapi import READS, WRITES, gives, refusals, takes
from starter.web.problems import Answer
from starter.web.submissions import BOXED, WORD

router = APIRouter(prefix="/api/v1/bulletins", tags=["management"])

Json = dict[str, Any]
PeriodPath = Annotated[
    str, Path(pattern=f"^{PERIOD.pattern}$", description="A month or a quarter.",
              examples=["2026-09", "2026-Q3"])
]  # fmt: skip


class BulletinAct(requests.Request):
    """Revise a draft, sign it, issue it; `digest` is of what was read."""

    act: Literal["revise", "sign", "issue"]
    digest: requests.Short
    text: Annotated[str, Field(max_length=20_000)] = ""


class BulletinItem(requests.Request):
    """Where an issued bulletin is to be published, once its reviews agree."""

    channels: Annotated[tuple[requests.Ident, ...], Field(min_length=1, max_length=50)]
    secrecy_pledge: Literal[True]
    proofread: Literal[True]


@router.get("", responses=refusals(*READS))
async def listed(caller: CallerDep, reviews: ReviewsDep) -> Answer:
    """List bulletins, the latest first."""

    def read(session: Session, person: Person, _now: datetime) -> list[Json]:
        return bulletins.bulletins(session, person)

    return Answer(listing(await reviews.administration(caller.person, read)))


@router.get("/{period}", responses=refusals(*READS))
async def shown(caller: CallerDep, period: PeriodPath, reviews: ReviewsDep) -> Answer:
    """Return one bulletin with its text and tables."""
    return Answer(await one(reviews, caller.person, period))


@router.get("/{period}/bulletin.docx", responses=refusals(*READS), **gives(WORD))
async def as_word(caller: CallerDep, period: PeriodPath, reviews: ReviewsDep) -> Response:
    """Return one bulletin as a Word file."""
    found = await one(reviews, caller.person, period)
    foot = f"{text('bulletin_state.' + found['state'])} {found['digest']}"
    from review import word_bulletins  # it loads much that few requests need

    content = word_bulletins.written(
        bulletins.title_of(period), found["text"], found["tables"], foot
    )
    named = {"Content-Disposition": f'attachment; filename="bulletin-{period}.docx"'}
    return Response(content, media_type=WORD, headers=BOXED | named)


@router.post("/{period}/acts", openapi_extra=takes(BulletinAct), responses=refusals(*WRITES))
async def act(
    caller: CallerDep,
    period: PeriodPath,
    asked: Annotated[BulletinAct, Depends(body_of(BulletinAct))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Revise, sign or issue; people decide, and one person never signs and issues."""
    return Answer(await acted(reviews, caller.person, period, asked, key, caller.way_in))


@router.post(
    "/{period}/submission",
    status_code=201,
    openapi_extra=takes(BulletinItem),
    responses=refusals(*WRITES),
)
async def publish(
    caller: CallerDep,
    period: PeriodPath,
    asked: Annotated[BulletinItem, Depends(body_of(BulletinItem))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Submit an issued bulletin: it is public once it has passed the reviews of any item."""
    answer = await submitted(reviews, caller.person, period, asked, key, caller.way_in)
    return Answer(answer, 201)


async def submitted(
    reviews: Reviews, person: Person, period: str, asked: BulletinItem, key: str | None, way_in: str
) -> Json:
    """Submit an issued bulletin's text as a person's ordinary item."""
    found = await one(reviews, person, period)
    draft = Draft(
        title=bulletins.title_of(period),
        body=found["text"],
        category=Category.WORK_NEWS,
        kind=Kind.DISCLOSURE,
        source=requests.Source(type="own"),
        channels=asked.channels,
        secrecy_pledge=True,
        proofread=True,
    )

    def submit(session: Session, who: Person, now: datetime) -> Json:
        return bulletins.publish(session, who, period, draft, now, way_in=way_in)

    return await reviews.submit_by(
        person, "bulletin_submission", draft, submit, key=key, way_in=way_in
    )


async def one(reviews: Reviews, person: Person, period: str) -> Json:
    def read(session: Session, who: Person, _now: datetime) -> Json:
        return bulletins.bulletin(session, who, period)

    return await reviews.administration(person, read)


async def acted(
    reviews: Reviews, person: Person, period: str, asked: BulletinAct, key: str | None, way_in: str
) -> Json:
    """Do one act on a bulletin; its text is screened like any other before it is kept."""

    def do(session: Session, who: Person, now: datetime) -> Json:
        return bulletins.act(
            session, who, period, asked.act, asked.digest, now, words=asked.text, way_in=way_in
        )

    return await reviews.administer(
        person, f"bulletin_{period}", asked, key=key, way_in=way_in, act=do
    )
