"""Supervision orders, incidents and violation cases, as the person of a token."""

from pathlib import Path
from typing import Annotated, Any

import typer

from starter.cli_output import NOT_FOUND, fail, show

order = typer.Typer(help="Supervision orders (督办单).", no_args_is_help=True)
incident = typer.Typer(help="The incident register (事件登记).", no_args_is_help=True)
violation = typer.Typer(help="Leads and violation cases (违规情形).", no_args_is_help=True)
topic = typer.Typer(help="Topics (专题) that group submissions.", no_args_is_help=True)
GROUPS = {"order": order, "incident": incident, "violation": violation, "topic": topic}

TokenOption = Annotated[
    str | None, typer.Option("--token", envvar="SANSHEN_TOKEN", help="Who acts.", show_envvar=True)
]
UrlOption = Annotated[
    str | None, typer.Option("--url", help="The web's address; else the one in DATA/run.json.")
]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="The data folder; else SANSHEN_DATA, else `data`.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]
KeyOption = Annotated[
    str | None, typer.Option("--key", help="Idempotency key; the same again has no second effect.")
]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Its id.")]
StateOption = Annotated[str | None, typer.Option("--state", help="Only those in this state.")]
UnitOption = Annotated[str | None, typer.Option("--unit", help="Only this unit's.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=200, help="How many at most.")]
AfterOption = Annotated[str | None, typer.Option("--after", help="Go on after this one.")]
TextOption = Annotated[str, typer.Option("--text", help="What is said: a reply, a reason …")]

ORDERS, INCIDENTS, VIOLATIONS = "/supervision-orders", "/incidents", "/violations"
TOPICS = "/topics"
COLUMNS = {
    TOPICS: ("number", "id", "state", "title", "count", "opened_at", "closed_at"),
    ORDERS: ("number", "id", "state", "unit", "subject", "round", "due_at", "signed_at"),
    INCIDENTS: ("number", "id", "state", "level", "title", "unit", "event_at", "missed", "late"),
    VIOLATIONS: (
        "number",
        "id",
        "state",
        "kind",
        "unit",
        "by_system",
        "statement_due_at",
        "result",
    ),
}


def _client(token: str | None, url: str | None, data: Path | None) -> Any:
    from starter.cli_client import Client

    return Client(token, url, data)


def _path(base: str, matter_id: str, side: str = "") -> str:
    """Return a matter's address; what can't be an id is not found, here as there."""
    if not matter_id or not all(c.isascii() and (c.isalnum() or c in "_-") for c in matter_id):
        fail("not_found", NOT_FOUND, id=matter_id)
    return f"{base}/{matter_id}{side}"


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, "", False)}


# --- supervision orders ---------------------------------------------------------------------------


@order.command("list")
def order_list(
    state: StateOption = None,
    unit: UnitOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the supervision orders that you may read.

    Example: sanshen order list --state lapsed
    """
    found = _client(token, url, data).get(ORDERS, state=state, unit=unit, limit=limit, after=after)
    show(found, as_json, COLUMNS[ORDERS])


@order.command("open")
def order_open(
    unit: Annotated[str, typer.Argument(help="The unit it goes to.")],
    subject: Annotated[str, typer.Argument(help="What is to be put right.")],
    submission: Annotated[str | None, typer.Option(help="The item it is about.")] = None,
    channel: Annotated[str | None, typer.Option(help="The channel it is about.")] = None,
    due_at: Annotated[str | None, typer.Option(help="RFC 3339; else the policy's limit.")] = None,
    urgent: Annotated[
        bool, typer.Option("--urgent", help="On the wall clock, as C and D.")
    ] = False,
    key: KeyOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Issue a supervision order; a supervisor's is a proposal.

    Example: sanshen order open afforest 造林数据未按要求及时发布
    """
    body = _given(
        unit=unit, subject=subject, submission=submission, channel=channel, due_at=due_at,
        urgent=urgent,
    )  # fmt: skip
    show(_client(token, url, data).post(ORDERS, body, key), as_json)


@order.command("show")
def order_show(
    order_id: IdArgument,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one order with everything that happened.

    Example: sanshen order show 01jd3v
    """
    show(_client(token, url, data).get(_path(ORDERS, order_id)), as_json)


@order.command("act")
def order_act(
    order_id: IdArgument,
    act: Annotated[
        str,
        typer.Argument(
            help="issue, dismiss, sign, reply, rectify, send_back, repeat, close or note."
        ),
    ],
    text: TextOption = "",
    subject: Annotated[str | None, typer.Option(help="Of a proposal that is issued.")] = None,
    due_at: Annotated[str | None, typer.Option(help="RFC 3339; else the policy's limit.")] = None,
    key: KeyOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do one act on an order.

    Example: sanshen order act 01jd3v rectify --text 已补报并公开
    """
    body = _given(act=act, text=text, subject=subject, due_at=due_at)
    show(_client(token, url, data).post(_path(ORDERS, order_id, "/acts"), body, key), as_json)


# --- incidents ------------------------------------------------------------------------------------


@incident.command("list")
def incident_list(
    state: StateOption = None,
    unit: UnitOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the incidents that you may read.

    Example: sanshen incident list --state open
    """
    found = _client(token, url, data).get(
        INCIDENTS, state=state, unit=unit, limit=limit, after=after
    )
    show(found, as_json, COLUMNS[INCIDENTS])


@incident.command("register")
def incident_register(
    title: Annotated[str, typer.Argument(help="What happened.")],
    unit: Annotated[str, typer.Option(help="The unit that handles it.")],
    event_at: Annotated[str, typer.Option(help="When it happened, RFC 3339 with offset.")],
    kind: Annotated[str, typer.Option(help="fire, pest, wildlife, accident or other.")] = "other",
    level: Annotated[
        str, typer.Option(help="minor, larger, major, extreme or unknown.")
    ] = "unknown",
    place: Annotated[str, typer.Option(help="Where.")] = "",
    reported_to: Annotated[str, typer.Option(help="Where it was reported itself.")] = "",
    key: KeyOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register an event; its clock runs from when it happened.

    Submitting and registering here does not replace reporting the incident itself.

    Example: sanshen incident register 某林场火情 --unit fire --event-at 2026-11-23T08:00:00+08:00
    """
    body = _given(
        title=title, unit=unit, event_at=event_at, kind=kind, level=level, place=place,
        reported_to=reported_to,
    )  # fmt: skip
    show(_client(token, url, data).post(INCIDENTS, body, key), as_json)


@incident.command("show")
def incident_show(
    incident_id: IdArgument,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one incident: its clock, its reports, what comes next.

    Example: sanshen incident show 01jd3v
    """
    show(_client(token, url, data).get(_path(INCIDENTS, incident_id)), as_json)


@incident.command("act")
def incident_act(
    incident_id: IdArgument,
    act: Annotated[
        str,
        typer.Argument(help="set_level, authorise, link, final, press_held, close or note."),
    ],
    level: Annotated[str | None, typer.Option(help="For set_level.")] = None,
    authority: Annotated[str, typer.Option(help="Who may say what is published.")] = "",
    reference: Annotated[str, typer.Option(help="By which document or call.")] = "",
    submission: Annotated[str | None, typer.Option(help="For link and final.")] = None,
    text: TextOption = "",
    key: KeyOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do one act on an incident.

    Example: sanshen incident act 01jd3v final --submission 01jd4w
    """
    body = _given(
        act=act, level=level, authority=authority, reference=reference, submission=submission,
        text=text,
    )  # fmt: skip
    show(_client(token, url, data).post(_path(INCIDENTS, incident_id, "/acts"), body, key), as_json)


# --- violation cases ------------------------------------------------------------------------------


@violation.command("list")
def violation_list(
    state: StateOption = None,
    unit: UnitOption = None,
    kind: Annotated[int | None, typer.Option(min=1, max=6, help="Only this kind.")] = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the violation cases that you may read.

    Example: sanshen violation list --state lead
    """
    found = _client(token, url, data).get(
        VIOLATIONS, state=state, unit=unit, kind=kind, limit=limit, after=after
    )
    show(found, as_json, COLUMNS[VIOLATIONS])


@violation.command("open")
def violation_open(
    kind: Annotated[int, typer.Argument(min=1, max=6, help="As the regulation counts them.")],
    subject: Annotated[str, typer.Argument(help="What was noticed.")],
    unit: Annotated[str | None, typer.Option(help="Whose it may be, if known.")] = None,
    submission: Annotated[str | None, typer.Option(help="The item it is about.")] = None,
    key: KeyOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open a lead; it accuses nobody.

    Example: sanshen violation open 3 发布的面积数据与统计年报不一致 --unit afforest
    """
    body = _given(kind=kind, subject=subject, unit=unit, submission=submission)
    show(_client(token, url, data).post(VIOLATIONS, body, key), as_json)


@violation.command("show")
def violation_show(
    violation_id: IdArgument,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one case with its chain of responsibility.

    Example: sanshen violation show 01jd3v
    """
    show(_client(token, url, data).get(_path(VIOLATIONS, violation_id)), as_json)


@violation.command("act")
def violation_act(
    violation_id: IdArgument,
    act: Annotated[str, typer.Argument(help="dismiss, take_up, state, find or note.")],
    text: TextOption = "",
    unit: Annotated[str | None, typer.Option(help="Of a lead whose unit nobody knew.")] = None,
    result: Annotated[
        str | None, typer.Option(help="For find: criticism, handed_over or none.")
    ] = None,
    key: KeyOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do one act on a case; the system convicts nobody.

    Example: sanshen violation act 01jd3v state --text 系录入错误，已更正
    """
    body = _given(act=act, text=text, unit=unit, result=result)
    path = _path(VIOLATIONS, violation_id, "/acts")
    show(_client(token, url, data).post(path, body, key), as_json)


# --- topics ---------------------------------------------------------------------------------------


@topic.command("list")
def topic_list(
    state: StateOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the topics; `sanshen list --topic NUMBER` lists the items of one.

    Example: sanshen topic list --state open
    """
    found = _client(token, url, data).get(TOPICS, state=state, limit=limit, after=after)
    show(found, as_json, COLUMNS[TOPICS])


@topic.command("open")
def topic_open(
    title: Annotated[str, typer.Argument(help="What it is called.")],
    note: Annotated[str, typer.Option(help="What belongs into it.")] = "",
    key: KeyOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open a topic as the centre; each item in it still goes through its own review.

    Example: sanshen topic open 秋冬季森林防火专题 --note 各单位防火宣传稿件
    """
    body = _given(title=title, note=note)
    show(_client(token, url, data).post(TOPICS, body, key), as_json)


@topic.command("show")
def topic_show(
    topic_id: IdArgument,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one topic: its items that you may see, and where they stand.

    Example: sanshen topic show 01jd3v
    """
    show(_client(token, url, data).get(_path(TOPICS, topic_id)), as_json)


@topic.command("act")
def topic_act(
    topic_id: IdArgument,
    act: Annotated[str, typer.Argument(help="add, remove, close or reopen.")],
    submission: Annotated[str | None, typer.Option(help="For add and remove.")] = None,
    key: KeyOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add an item or take one out; close a topic or open it again.

    Example: sanshen topic act 01jd3v add --submission 2026-000123
    """
    body = _given(act=act, submission=submission)
    show(_client(token, url, data).post(_path(TOPICS, topic_id, "/acts"), body, key), as_json)
