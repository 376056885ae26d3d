"""Every page there is: a ledger with an item in each state, and who sees what of it."""

import re
from datetime import timedelta
from typing import NamedTuple

from fastapi.routing import APIRoute
from sqlmodel import Session, select

from review.acts import linking, topics
from review.acts.bulletins import prepare
from review.matter_requests import NewTopic, TopicAct
from review.records.links import TOKEN_LENGTH
from review.records.tables import Notice
from review.rules.values import PublicationState
from starter.web import pages
from tests.acting import Course
from tests.acts.test_matters import Office
from tests.examples import who

NO_PAGES = (  # what answers a GET with something else than a page of ours
    "/api/openapi.json",
    "/events",
    "/items.csv",
    "/items/{submission_id}/preview/{channel}",  # the published site's page, its files and style
    "/items/{submission_id}/files/{name}",
    "/items/{submission_id}/site.css",
    "/sign-in/oidc",
    "/sign-in/oidc/callback",
    "/static/{path:path}",
    "/statistics/chart.svg",
    "/quality/chart.svg",
)
STATISTICS = "/statistics?from=2026-11-01&to=2026-11-30&by=unit,kind"
QUALITY = "/quality?from=2026-11-01&to=2026-11-30&seed=7"
LINK_LASTS = timedelta(hours=72)
TITLE = "全省秋季林草种苗质量抽检工作启动"
CHANGED = "11月18日，全省秋冬季造林绿化现场推进会召开，会场气氛热烈。3个市作了交流发言。"


class Seen(NamedTuple):
    """One page as one person opens it; nobody when no person is named."""

    route: str
    person: str
    path: str
    status: int = 200


def routes() -> set[str]:
    """Return the route of every page."""
    found = {
        route.path
        for router in pages.ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and "GET" in route.methods
    }
    return found - set(NO_PAGES)


def another(course: Course, author: str = "afforest_info", **draft: object) -> Course:
    """Return one more item in the same ledger."""
    found = Course(course.ledger, author, now=course.now, **{"title": TITLE} | draft)
    found.turn()
    return found


def matters(course: Course, published: Course) -> tuple[str, str, str, str]:
    """Leave an order under way, a lapsed one, a late incident with a report and a case."""
    office = Office(course.ledger, course.now - timedelta(days=10))
    lapsed = office.order()["id"]
    office.turn("supervision", lapsed, days=9)
    office.now = course.now
    order = office.order(unit="afforest", submission=published.id)["id"]
    office.on_order(order, "afforest_info", "sign")
    office.on_order(order, "afforest_info", "reply", text="正在整改")
    incident = office.incident(ago=400)["id"]
    another(
        course, "fire_info", title="某林场火情处置情况", category="emergency", level="major",
        event_time=course.now, found_time=course.now, incident=incident,
    )  # fmt: skip
    office.turn("incident", incident)
    case = office.lead(submission=published.id)["id"]
    office.on_case(case, "chief", "take_up")
    office.on_case(case, "afforest_head", "state", text="系录入错误，已更正")
    return order, lapsed, incident, case


def a_topic(course: Course, member: Course) -> str:
    """Leave a topic with one item."""
    request = NewTopic(title="秋冬季造林专题", note="各单位造林稿件")
    made: str = course.ledger.write(
        lambda s: topics.open_topic(s, who(s, "chief"), request, way_in="page", now=course.now)
    )["id"]
    add = TopicAct(act="add", submission=member.id)
    course.ledger.write(
        lambda s: topics.act(s, who(s, "chief"), made, add, way_in="page", now=course.now)
    )
    return made


def link_of(course: Course, person: str = "afforest_head") -> str:
    """Return the address of a link to the person's step, as their letter has it."""

    def make(session: Session) -> dict[str, str]:
        asked = select(Notice.id).where(Notice.person_id == person, Notice.kind == "asked")
        asked = asked.where(Notice.submission_id == course.id)
        return linking.make_links(session, session.exec(asked).all(), LINK_LASTS, course.now)

    [token] = course.ledger.write(make).values()
    return f"/l/{token}"


def tour(course: Course) -> tuple[Seen, ...]:
    """Bring one item into each state, and return every page that shows something different."""
    late = another(course)
    late.wait(hours=30)
    course.now = late.now
    returned = another(course, title="古树名木保护条例宣传月活动开始")
    returned.decide(
        "afforest_head", "unit_review", "return", opinion="1. 请核对数据\n2. 请补来源",
        reason_code="facts", return_to="author",
    )  # fmt: skip
    returned.turn()
    edited = another(course, title="湿地保护志愿服务队成立")
    edited.run("second_review")
    edited.edit("deputy_b", body=CHANGED, change="wording")
    edited.turn()
    out = another(course, title="林业有害生物防治现场会召开")
    out.run("proof3_publish")
    published = another(course, title="国家级森林公园名录更新")
    published.publish(published.run(), url="https://example.gov.cn/1.html")
    failed = another(course, title="防火宣传进校园")
    failed.publish(failed.run(), state=PublicationState.FAILED, detail="rendered_differs")
    unknown = another(course, title="义务植树登记办法解读")
    unknown.publish(unknown.run(), state=PublicationState.UNKNOWN)
    leaving = another(course, title="造林合格证办理指南")
    leaving.publish(leaving.run())
    leaving.act("deputy_b", "retract", reason="数据有误")
    leaving.turn()
    held = another(course, title="森林草原防火期公告")
    held.act("chief", "hold", reason="等上级通知")
    held.turn()
    urgent = another(
        course, "fire_info", title="某地发生林火", category="emergency", level="major",
        event_time=course.now, found_time=course.now,
    )  # fmt: skip
    open_findings = another(
        course, title="苗木价格通报会", body="预计增长50%左右，最好的苗木联系人电话见附件。"
    )

    for period in ("2026-11", "2026-Q4"):
        course.ledger.write(prepare, period, course.now + timedelta(days=60))
    order, lapsed, incident, case = matters(course, published)
    topic = a_topic(course, published)

    def item(person: str, one: Course, more: str = "") -> Seen:
        return Seen("/items/{submission_id}", person, f"/items/{one.id}{more}")

    def act(person: str, one: Course, name: str, more: str = "") -> Seen:
        path = f"/items/{one.id}/acts/{name}{more}"
        return Seen("/items/{submission_id}/acts/{act}", person, path)

    def edit(person: str, one: Course) -> Seen:
        return Seen("/items/{submission_id}/edit", person, f"/items/{one.id}/edit")

    plain = {
        "": ("/sign-in", "/verify", "/api/docs"),
        "afforest_info": ("/", "/?tab=mine", "/write", "/rules", "/second-factor"),
        "afforest_head": ("/", "/?tab=done", "/?tab=told", "/delegations"),
        "editor_a": ("/",),
        "publisher_a": (
            "/", "/publishing", "/publishing?tab=authorised", "/publishing?tab=publishing",
            "/publishing?tab=partly", "/publishing?tab=published",
        ),
        "leader_eco": ("/",),
        "bureau_chief": ("/", "/board"),
        "supervisor_a": ("/board", "/items", "/items?show=overdue", STATISTICS, QUALITY),
        "reviewer_b": ("/", "/rules"),
        "security": (
            "/admin", "/admin/people", "/admin/hooks", "/rules/changes", "/rules/rehearsal",
        ),
        "auditor_a": ("/admin", "/admin/audit"),
        "admin": ("/notices", "/admin", "/admin/lists", "/admin/health", "/admin/retention"),
        "duty": ("/", "/duty", "/notices"),
    }  # fmt: skip
    found = [
        Seen(path.partition("?")[0], person, path)
        for person, all_ in plain.items()
        for path in all_
    ]
    found += [
        Seen("/admin/people/{person_id}", "security", "/admin/people/fire_head"),
        Seen("/board/act", "supervisor_a", f"/board/act?act=urge&id={late.id}&id={edited.id}"),
        Seen("/board/act", "supervisor_a", f"/board/act?act=reassign&id={late.id}"),
        Seen("/board/act", "supervisor_a", f"/board/act?act=set_deadline&id={late.id}"),
        Seen("/board/peek/{submission_id}", "supervisor_a", f"/board/peek/{late.id}"),
        Seen("/items/{submission_id}/course", "supervisor_a", f"/items/{edited.id}/course"),
        Seen("/items/{submission_id}/course", "supervisor_a", f"/items/{published.id}/course"),
        Seen("/orders", "chief", "/orders"),
        Seen("/orders", "afforest_info", "/orders"),
        Seen("/orders/{matter_id}", "afforest_head", f"/orders/{order}"),
        Seen("/orders/{matter_id}", "chief", f"/orders/{lapsed}"),
        Seen("/incidents", "duty", "/incidents"),
        Seen("/incidents/{matter_id}", "duty", f"/incidents/{incident}"),
        Seen("/incidents/{matter_id}", "auditor_a", f"/incidents/{incident}"),
        Seen("/bulletins", "chief", "/bulletins"),
        Seen("/bulletins/{period}", "chief", "/bulletins/2026-Q4"),
        Seen("/bulletins/{period}", "auditor_a", "/bulletins/2026-11"),
        Seen("/topics", "editor_a", "/topics"),
        Seen("/topics", "admin", "/topics"),
        Seen("/topics/{matter_id}", "chief", f"/topics/{topic}"),
        Seen("/topics/{matter_id}", "fire_info", f"/topics/{topic}"),
        Seen("/channels", "chief", "/channels"),
        Seen("/channels", "afforest_info", "/channels"),
        Seen("/violations", "supervisor_a", "/violations"),
        Seen("/violations/{matter_id}", "leader_eco", f"/violations/{case}"),
        Seen("/violations/{matter_id}", "chief", f"/violations/{case}"),
        Seen("/violations/{matter_id}/chain", "auditor_a", f"/violations/{case}/chain"),
        Seen("/verify/{number}", "", f"/verify/{published.row().number}"),
        Seen("/l/{token}", "", link_of(late)),
        Seen("/l/{token}", "", link_of(urgent, "fire_head")),
        Seen("/l/{token}", "", f"/l/{'A' * TOKEN_LENGTH}", 404),
        Seen("", "", "/no-such-page", 404),
        Seen("", "afforest_head", "/items/nosuchitem", 404),
        Seen("", "afforest_info", "/board", 403),
        item("afforest_head", late),
        item("afforest_head", late, "?verdict=approve"),
        item("afforest_head", open_findings, "?verdict=return"),
        item("afforest_info", late),
        item("afforest_info", returned),
        item("leader_eco", edited),
        item("deputy_b", edited, "?against=unit"),
        item("publisher_a", out),
        item("publisher_a", published),
        item("publisher_a", failed),
        item("publisher_a", unknown),
        item("publisher_a", leaving),
        item("chief", held),
        item("fire_head", urgent),
        item("auditor_a", published),
        act("afforest_head", late, "comment"),
        act("afforest_info", late, "withdraw"),
        act("afforest_info", late, "urge"),
        act("deputy_b", late, "set_category"),
        act("editor_a", out, "comment"),
        act("chief", late, "hold"),
        act("chief", held, "release"),
        act("publisher_a", published, "retract", "?channel=site"),
        act("publisher_a", failed, "retry_channel", "?channel=site"),
        act("publisher_a", unknown, "resolve_unknown", "?channel=site"),
        edit("afforest_info", returned),
    ]
    second = another(course, title="自然保护地巡护员培训班开班")
    second.run("edit_proof2")
    found += [item("editor_a", second), edit("editor_a", second)]
    found += [act("editor_a", second, "transfer", "?step=edit_proof2")]
    return tuple(found)


def name_of(one: Seen) -> str:
    """Return a page's name for a file."""
    words = f"{one.person or 'nobody'}-{one.path}".lower()
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")[:80]
