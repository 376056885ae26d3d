"""What became of an item, from what the interface tells of it, and whether its story says so."""

from typing import Any

from review.rules.values import Status, StepState, Value, Verdict
from starter.demo.player import WATCHER, Bureau, Course, Refused
from starter.demo.stories import Ends

Json = dict[str, Any]


class Decided(Value):
    """Who decided a step and how."""

    step: str
    verdict: str
    person: str
    username: str
    acting_for: str | None = None
    why: str = ""


class Outcome(Value):
    """An item in the end."""

    item: str
    id: str = ""
    number: str = ""
    title: str = ""
    status: str = ""
    course: tuple[tuple[str, str], ...] = ()
    decided: tuple[Decided, ...] = ()
    returns: int = 0
    reminders: int = 0
    escalations: int = 0
    stopped: tuple[str, ...] = ()  # rules that stopped a text before it was stored
    blocked: tuple[str, ...] = ()
    waived: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    link: str | None = None
    differs: tuple[str, ...] = ()


SHOWN = {  # what else than decisions the course tells of, and with which word
    "milestone_skip": "skip",
    "milestone_escalate_superior": "escalate",
    "answered": "answered",
    "edited": "edited",
}
ACTS = ("withdraw", "transfer", "delegate", "set_category", "hold", "release", "waive")


async def outcome_of(course: Course, bureau: Bureau) -> Outcome:
    """Read an item's end as the auditor and as the public, and compare it with its story."""
    story = course.story
    if not course.id:
        out = story.ends.status == "stopped" and not course.astray
        kept = await _kept(course, bureau) if out else ()
        return Outcome(
            item=story.item, title=str(story.draft.get("title", "")),
            status="stopped" if out else "", stopped=tuple(course.stopped),
            differs=kept if out else (course.astray or "not stopped",),
        )  # fmt: skip
    try:
        item = await bureau.get(WATCHER, f"/submissions/{course.id}")
        timeline = (await bureau.get(WATCHER, f"/submissions/{course.id}/timeline"))["items"]
        versions = (await bureau.get(WATCHER, f"/submissions/{course.id}/versions"))["items"]
    except Refused as refusal:
        return Outcome(item=story.item, id=course.id, differs=(str(refusal),))
    live = [p for p in item["publications"] if p["state"] == "live" and p["url"]]
    found = Outcome(
        item=story.item,
        id=course.id,
        number=item["number"],
        title=item["title"],
        status=item["status"],
        course=_course(timeline),
        decided=_decided(item, bureau),
        returns=sum(d["verdict"] == Verdict.RETURN for d in item["decisions"]),
        reminders=_events(timeline, "milestone_remind"),
        escalations=_events(timeline, "milestone_escalate_"),
        link=live[0]["url"] if live else None,
        stopped=tuple(course.stopped),
        **_screened(course, item),
    )
    differs = [course.astray] if course.astray else []
    differs += _differences(found, story.ends, item, timeline, len(versions))
    if story.ends.status == Status.PUBLISHED:
        page = await bureau.page(found.link) if found.link else ""
        if found.title not in page:
            differs.append(f"page: {found.link or 'none'}")
    elif item["publications"]:
        differs.append("publications")
    return found.model_copy(update={"differs": tuple(differs)})


async def _kept(course: Course, bureau: Bureau) -> tuple[str, ...]:
    """Return what the ledger shows of a text that was stopped; nothing, if all is well."""
    try:
        listed = await bureau.get(WATCHER, "/submissions?limit=200")
    except Refused as refusal:
        return (str(refusal),)
    title = course.story.draft.get("title")
    return tuple("stored" for one in listed["items"] if one["title"] == title)


def _screened(course: Course, item: Json) -> dict[str, tuple[str, ...]]:
    """Return the rules that blocked, were waived and warned, over all versions."""
    each = course.findings | {one["id"]: one for one in item["findings"]}
    waived = [one for one in each.values() if one["waived_by"]]
    return {
        "blocked": tuple(sorted(o["rule"] for o in each.values() if o["severity"] == "block")),
        "waived": tuple(sorted(one["rule"] for one in waived)),
        "warned": tuple(sorted(o["rule"] for o in each.values() if o["severity"] == "warn")),
    }


def _course(timeline: list[Json]) -> tuple[tuple[str, str], ...]:
    """Return what happened as (kind or step, verdict); codes, in order."""
    told: list[tuple[str, str]] = []
    for entry in timeline:
        event, data = entry["event"], entry["data"]
        if event == "decided":
            told.append((str(data["step"]), str(data["verdict"])))
        elif event in SHOWN:
            told.append((SHOWN[event], str(data.get("step", ""))))
        elif event in ACTS:
            told.append((event, str(data.get("category", ""))))
    return tuple(told)


def _decided(item: Json, bureau: Bureau) -> tuple[Decided, ...]:
    return tuple(
        Decided(
            step=one["step"],
            verdict=one["verdict"],
            person=one["person"]["name"],
            username=bureau.username(one["person"]["id"]),
            acting_for=(one["acting_for"] or {}).get("name"),
            why=one["why"],
        )
        for one in item["decisions"]
    )


def _events(timeline: list[Json], begins: str) -> int:
    return sum(str(entry["event"]).startswith(begins) for entry in timeline)


def _differences(
    found: Outcome, ends: Ends, item: Json, timeline: list[Json], versions: int
) -> list[str]:
    """Return what is not as the story says."""
    differs = []
    exact = {"status": item["status"], "profile": item["profile"], "form": item["form"]}
    for name, value in exact.items():
        wanted = getattr(ends, name)
        if wanted and value != wanted:
            differs.append(f"{name}: {value} ≠ {wanted}")
    least = {
        "returns": found.returns,
        "versions": versions,
        "reminders": found.reminders,
        "escalations": found.escalations,
    }
    for name, number in least.items():
        if number < getattr(ends, name):
            differs.append(f"{name}: {number} < {getattr(ends, name)}")
    skipped = {one["step"] for one in item["plan"] if one["state"] == StepState.SKIPPED}
    happened = {str(entry["event"]) for entry in timeline}
    remarks = {one["kind"] for one in item["remarks"]}
    for name, wanted_ones, those in (
        ("skipped", ends.skipped, skipped),
        ("acts", ends.acts, happened),
        ("remarks", ends.remarks, remarks),
        ("stopped", ends.stopped, set(found.stopped)),
        ("blocked", ends.blocked, set(found.blocked)),
        ("waived", ends.waived, set(found.waived)),
        ("warned", ends.warned, set(found.warned)),
    ):
        differs += [f"{name}: {one}" for one in wanted_ones if one not in those]
    last = {one.step: one for one in found.decided}
    for step, who in ends.decided.items():
        if step not in last or last[step].username != who:
            differs.append(f"{step}: {last[step].username if step in last else '-'} ≠ {who}")
    for step in ends.acting_for:
        if step not in last or not last[step].acting_for:
            differs.append(f"{step}: acting_for")
    return differs
