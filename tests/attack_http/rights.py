"""Who gets in where: one line a route, by the contract and requirements 1.8.

A route of the application that has no line here fails the test, so a new one joins by its line.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from review.lists import builtin_words
from review.packs import builtin_pack
from review.rules.values import Role

R = Role
EVERY = frozenset(Role)

# Contract, "Who sees what". A unit's people and its leader see the unit's, an operator what goes to
# its channel, the duty officer emergencies; security_admin and sysadmin see no content.
ALL = frozenset({
    R.CENTER_EDITOR, R.CENTER_DEPUTY, R.CENTER_CHIEF, R.PUBLISHER, R.OFFICE_REVIEWER,
    R.OFFICE_DIRECTOR, R.SUPERVISOR, R.AUDITOR, R.BUREAU_CHIEF, R.PUBLICITY_LEADER,
})  # fmt: skip
SEES: dict[str, frozenset[Role]] = {
    "afforest": ALL | {R.INFO_OFFICER, R.UNIT_HEAD, R.SUPERVISING_LEADER},
    "fire": ALL,
    "incident": ALL | {R.DUTY_OFFICER},
    "outlet": ALL | {R.CHANNEL_OPERATOR},
}
# Requirements 1.8, column by column.
DRAFTS = frozenset({R.INFO_OFFICER})
WRITERS = frozenset({R.INFO_OFFICER, R.UNIT_HEAD, R.CENTER_EDITOR, R.CENTER_DEPUTY})
SENDERS = frozenset(
    {R.PUBLISHER, R.CHANNEL_OPERATOR, R.CENTER_EDITOR, R.CENTER_DEPUTY, R.CENTER_CHIEF}
)
OVERSEERS = frozenset({
    R.SUPERVISOR, R.CENTER_EDITOR, R.CENTER_DEPUTY, R.CENTER_CHIEF, R.OFFICE_REVIEWER,
    R.OFFICE_DIRECTOR, R.SUPERVISING_LEADER, R.PUBLICITY_LEADER, R.BUREAU_CHIEF, R.AUDITOR,
    R.DUTY_OFFICER,
})  # fmt: skip
READS_TRACE = frozenset({R.AUDITOR, R.SUPERVISOR, R.CENTER_CHIEF, R.SECURITY_ADMIN})
COMPARES = READS_TRACE - {R.SECURITY_ADMIN}
BUNDLES = frozenset({
    R.AUDITOR, R.SUPERVISOR, R.CENTER_CHIEF, R.OFFICE_REVIEWER, R.OFFICE_DIRECTOR,
})  # fmt: skip
READS_ROSTER = frozenset({R.SECURITY_ADMIN, R.SYSADMIN, R.AUDITOR})
TENDS = READS_TRACE | {R.SYSADMIN}
SECURITY = frozenset({R.SECURITY_ADMIN})
APART = frozenset({R.SECURITY_ADMIN, R.SYSADMIN, R.AUDITOR})
ENGINE = frozenset({R.SYSADMIN, R.SUPERVISOR})
# rules are proposed by one and confirmed by another; both kinds may close a proposal
PROPOSES = frozenset({R.CENTER_CHIEF, R.SYSADMIN})
CONFIRMS = frozenset({R.CENTER_CHIEF, R.SECURITY_ADMIN})

# Orders, incidents and cases of the unit `afforest` (requirements 1.5, A-22, A-23).
ISSUES = frozenset({R.CENTER_CHIEF, R.OFFICE_REVIEWER, R.OFFICE_DIRECTOR})
ORDERED = SEES["afforest"]
DUTY = frozenset({R.DUTY_OFFICER})
CASES = frozenset({
    R.CENTER_CHIEF, R.CENTER_DEPUTY, R.OFFICE_REVIEWER, R.OFFICE_DIRECTOR, R.SUPERVISOR, R.AUDITOR,
    R.BUREAU_CHIEF, R.PUBLICITY_LEADER,
})  # fmt: skip
READS_CASE = CASES | {R.UNIT_HEAD, R.SUPERVISING_LEADER}
OPENS_LEAD = CASES | {R.CENTER_EDITOR, R.SUPERVISING_LEADER}

LEADERS = frozenset({R.SUPERVISING_LEADER, R.BUREAU_CHIEF})
FINAL = LEADERS | {R.CENTER_CHIEF}
CENTER = frozenset({R.CENTER_EDITOR, R.CENTER_DEPUTY, R.CENTER_CHIEF})
OFFICE = frozenset({R.OFFICE_REVIEWER, R.OFFICE_DIRECTOR})
TAKES_PART = EVERY - APART
LOWERS = FINAL | {R.PUBLICITY_LEADER}
ACTS: dict[str, frozenset[Role]] = {
    "withdraw": frozenset({R.INFO_OFFICER}),
    "urge": CENTER | OFFICE | LEADERS | {R.INFO_OFFICER, R.UNIT_HEAD, R.SUPERVISOR},
    "comment": TAKES_PART,
    "transfer": TAKES_PART,
    "reassign": frozenset({R.SUPERVISOR}),
    "delegate": TAKES_PART,
    "set_category": OFFICE | LEADERS | {R.CENTER_DEPUTY, R.CENTER_CHIEF, R.PUBLICITY_LEADER},
    "set_deadline": FINAL | {R.SUPERVISOR},
    "hold": FINAL,
    "release": FINAL,
    "waive": OFFICE | LEADERS | {R.CENTER_DEPUTY, R.CENTER_CHIEF},
    "add_signer": frozenset({R.CENTER_DEPUTY, R.CENTER_CHIEF}),
    "reconfirm": TAKES_PART,
    "certify_changes": TAKES_PART,
    "late_opinion": TAKES_PART,
    "external_opinion": CENTER | OFFICE | LEADERS,
    "renew_authorisation": TAKES_PART,
    "retract": frozenset({
        R.CENTER_DEPUTY, R.CENTER_CHIEF, R.PUBLISHER, R.DUTY_OFFICER, R.CHANNEL_OPERATOR,
    }),
    "ratify_retraction": FINAL,
    "correct": CENTER,
    "retry_channel": frozenset({R.PUBLISHER, R.CHANNEL_OPERATOR, R.CENTER_CHIEF}),
    "resolve_unknown": frozenset({R.PUBLISHER, R.CHANNEL_OPERATOR}),
    "grade": CENTER,
}  # fmt: skip

# Whose a step is tells who does these, not a role alone; without one it is 403 or 409.
BY_STEP = frozenset({"transfer", "late_opinion", "delegate"})

STALE = "0" * 64
ACT_FIELDS: dict[str, Any] = {  # enough for every act
    "reason": "理由", "step": "second_review", "to": "deputy_c", "category": "important",
    "due_at": "2026-11-25T10:00:00+08:00", "unit": "forest", "finding": "none", "channel": "site",
    "channels": ["site"], "published": True, "opinion": "同意", "base_digest": STALE,
    "grade": "A", "until": "2026-11-30T10:00:00+08:00", "organisation": "网信",
}  # fmt: skip
DECISION = {"step": "second_review", "verdict": "approve", "digest": STALE}
VERSION = {"base_digest": STALE, "title": "全省秋冬季造林现场推进会", "change": "wording"}
DRAFT: dict[str, Any] = {
    "title": "全省秋冬季造林现场推进会召开", "body": "推进会召开。3个市作交流发言。",
    "category": "work_news", "kind": "disclosure", "source": {"type": "own"}, "channels": ["site"],
    "secrecy_pledge": True, "proofread": True,
}  # fmt: skip
PACK = builtin_pack("demo-seconds").read_text(encoding="utf-8")
WORDS = builtin_words().read_text(encoding="utf-8")
ORDER = {"unit": "forest", "subject": "造林数据未按要求及时发布"}
EVENT = {
    "title": "某林场发生森林火情", "kind": "fire", "level": "major", "unit": "fire",
    "event_at": "2026-11-23T08:30:00+08:00",
}  # fmt: skip
OUTLET = {"channel": "site", "deed": "close", "reason": "不再使用"}
OPENS_CHANNEL = frozenset({R.UNIT_HEAD, R.CENTER_DEPUTY, R.CENTER_CHIEF, R.OFFICE_DIRECTOR})
TOPIC = {"title": "秋冬季森林防火专题"}
CONTENT = EVERY - {R.SECURITY_ADMIN, R.SYSADMIN}
LEAD = {"kind": 6, "unit": "forest", "subject": "发布流程不合规定"}
LOGIN = {"username": "no-such-person", "password": "no such password"}


class Rule(NamedTuple):
    """What a route answers.

    `who` may (None: anybody, signed in or not); the others get `no`. An item's route (`item`) is
    404 to whoever does not see the item. `nobody` is what a stranger gets, None: by the way in.
    """

    who: frozenset[Role] | None = EVERY
    ok: tuple[int, ...] = (200,)
    no: int = 403
    item: bool = False
    nobody: int | None = None
    more: Mapping[str, Any] = MappingProxyType({})
    query: str = ""
    values: Mapping[str, str] = MappingProxyType({})
    sees: frozenset[Role] = EVERY  # of a matter: to the others it isn't there


def anyone(*ok: int, **more: Any) -> Rule:
    return Rule(None, ok or (200,), **more)


def seen(*ok: int, **more: Any) -> Rule:
    return Rule(EVERY, ok or (200,), item=True, **more)


def some(who: frozenset[Role], *ok: int, **more: Any) -> Rule:
    return Rule(who, ok or (200,), **more)


def form(**fields: Any) -> dict[str, Any]:
    return {"data": fields or {"do": "look"}}


SUB, PAGE = "/api/v1/submissions", "/items/{submission_id}"
WORKED = (200, 204, 303, 409, 422)  # was let in; what came of it is other tests' matter

PERIOD = MappingProxyType({"period": "2026-Q3"})  # there is none: tests/acts/test_bulletins.py

GETS: dict[str, Rule] = {
    # --- items, from every side
    f"{SUB}/{{submission_id}}": seen(),
    f"{SUB}/{{submission_id}}/timeline": seen(),
    f"{SUB}/{{submission_id}}/related": seen(),
    f"{SUB}/{{submission_id}}/versions": seen(),
    f"{SUB}/{{submission_id}}/diff": seen(query="from=1&to=2"),
    f"{SUB}/{{submission_id}}/form.html": seen(),
    f"{SUB}/{{submission_id}}/form.docx": seen(),
    f"{SUB}/{{submission_id}}/bundle.zip": some(BUNDLES, item=True),
    f"{SUB}/{{submission_id}}/preview": seen(query="channel={channel}"),
    "/api/v1/attachments/{attachment_id}": seen(),
    PAGE: seen(),
    f"{PAGE}/preview/{{channel}}": seen(),
    f"{PAGE}/files/{{name}}": seen(),
    f"{PAGE}/acts/{{act}}": seen(values={"act": "comment"}),
    f"{PAGE}/edit": seen(200, 409),
    f"{PAGE}/course": seen(),
    "/board/peek/{submission_id}": seen(more={"headers": {"HX-Request": "true"}}, nobody=401),
    f"{PAGE}/site.css": anyone(),
    # --- lists: everybody's show what they see
    SUB: some(EVERY),
    "/api/v1/inbox": some(EVERY),
    "/api/v1/statistics": some(EVERY),
    "/api/v1/statistics/compare": some(COMPARES),
    "/api/v1/bulletins": some(EVERY),
    "/api/v1/bulletins/{period}": some(EVERY, 404, no=404, values=PERIOD),
    "/api/v1/bulletins/{period}/bulletin.docx": some(EVERY, 404, no=404, values=PERIOD),
    "/bulletins": some(EVERY),
    "/bulletins/{period}": some(EVERY, 404, no=404, values=PERIOD),
    "/statistics": some(EVERY),
    "/api/v1/quality": some(frozenset({R.SUPERVISOR})),
    "/quality": some(frozenset({R.SUPERVISOR})),
    "/quality/chart.svg": some(frozenset({R.SUPERVISOR})),
    "/statistics/chart.svg": some(EVERY),
    "/api/v1/channels": some(EVERY),
    "/api/v1/channels/changes": some(EVERY),
    "/channels": some(EVERY),
    "/api/v1/me": some(EVERY),
    "/api/v1/me/notices": some(EVERY),
    "/api/v1/notice-ways": some(READS_ROSTER),
    "/api/v1/duty": some(EVERY),
    "/notices": some(EVERY),
    "/duty": some(EVERY),
    "/api/v1/board": some(OVERSEERS),
    "/api/v1/audit/verify": some(READS_TRACE),
    "/api/v1/people": some(READS_ROSTER),
    "/api/v1/hooks": some(READS_ROSTER),
    "/api/v1/hooks/messages": some(READS_ROSTER),
    "/items": some(EVERY),
    "/items.csv": some(EVERY),
    "/write": some(DRAFTS),
    "/publishing": some(SENDERS),
    "/board": some(OVERSEERS),
    "/board/act": some(OVERSEERS, query="act=urge&id={submission_id}"),
    "/events": some(OVERSEERS),
    "/admin": some(EVERY, 303),
    "/admin/people": some(READS_ROSTER),
    "/admin/hooks": some(READS_ROSTER),
    "/admin/people/{person_id}": some(READS_ROSTER),
    "/admin/lists": some(EVERY),
    "/admin/audit": some(READS_TRACE),
    "/admin/health": some(TENDS),
    "/admin/retention": some(READS_ROSTER),
    "/api/v1/retention": some(READS_ROSTER),
    "/delegations": some(EVERY),
    # --- orders, incidents, cases
    "/api/v1/supervision-orders": some(EVERY),
    "/api/v1/supervision-orders/{matter_id}": some(EVERY, sees=ORDERED),
    "/api/v1/incidents": some(EVERY),
    "/api/v1/incidents/{matter_id}": some(EVERY, sees=ORDERED | DUTY),
    "/api/v1/violations": some(EVERY),
    "/api/v1/violations/{matter_id}": some(EVERY, sees=READS_CASE),
    "/orders": some(EVERY),
    "/orders/{matter_id}": some(EVERY, sees=ORDERED),
    "/incidents": some(EVERY),
    "/incidents/{matter_id}": some(EVERY, sees=ORDERED | DUTY),
    "/violations": some(EVERY),
    "/violations/{matter_id}": some(EVERY, sees=READS_CASE),
    "/violations/{matter_id}/chain": some(EVERY, sees=READS_CASE),
    "/api/v1/topics": some(EVERY),
    "/api/v1/topics/{matter_id}": some(EVERY, sees=CONTENT),
    "/topics": some(EVERY),
    "/topics/{matter_id}": some(EVERY, sees=CONTENT),
    "/rules": some(EVERY),
    "/rules/changes": some(EVERY),
    "/rules/rehearsal": some(PROPOSES | CONFIRMS),
    "/second-factor": some(EVERY),
    # --- anybody
    "/": anyone(),
    "/sign-in": anyone(200, 303),
    "/sign-in/oidc": anyone(404),
    "/sign-in/oidc/callback": anyone(404),
    "/public": anyone(308),
    "/public/{path:path}": anyone(values={"path": ""}),
    "/static/{path:path}": anyone(404, values={"path": "none.css"}),
    "/verify": anyone(),
    # whoever has a link is judged as its person, not as whoever is signed in: test_links.py
    "/l/{token}": anyone(404, values={"token": "A" * 43}),
    # only what a platform signed gets further: test_callbacks.py
    "/hooks/wechat/{channel}": anyone(404, values={"channel": "site"}),
    "/verify/{number}": anyone(values={"number": "2026-000001"}),
    "/api/docs": anyone(),
    "/api/openapi.json": anyone(),
    "/healthz": anyone(),
    "/readyz": anyone(503),  # there is no engine here
    "/metrics": anyone(),
}
TRUSTED = {"headers": {"Sec-Fetch-Site": "same-origin"}}
DONE: dict[tuple[str, str], Rule] = {
    ("POST", SUB): some(DRAFTS, 201, more={"json": DRAFT}),
    # nobody here is asked on the step: a deputy stands where a decision would be due
    ("POST", f"{SUB}/{{submission_id}}/decisions"): some(
        frozenset({R.CENTER_DEPUTY}), 409, item=True, more={"json": DECISION}
    ),
    ("POST", f"{SUB}/{{submission_id}}/versions"): some(
        frozenset({R.CENTER_DEPUTY}), 409, item=True, more={"json": VERSION}
    ),
    ("POST", f"{SUB}/{{submission_id}}/acts"): some(
        ACTS["comment"], item=True, more={"json": {"act": "comment", "reason": "看过"}}
    ),
    ("POST", "/api/v1/bulletins/{period}/acts"): some(
        EVERY, 404, values=PERIOD, more={"json": {"act": "sign", "digest": STALE}}
    ),
    ("POST", "/api/v1/bulletins/{period}/submission"): some(
        EVERY, 404, values=PERIOD,
        more={"json": {"channels": ["site"], "secrecy_pledge": True, "proofread": True}},
    ),
    ("POST", "/bulletins/{period}/submission"): some(
        EVERY, 404, values=PERIOD, more=form(channels="site", secrecy_pledge="yes", proofread="yes")
    ),
    ("POST", "/bulletins/{period}"): some(
        EVERY, 404, values=PERIOD, more=form(act="sign", digest=STALE)
    ),
    ("POST", "/api/v1/attachments"): some(
        WRITERS, 201, more={"files": {"file": ("附表.txt", b"3", "text/plain")}}
    ),
    ("POST", "/api/v1/check"): some(EVERY, more={"json": {"title": "标题", "body": "正文"}}),
    ("POST", "/api/v1/session"): anyone(401, 429, more={"json": LOGIN}),
    ("DELETE", "/api/v1/session"): some(EVERY, 204, 401),  # a token has no session to end
    ("POST", "/api/v1/me/second-factor"): some(frozenset(), 201),  # a browser's alone
    ("POST", "/api/v1/me/second-factor/confirm"): some(
        frozenset(), 409, more={"json": {"code": "000000"}}
    ),
    ("POST", "/api/v1/me/notices"): some(EVERY, more={"json": {"choices": {"result": []}}}),
    ("POST", "/api/v1/me/notices/ways"): some(
        EVERY, 201, 409, more={"json": {"name": "群", "url": "wecombot://geheim"}}
    ),
    ("DELETE", "/api/v1/me/notices/ways/{way_id}"): some(EVERY, 404, values={"way_id": "none"}),
    ("POST", "/api/v1/first-administrator"): anyone(
        401,
        more={"json": {"key": "k", "username": "x", "name": "x", "password": "x" * 12}},
    ),
    ("POST", "/api/v1/people/{person_id}/disable"): some(SECURITY, *WORKED),
    ("POST", "/api/v1/people/{person_id}/enable"): some(SECURITY, *WORKED),
    ("POST", "/api/v1/people/{person_id}/grants"): some(
        SECURITY, 201, more={"json": {"role": "publisher"}}
    ),
    ("DELETE", "/api/v1/grants/{grant_id}"): some(SECURITY),
    ("DELETE", "/api/v1/people/{person_id}/second-factor"): some(SECURITY, 200, 404),
    ("POST", "/api/v1/supervision-orders"): some(
        ISSUES | {R.SUPERVISOR}, 201, more={"json": ORDER}
    ),
    ("POST", "/api/v1/supervision-orders/{matter_id}/acts"): some(
        ISSUES, 200, 409, sees=ORDERED, more={"json": {"act": "close", "text": "办结"}}
    ),
    ("POST", "/api/v1/incidents"): some(DUTY, 201, more={"json": EVENT}),
    ("POST", "/api/v1/incidents/{matter_id}/acts"): some(
        DUTY | {R.CENTER_CHIEF}, 200, 409, sees=ORDERED | DUTY,
        more={"json": {"act": "close", "text": "误报"}},
    ),
    ("POST", "/api/v1/violations"): some(OPENS_LEAD, 201, more={"json": LEAD}),
    ("POST", "/api/v1/violations/{matter_id}/acts"): some(
        frozenset({R.SUPERVISING_LEADER, R.BUREAU_CHIEF}), 409, sees=READS_CASE,
        more={"json": {"act": "find", "result": "none", "text": "不成立"}},
    ),
    ("POST", "/orders"): some(ISSUES | {R.SUPERVISOR}, 303, more=form(**ORDER)),
    ("POST", "/orders/{matter_id}/acts"): some(
        frozenset({R.UNIT_HEAD, R.INFO_OFFICER}), 303, 409, sees=ORDERED, more=form(act="sign")
    ),
    ("POST", "/incidents"): some(
        DUTY, 303, more=form(**EVENT | {"event_at": "2026-11-23T08:30"})
    ),
    ("POST", "/incidents/{matter_id}/acts"): some(
        DUTY | ISSUES, 303, sees=ORDERED | DUTY,
        more=form(act="authorise", authority="省森防指", reference="来电"),
    ),
    ("POST", "/violations"): some(OPENS_LEAD, 303, more=form(**LEAD)),
    ("POST", "/violations/{matter_id}/acts"): some(
        frozenset({R.UNIT_HEAD}), 303, 409, sees=READS_CASE, more=form(act="state", text="说明")
    ),
    ("POST", "/api/v1/people/{person_id}/oa-account"): some(
        SECURITY, more={"json": {"oa_account": "oa10023"}}
    ),
    ("POST", "/api/v1/hooks/keys"): some(SECURITY, 201, more={"json": {"key": "chat"}}),
    ("POST", "/api/v1/hooks/keys/{key_name}/secret"): some(
        SECURITY, 404, values={"key_name": "none"}, more={"json": {}}
    ),
    ("DELETE", "/api/v1/hooks/keys/{key_id}"): some(SECURITY, 404, values={"key_id": "none"}),
    ("POST", "/api/v1/hooks/endpoints"): some(
        SECURITY, 201, more={"json": {"endpoint": "oa", "url": "https://oa.example/todos"}}
    ),
    ("POST", "/api/v1/hooks/endpoints/{endpoint_id}"): some(
        SECURITY, 404, values={"endpoint_id": "none"}, more={"json": {"paused": True}}
    ),
    ("POST", "/api/v1/hooks/endpoints/{endpoint_id}/secret"): some(
        SECURITY, 404, values={"endpoint_id": "none"}, more={"json": {}}
    ),
    ("DELETE", "/api/v1/hooks/endpoints/{endpoint_id}"): some(
        SECURITY, 404, values={"endpoint_id": "none"}
    ),
    ("POST", "/api/v1/hooks/messages/{message_id}/again"): some(
        SECURITY | {R.SYSADMIN}, 404, values={"message_id": "none"}
    ),
    ("POST", "/hooks/decisions"): anyone(
        401, more={"json": DECISION | {"submission": "x", "account": "deputy_b"}}
    ),
    ("POST", "/hooks/wechat/{channel}"): anyone(404, values={"channel": "site"}),
    ("OPTIONS", "/codec/decode"): anyone(204),
    ("OPTIONS", "/codec/encode"): anyone(204),
    ("POST", "/codec/decode"): some(ENGINE, more={"json": {"payloads": []}}),
    ("POST", "/codec/encode"): some(ENGINE, more={"json": {"payloads": []}}),
    # --- pages
    ("POST", f"{PAGE}/decisions"): some(
        frozenset({R.CENTER_DEPUTY}), 409, item=True, more=form(**DECISION)
    ),
    ("POST", f"{PAGE}/acts/{{act}}"): some(
        ACTS["comment"], 303, item=True, values={"act": "comment"}, more=form(reason="看过")
    ),
    ("POST", f"{PAGE}/edit"): some(EVERY, 200, 403, 409, 422, item=True, more=form(do="send")),
    ("POST", f"{PAGE}/edit/look"): some(EVERY, item=True, more=form(title="标题", body="正文")),
    ("POST", f"{PAGE}/edit/files"): some(
        WRITERS, 200, 409, 422, item=True, no=403,
        more={"files": {"file": ("附表.txt", b"3", "text/plain")}},
    ),
    ("POST", "/write"): some(DRAFTS, 200, more=form(title="标题", body="正文", do="look")),
    ("POST", "/write/look"): some(DRAFTS, 200, more=form(title="标题", body="正文")),
    ("POST", "/write/files"): some(
        DRAFTS, 200, more={"files": {"file": ("附表.txt", b"3", "text/plain")}}
    ),
    ("POST", "/board/views"): some(EVERY, 303, more=form(name="我的", query="")),
    ("POST", "/board/views/{view_id}/drop"): some(
        EVERY, 404, values={"view_id": "none"}, more=form()
    ),
    ("POST", "/board/act"): some(
        OVERSEERS, more=form(act="urge", id="{submission_id}", reason="请抓紧")
    ),
    ("POST", "/admin/people/{person_id}/{deed}"): some(
        SECURITY, *WORKED, values={"deed": "disable"}, more=form()
    ),
    ("POST", "/admin/hooks/{deed}"): some(
        SECURITY, *WORKED, values={"deed": "add_key"}, more=form(name="chat")
    ),
    ("POST", "/admin/audit/verify"): some(READS_TRACE, more=form()),
    ("POST", "/delegations"): some(
        EVERY - {R.SYSADMIN, R.AUDITOR}, *WORKED, no=409,
        more=form(to="deputy_c", until="2026-12-01T10:00"),
    ),
    ("POST", "/delegations/{delegation_id}/end"): some(
        EVERY, 404, values={"delegation_id": "none"}, more=form()
    ),
    ("POST", "/api/v1/channels/changes"): some(OPENS_CHANNEL, 201, 409, more={"json": OUTLET}),
    ("POST", "/api/v1/channels/changes/{change_id}"): some(
        frozenset(), no=404, values={"change_id": "none"}, more={"json": {"verdict": "confirm"}}
    ),
    ("POST", "/channels"): some(OPENS_CHANNEL, 303, 409, more=form(**OUTLET)),
    ("POST", "/channels/changes/{change_id}/{verdict}"): some(
        frozenset(), no=404, values={"change_id": "none", "verdict": "confirm"}, more=form()
    ),
    ("POST", "/api/v1/topics"): some(CENTER, 201, more={"json": TOPIC}),
    ("POST", "/api/v1/topics/{matter_id}/acts"): some(
        CENTER, 200, 409, sees=CONTENT, more={"json": {"act": "close"}}
    ),
    ("POST", "/topics"): some(CENTER, 303, more=form(**TOPIC)),
    ("POST", "/topics/{matter_id}/acts"): some(
        CENTER, 303, 409, sees=CONTENT, more=form(act="reopen")
    ),
    ("POST", "/api/v1/retention/runs"): some(frozenset({R.SYSADMIN}), more={"json": {}}),
    ("POST", "/admin/retention"): some(frozenset({R.SYSADMIN}), 303, more=form()),
    ("POST", "/admin/lists/{kind}"): some(
        frozenset({R.CENTER_CHIEF, R.CENTER_EDITOR}), 303, values={"kind": "words"},
        more=form(list=WORDS),
    ),
    ("POST", "/rules/rehearsal"): some(PROPOSES | CONFIRMS, more=form(pack=PACK)),
    ("POST", "/api/v1/policy/rehearsals"): some(
        PROPOSES | CONFIRMS, more={"json": {"pack": PACK, "days": 30}}
    ),
    ("POST", "/rules/changes"): some(PROPOSES, 303, more=form(pack=PACK)),
    ("POST", "/rules/changes/{proposal_id}/{deed}"): some(
        CONFIRMS, 303, values={"deed": "confirm"}, more=form()
    ),
    ("POST", "/notices/{deed}"): some(
        EVERY, 303, values={"deed": "choose"}, more=form(todo="mail")
    ),
    ("POST", "/second-factor"): some(EVERY, *WORKED, more=form()),
    ("POST", "/second-factor/confirm"): some(EVERY, 409, 404, more=form(code="000000")),
    ("POST", "/sign-in"): anyone(401, 429, 303, more=form(**LOGIN) | TRUSTED),
    ("POST", "/sign-in/second-factor"): anyone(401, 303, more=form(otp="000000") | TRUSTED),
    ("POST", "/sign-in/oidc"): anyone(404, 401, more=form() | TRUSTED),
    ("POST", "/sign-out"): some(EVERY, 303, more=form()),
    ("POST", "/language"): anyone(303, more=form(language="en") | TRUSTED),
    ("POST", "/l/{token}"): anyone(404, 429, more=form() | TRUSTED, values={"token": "A" * 43}),
    ("POST", "/verify"): anyone(422, 200, more=form(number="1") | TRUSTED),
}  # fmt: skip


def routes_of(routes: Sequence[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield method and path of every route of an application, those of its routers included."""
    for route in routes:
        if (inner := getattr(route, "original_router", None)) is not None:
            yield from routes_of(inner.routes, prefix + route.include_context.prefix)
        elif hasattr(route, "routes") and not getattr(route, "methods", None):
            yield from routes_of(route.routes or (), prefix + getattr(route, "path", ""))
        else:
            for method in sorted(getattr(route, "methods", None) or {"ANY"}):
                yield method, prefix + route.path
