"""The codec endpoint: those who look after the engine read it, nobody else does, junk is a 4xx."""

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import ActivitySerializationContext, WorkflowSerializationContext
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from review.payloads import (
    MOST_BOUND,
    Cipher,
    PayloadAlteredError,
    PayloadKeyMissingError,
    converter,
)
from review.records.people import Held, Person
from review.rules.values import Role
from review.settings import Settings
from starter.engine import EmbeddedEngine, free_port
from starter.web.app import create_app
from tests.web.test_errors import FakeReviews

KEY = base64.b64encode(b"p" * 32).decode()
UI = "http://127.0.0.1:8233"
WORKFLOW = WorkflowSerializationContext(namespace="default", workflow_id="submission-1")
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"secret position"')


def a_person(role: Role) -> Person:
    return Person(
        id=role, username=role, name=role, unit_id="fire", roles=(Held(role=role, unit_id=""),)
    )


class Roles:
    """Access where the token, or the cookie, is the role."""

    def by_token(self, token: str) -> Person | None:
        return a_person(Role(token)) if token in set(Role) else None

    def by_session(self, secret: str) -> tuple[Person, str] | None:
        return (a_person(Role(secret)), "csrf") if secret in set(Role) else None


def an_app(data: Path, **given: str):
    found = Settings(
        data=data, secret_key="s" * 32, temporal_ui_url=UI, _env_file=None,
        **({"payload_keys": f"k1:{KEY}"} | given),
    )  # fmt: skip
    return create_app(FakeReviews(), Roles(), found)  # type: ignore[arg-type]


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(an_app(tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as found:
        yield found


def bearer(role: Role = Role.SYSADMIN) -> dict[str, str]:
    return {"Authorization": f"Bearer {role}"}


async def sealed(keys: dict[str, bytes] | None = None, context=WORKFLOW) -> Payload:
    cipher = Cipher(keys or {"k1": b"p" * 32}, "default")
    (found,) = await cipher.with_context(context).encode([PLAIN])
    return found


def sent(*payloads: Payload) -> dict[str, object]:
    return {"payloads": [MessageToDict(one) for one in payloads]}


# --- the cipher ---------------------------------------------------------------------------------


async def test_payload_opens_only_in_its_own_workflow_and_namespace():
    cipher = Cipher({"k1": b"p" * 32}, "default")
    one = await sealed()
    elsewhere = (
        WorkflowSerializationContext(namespace="default", workflow_id="submission-2"),
        WorkflowSerializationContext(namespace="other", workflow_id="submission-1"),
    )

    assert await cipher.with_context(WORKFLOW).decode([one]) == [PLAIN]
    for context in elsewhere:
        with pytest.raises(PayloadAlteredError):
            await cipher.with_context(context).decode([one])
    with pytest.raises(PayloadAlteredError):
        await Cipher({"k1": b"p" * 32}, "other").decode([one])
    one.metadata["workflow"] = b"submission-2"  # relabelled to fit where it was moved
    with pytest.raises(PayloadAlteredError):
        await cipher.with_context(elsewhere[0]).decode([one])


async def test_run_of_a_schedule_opens_what_its_schedule_was_given_and_nothing_else_does():
    cipher = Cipher({"k1": b"p" * 32}, "default")

    def of(workflow_id: str) -> Cipher:
        return cipher.with_context(
            WorkflowSerializationContext(namespace="default", workflow_id=workflow_id)
        )

    given = await of("patrol").encode([PLAIN])

    assert await of("patrol-2026-11-23T19:00:00Z").decode(given) == [PLAIN]
    for other in ("patrol-2", "patrol-2026-11-23T19:00:00Z-1", "x-patrol-2026-11-23T19:00:00Z",
                  "patro-2026-11-23T19:00:00Z", "patrol2026-11-23T19:00:00Z"):  # fmt: skip
        with pytest.raises(PayloadAlteredError):
            await of(other).decode(given)
    own = await of("patrol-2026-11-23T19:00:00Z").encode([PLAIN])
    with pytest.raises(PayloadAlteredError):
        await of("patrol").decode(own)


async def test_activity_shares_its_workflows_binding():
    context = ActivitySerializationContext(
        namespace="default", activity_id="1", activity_type="advance",
        activity_task_queue="sanshen", workflow_id="submission-1",
        workflow_type="SubmissionWorkflow", is_local=False,
    )  # fmt: skip

    one = await sealed(context=context)

    assert await Cipher({"k1": b"p" * 32}).with_context(WORKFLOW).decode([one]) == [PLAIN]


@pytest.mark.parametrize("at", [0, 5, 12, 20, -1])
async def test_altered_payload_does_not_open(at):
    one = await sealed()
    data = bytearray(one.data)
    data[at] ^= 1
    one.data = bytes(data)

    with pytest.raises(PayloadAlteredError):
        await Cipher({"k1": b"p" * 32}, "default").decode([one])


async def test_payload_cut_short_does_not_open():
    for length in (0, 3, 12, 20):
        one = await sealed()
        one.data = one.data[:length]
        with pytest.raises(PayloadAlteredError):
            await Cipher({"k1": b"p" * 32}, "default").decode([one])


async def test_missing_key_is_named_and_wrong_key_is_not_believed():
    one = await sealed({"k7": b"7" * 32})

    with pytest.raises(PayloadKeyMissingError, match=r"'k7' is missing.*SANSHEN_PAYLOAD_KEYS"):
        await Cipher({"k1": b"p" * 32}).decode([one])
    with pytest.raises(PayloadAlteredError):
        await Cipher({"k7": b"8" * 32}, "default").decode([one])


async def test_same_payload_never_looks_the_same_twice():
    assert (await sealed()).data != (await sealed()).data


# --- the endpoint -------------------------------------------------------------------------------


@pytest.mark.parametrize("role", list(Role))
async def test_only_those_who_look_after_the_engine_read_it(client, role):
    answer = await client.post("/codec/decode", json=sent(await sealed()), headers=bearer(role))

    allowed = role in (Role.SYSADMIN, Role.SUPERVISOR)
    assert answer.status_code == (200 if allowed else 403)
    assert ("payloads" in answer.json()) == allowed


async def test_stranger_is_told_nothing(client):
    answer = await client.post("/codec/decode", json=sent(await sealed()))

    assert answer.status_code == 401


async def test_payloads_are_opened_and_plain_ones_left_alone(client):
    answer = await client.post("/codec/decode", json=sent(await sealed(), PLAIN), headers=bearer())

    assert answer.json() == sent(PLAIN, PLAIN)


async def test_session_of_the_engines_pages_is_enough(client):
    client.cookies.set("sanshen_session", str(Role.SUPERVISOR))

    answer = await client.post(
        "/codec/decode", json=sent(await sealed()), headers={"Origin": UI, "X-Namespace": "default"}
    )

    assert answer.json() == sent(PLAIN)
    assert answer.headers["access-control-allow-origin"] == UI
    assert answer.headers["access-control-allow-credentials"] == "true"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:8234", UI + "0"]
)
async def test_scripts_of_other_sites_get_nothing(client, origin):
    client.cookies.set("sanshen_session", str(Role.SUPERVISOR))

    asked = await client.options("/codec/decode", headers={"Origin": origin})
    answer = await client.post(
        "/codec/decode", json=sent(await sealed()), headers={"Origin": origin}
    )

    assert "access-control-allow-origin" not in asked.headers
    assert "access-control-allow-origin" not in answer.headers
    assert answer.status_code == 403


async def test_browser_may_ask_for_the_engines_pages(client):
    asked = await client.options("/codec/decode", headers={"Origin": UI})

    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == UI
    assert "x-namespace" in asked.headers["access-control-allow-headers"]


async def test_other_namespace_is_refused(client):
    answer = await client.post(
        "/codec/decode", json=sent(await sealed()), headers=bearer() | {"X-Namespace": "other"}
    )

    assert answer.status_code == 403


async def test_missing_key_and_altered_payload_are_refusals(client):
    missing = await client.post(
        "/codec/decode", json=sent(await sealed({"k9": b"9" * 32})), headers=bearer()
    )
    altered = await sealed()
    altered.data = altered.data[:-1]
    wrong = await client.post("/codec/decode", json=sent(altered), headers=bearer())

    assert (missing.status_code, missing.json()["code"]) == (409, "payload_key_missing")
    assert (wrong.status_code, wrong.json()["code"]) == (409, "payload_altered")


async def test_nothing_is_encrypted_for_others(client):
    none = await client.post("/codec/encode", json={}, headers=bearer())
    some = await client.post("/codec/encode", json=sent(PLAIN), headers=bearer())

    assert (none.status_code, none.json()) == (200, {"payloads": []})
    assert (some.status_code, some.json()["code"]) == (409, "not_encrypted_here")


async def test_too_much_is_refused(client):
    large = {"payloads": [{"metadata": {}, "data": "A" * 3_000_000}]}
    many = {"payloads": [{"metadata": {}}] * 1001}

    assert (await client.post("/codec/decode", json=large, headers=bearer())).status_code == 413
    assert (await client.post("/codec/decode", json=many, headers=bearer())).status_code == 422


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["payloads", "metadata", "data", "encoding", "key", "workflow", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
ODD = st.builds(
    lambda metadata, data: {"payloads": [{"metadata": metadata, "data": data}]},
    st.dictionaries(
        st.sampled_from(["encoding", "key", "workflow", "cipher"]),
        st.sampled_from(["YmluYXJ5L2VuY3J5cHRlZA==", "azE=", "", "!", "\ud800", "AA", "A", "é"])
        | st.text(max_size=8),
    ),
    st.text(max_size=30) | st.binary(max_size=40).map(lambda b: base64.b64encode(b).decode()),
)


async def test_one_workflow_is_bound_once_and_each_opens_its_own_alone() -> None:
    whole = converter({"k1": KEY}, "default")
    others = [
        WorkflowSerializationContext(namespace="default", workflow_id=f"submission-{number}")
        for number in range(3 * MOST_BOUND)
    ]
    sealed = [await whole.with_context(other).encode(["x"]) for other in others]

    assert whole.with_context(WORKFLOW) is whole.with_context(WORKFLOW)
    for other, payloads in zip(others, sealed, strict=True):
        assert await whole.with_context(other).decode(payloads) == ["x"]
    with pytest.raises(PayloadAlteredError):
        await whole.with_context(others[1]).decode(sealed[0])


def test_junk_is_never_a_500(tmp_path):
    transport = httpx.ASGITransport(an_app(tmp_path))
    client = httpx.AsyncClient(transport=transport, base_url="http://test")

    @settings(max_examples=150, deadline=None)
    @given(body=st.binary(max_size=60) | (JSON | ODD).map(lambda v: json.dumps(v).encode()))
    def attack(body: bytes) -> None:
        answer = runner.run(client.post("/codec/decode", content=body, headers=bearer()))
        assert answer.status_code in (200, 409, 422)

    with asyncio.Runner() as runner:
        attack()
        runner.run(client.aclose())


async def test_without_keys_there_is_no_codec(tmp_path):
    transport = httpx.ASGITransport(an_app(tmp_path, payload_keys=""))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post("/codec/decode", json=sent(PLAIN), headers=bearer())

    assert answer.status_code == 404


# --- with Temporal's own command line -----------------------------------------------------------


@workflow.defn(name="Shown")
class Shown:
    """Waits, and says where it stands."""

    @workflow.run
    async def run(self, what: str) -> str:
        self._what = what
        await workflow.wait_condition(lambda: False)
        return what

    @workflow.query
    def status(self) -> dict[str, str]:
        return {"position": self._what}


async def test_temporals_command_line_reads_a_status_and_the_history_holds_nothing_readable(
    tmp_path,
):
    """Contract: a supervisor is answered without our web, with `--codec-endpoint` and a token."""
    import uvicorn

    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(an_app(tmp_path), port=port, log_config=None, lifespan="off")
    )
    serving = asyncio.create_task(server.serve())
    async with EmbeddedEngine(tmp_path, port=0) as engine:
        client = await Client.connect(
            engine.address, data_converter=converter({"k1": KEY}, "default")
        )
        async with Worker(
            client, task_queue="q", workflows=[Shown], workflow_runner=UnsandboxedWorkflowRunner()
        ):
            handle = await client.start_workflow(
                Shown.run, "canary position", id="submission-1", task_queue="q"
            )
            await handle.query(Shown.status)
            ask = ("workflow", "query", "--type", "status", "-w", "submission-1")
            codec = ("--codec-endpoint", f"http://127.0.0.1:{port}/codec", "--codec-auth")
            blind = await temporal(engine.address, *ask)
            seeing = await temporal(engine.address, *ask, *codec, "Bearer supervisor")
            strange = await temporal(engine.address, *ask, *codec, "Bearer nobody")
            raw = await temporal(
                engine.address, "workflow", "show", "-w", "submission-1", "-o", "json"
            )
            await handle.terminate()
    server.should_exit = True
    await serving

    assert "canary" not in blind and "QUVTLTI1Ni1HQ00=" in blind
    assert '"position":"canary position"' in seeing.replace('": "', '":"')
    assert "canary" not in strange and "not_signed_in" in strange
    assert "canary" not in raw
    for payload in payloads_in(json.loads(raw)):
        assert b"canary" not in base64.b64decode(payload["data"])
    store = b"".join(p.read_bytes() for p in tmp_path.glob("engine.db*"))
    assert b"canary" not in store


async def temporal(address: str, *arguments: str) -> str:
    """Return all that the command line printed."""
    program = Path(sys.executable).parent / "temporal"
    done = await asyncio.to_thread(
        subprocess.run,
        [program, *arguments, "--address", address],
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout + done.stderr


def payloads_in(value: object) -> list[dict[str, str]]:
    if isinstance(value, dict):
        if {"metadata", "data"} <= value.keys():
            return [value]
        return [one for held in value.values() for one in payloads_in(held)]
    if isinstance(value, list):
        return [one for held in value for one in payloads_in(held)]
    return []
