"""Every route × every role × own and foreign: the answers of one table; reading changes nothing.

The words that stand in one item alone (`Item.canary`) may reach only those who see the item.
"""

import random
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import httpx
import pytest

from review.rules.values import Role
from tests.attack_http.place import NOBODY, Place
from tests.attack_http.rights import (
    ACT_FIELDS,
    ACTS,
    BY_STEP,
    DONE,
    GETS,
    LOWERS,
    SEES,
    Rule,
    routes_of,
)

SIDES = tuple(SEES)
DAILY = 3  # roles that ask for one thing in the sample, about half of them with leave to
whole_too = pytest.mark.parametrize(
    "whole", [False, pytest.param(True, marks=pytest.mark.long)], ids=["sample", "whole"]
)
PROGRAMS = ("/api/v1", "/hooks", "/codec", "/healthz", "/readyz", "/metrics")


def is_page(path: str) -> bool:
    return not path.startswith(PROGRAMS)


def told(place: Place, path: str, rule: Rule, side: str) -> tuple[str, dict[str, Any]]:
    """Return an address and what is sent to it, about one of the items."""
    item = place.items[side]
    values = {
        "submission_id": item.id, "attachment_id": item.attachment, "channel": item.channel,
        "person_id": "forest_info", "proposal_id": place.proposal,
        "grant_id": "forest_info-info_officer-forest", "matter_id": place.matter_of(path),
        "name": item.file, **rule.values,
    }  # fmt: skip
    address = path.replace(":path}", "}").format(**values)
    if rule.query:
        address += "?" + rule.query.format(**values)
    more = dict(rule.more)
    if "data" in more:
        more["data"] = {
            name: value.format(**values) if isinstance(value, str) and value[:1] == "{" else value
            for name, value in more["data"].items()
        }
    return address, more


def expected(rule: Rule, method: str, path: str, role: str, side: str) -> tuple[int, ...]:
    if rule.who is None:
        return rule.ok
    if role == NOBODY:
        if rule.nobody is not None:
            return (rule.nobody,)
        return (303,) if is_page(path) and method in ("GET", "HEAD") else (401,)
    if rule.item and Role(role) not in SEES[side]:
        return (404,)
    if Role(role) not in rule.sees:
        return (404,)
    return rule.ok if Role(role) in rule.who else (rule.no,)


def sides_of(rule: Rule) -> tuple[str, ...]:
    """An item's route is asked about every item; any other once."""
    return SIDES if rule.item else SIDES[:1]


def actors_of(
    place: Place, whole: bool, key: str, who: Collection[Role] | None = None
) -> list[tuple[str, str]]:
    """Return nobody and every role, or a few of them: for one key always the same."""
    nobody, *roles = place.actors()
    if whole:
        return [nobody, *roles]
    chance = random.Random(key)
    chance.shuffle(roles)
    may = [one for one in roles if Role(one[0]) in (who or ())]
    others = [one for one in roles if one not in may]
    some = [*may[: max(DAILY // 2, DAILY - len(others))], *others]
    return [nobody, *some[:DAILY]]


def tattles(place: Place, answer: httpx.Response, role: str) -> list[str]:
    """Return the items of which an answer shows something to somebody who does not see them."""
    words = answer.text
    return [
        side
        for side, item in place.items.items()
        if item.canary in words and (role == NOBODY or Role(role) not in SEES[side])
    ]


class Walk:
    """Counts what was asked, and gathers what was wrong."""

    def __init__(self) -> None:
        self.asked = 0
        self.wrong: list[str] = []
        self.answers: Counter[int] = Counter()

    def judge(
        self, place: Place, answer: httpx.Response, wanted: tuple[int, ...], role: str, side: str,
        what: str = "",
    ) -> None:  # fmt: skip
        self.asked += 1
        self.answers[answer.status_code] += 1
        where = f"{answer.request.method} {answer.request.url.path} {what} as {role} about {side}"
        if answer.status_code not in wanted:
            self.wrong.append(f"{where}: {answer.status_code}, not {wanted}")
        if shown := tattles(place, answer, role):
            self.wrong.append(f"{where}: shows something of {shown}")

    def listed(self) -> str:
        return "\n".join(self.wrong[:100])

    def told(self, what: str) -> str:
        counts = ", ".join(f"{status} × {n}" for status, n in sorted(self.answers.items()))
        return f"{what}: {self.asked} requests ({counts})"


def each_route(app_routes: Any) -> Iterator[tuple[str, str]]:
    yield from routes_of(app_routes)


def test_every_route_of_the_application_has_its_line(place):
    found = set(each_route(place.app.routes))
    known = {("GET", path) for path in GETS} | set(DONE)
    heads = {("HEAD", path) for path in GETS}

    assert {path for path in place.app.openapi()["paths"]} <= {path for _, path in found}
    assert found - known - heads == set()
    assert known - found == set()


@whole_too
def test_everybody_reads_what_the_table_says_and_reading_changes_nothing(place, capsys, whole):
    walk = Walk()
    before = place.state()
    for path, rule in GETS.items():
        for side in sides_of(rule):
            address, more = told(place, path, rule, side)
            for role, person in actors_of(place, whole, path + side, rule.who):
                answer = place.ask("GET", address, person, page=is_page(path), **more)
                walk.judge(place, answer, expected(rule, "GET", path, role, side), role, side)
        if place.state() != before:
            walk.wrong.append(f"GET {path}: changes the ledger")
            before = place.state()
    with capsys.disabled():
        print("\n" + walk.told(f"{len(GETS)} routes read as nobody and {len(place.people)} roles"))

    assert not walk.wrong, walk.listed()


def test_asking_for_the_heads_alone_tells_the_same_and_changes_nothing(place):
    heads = {path for method, path in each_route(place.app.routes) if method == "HEAD"}
    walk = Walk()
    before = place.state()
    for path, rule in GETS.items():
        address, more = told(place, path, rule, SIDES[0])
        for role in (NOBODY, "center_deputy", "sysadmin"):
            person = place.people.get(role, NOBODY)
            answer = place.ask("HEAD", address, person, page=is_page(path), **more)
            wanted = expected(rule, "HEAD", path, role, SIDES[0]) if path in heads else (405,)
            walk.judge(place, answer, wanted, role, SIDES[0])
            if answer.content:
                walk.wrong.append(f"HEAD {path}: has a body")

    assert not walk.wrong, walk.listed()
    assert place.state() == before


@whole_too
def test_everybody_does_what_the_table_says(place, capsys, whole):
    walk = Walk()
    before = place.state()
    for (method, path), rule in DONE.items():
        for side in sides_of(rule)[:2]:
            address, more = told(place, path, rule, side)
            for role, person in actors_of(place, whole, method + path + side, rule.who):
                page = is_page(path)
                answer = place.ask(method, address, person, page=page, **more)
                walk.judge(place, answer, expected(rule, method, path, role, side), role, side)
                if answer.status_code < 400:
                    place.back()
            if place.state() != before:
                walk.wrong.append(f"{method} {path} about {side}: a refusal changes the ledger")
                place.back()
    with capsys.disabled():
        print(
            "\n" + walk.told(f"{len(DONE)} routes written as nobody and {len(place.people)} roles")
        )

    assert not walk.wrong, walk.listed()


def sides_of_acts(whole: bool) -> tuple[str, ...]:
    return SIDES if whole else SIDES[:2]


@whole_too
def test_every_act_is_its_roles_alone(place, capsys, whole):
    """Whoever sees an item and may not act gets 403, whoever doesn't see it 404."""
    walk = Walk()
    before = place.state()
    for act, roles in ACTS.items():
        for side in sides_of_acts(whole):
            address = f"/api/v1/submissions/{place.items[side].id}/acts"
            for role, person in actors_of(place, whole, act + side, roles):
                answer = place.ask("POST", address, person, json=ACT_FIELDS | {"act": act})
                seen = role != NOBODY and Role(role) in SEES[side]
                wanted: tuple[int, ...] = (401,) if role == NOBODY else (404,)
                if seen:
                    refused = (403, 409) if act in BY_STEP else (403,)
                    wanted = (200, 409, 422) if Role(role) in roles else refused
                if (act, side) == ("set_category", "incident") and seen:
                    # to lower an emergency is for fewer
                    wanted = (200, 409, 422) if Role(role) in LOWERS else (403,)
                if seen and act == "waive" and Role(role) in roles:
                    wanted = (404,)  # there is no such finding
                walk.judge(place, answer, wanted, role, side, act)
                if answer.status_code < 400:
                    place.back()
            if place.state() != before:
                walk.wrong.append(f"{act} on {side}: a refusal changes the ledger")
                place.back()
    with capsys.disabled():
        print("\n" + walk.told(f"{len(ACTS)} acts as nobody and {len(place.people)} roles"))

    assert not walk.wrong, walk.listed()
