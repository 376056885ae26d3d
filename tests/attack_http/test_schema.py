"""Schemathesis over the whole OpenAPI document: nobody and every role, every operation.

No 5xx but where the engine is said to be away, no status, content type or shape that the document
does not tell, nothing read without rights. The cases are drawn with a fixed seed; the last of
their parts, an item's or a person's id, is now and then one that there is.
"""

import random
from collections import Counter
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.attack_http.place import NOBODY, Place
from tests.attack_http.test_rights import actors_of, tattles

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPEN = {
    "POST /api/v1/session", "POST /api/v1/first-administrator", "GET /healthz", "GET /readyz",
    "GET /metrics",
}  # fmt: skip
AWAY = {"GET /readyz"}  # 503 here: there is no engine
PEOPLE = ("forest_info", "deputy_b", "nobody-at-all")


def operations_of(place: Place) -> list[Any]:
    schema = schemathesis.openapi.from_dict(place.app.openapi())
    return [found.ok() for found in schema.get_all_operations()]


def made_real(case: Any, place: Place, chance: random.Random) -> None:
    """Put ids that there are into a case, so that it comes further than to a 404."""
    item = chance.choice(list(place.items.values()))
    real = {
        "submission_id": item.id, "attachment_id": item.attachment,
        "person_id": chance.choice(PEOPLE), "grant_id": "forest_info-info_officer-forest",
        "matter_id": place.matter_of(case.path.replace("supervision-", "")),
        "key_name": "oa", "key_id": "none", "endpoint_id": "none", "message_id": "none",
        "change_id": "none", "period": "2026-10", "way_id": "none",
        "channel": item.channel,
    }  # fmt: skip
    for name in case.path_parameters or {}:
        if chance.random() < 0.8:
            case.path_parameters[name] = real[name]
    if "channel" in (case.query or {}) and chance.random() < 0.5:
        case.query["channel"] = item.channel
    if isinstance(case.body, dict) and chance.random() < 0.5:
        row = {"digest": "0" * 64, "step": "second_review", "channels": ["site"], "channel": "site"}
        case.body |= {name: value for name, value in row.items() if name in case.body}


def send(case: Any, place: Place, person: str) -> httpx.Response:
    """Send a case as somebody, as schemathesis itself would."""
    given_ = case.as_transport_kwargs(base_url="http://127.0.0.1:8080")
    headers = {k: v for k, v in (given_.get("headers") or {}).items() if v is not None}
    body: dict[str, Any] = {}
    if "json" in given_:
        body["json"] = given_["json"]
    elif given_.get("files"):
        body["files"] = given_["files"]
    elif given_.get("data") is not None:
        body["content" if isinstance(given_["data"], (bytes, str)) else "data"] = given_["data"]
    place.web.cookies.clear()
    cookies = "; ".join(f"{k}={v}" for k, v in (given_.get("cookies") or {}).items())
    if cookies:
        headers["Cookie"] = cookies
    found: httpx.Response = place.run(
        place.web.request(
            given_["method"], given_["url"], params=given_.get("params") or None,
            headers=headers | place.bearer(person), **body,
        )
    )  # fmt: skip
    found.request.read()
    return found


@pytest.mark.parametrize(
    ("cases", "whole"),
    [(1, False), pytest.param(40, True, marks=pytest.mark.long)],
    ids=["sample", "whole"],
)
def test_every_operation_answers_as_the_document_says_to_nobody_and_every_role(
    place, capsys, cases, whole
):
    operations = operations_of(place)
    answers: Counter[int] = Counter()
    found: dict[str, str] = {}
    roles: set[str] = set()
    for number, operation in enumerate(operations):
        actors = actors_of(place, whole, operation.label)
        roles |= {role for role, _ in actors}
        _attack(place, operation, number, actors, cases, answers, found)
    with capsys.disabled():
        print(
            f"\n{len(operations)} operations × nobody and {len(roles) - 1} roles:"
            f" {answers.total()} cases, "
            + ", ".join(f"{status} × {n}" for status, n in sorted(answers.items()))
        )

    assert roles == {role for role, _ in place.actors()}
    assert not found, "\n\n".join(found.values())


def _attack(
    place: Place,
    operation: Any,
    number: int,
    actors: list[tuple[str, str]],
    cases: int,
    answers: Counter[int],
    found: dict[str, str],
) -> None:
    chance = random.Random(number)

    @seed(number)
    @settings(
        max_examples=cases, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.lists(operation.as_strategy(), min_size=len(actors), max_size=len(actors)))
    def attack(drawn: list[Any]) -> None:
        for (role, person), case in zip(actors, drawn, strict=True):
            made_real(case, place, chance)
            judge(case, place, operation.label, role, person)

    def judge(case: Any, place: Place, label: str, role: str, person: str) -> None:
        answer = send(case, place, person)
        status = answer.status_code
        answers[status] += 1
        wrong = ""
        if status >= 500 and not (status == 503 and label in AWAY):
            wrong = f"{status} {answer.text[:300]}"
        elif role == NOBODY and status < 400 and label not in OPEN:
            wrong = f"{status} for nobody"
        elif shown := tattles(place, answer, role):
            wrong = f"shows something of {shown}"
        else:
            try:
                case.validate_response(answer, checks=CHECKS)
            except BaseExceptionGroup as failures:
                wrong = "; ".join(str(one) for one in failures.exceptions)
        if wrong:
            key = f"{label} {status}"
            found.setdefault(key, f"{label} as {role}: {wrong}\n  {case.as_curl_command()[:600]}")
        if status < 400 and operation.method.upper() not in ("GET", "HEAD"):
            place.back()

    attack()
