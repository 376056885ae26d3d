"""The channel register: two people, administrators never, every state where it belongs (R2.2)."""

from typing import Any

import pytest
from sqlmodel import select

from review.acts import channel_register
from review.acts.connecting import PURPOSE, connect_channel, connection_of
from review.channel_requests import ChannelProposal, ChannelVerdict
from review.records.channels import ChannelConnection, ChannelEntry
from review.records.engine import Ledger
from review.records.kept import Box
from review.records.tables import Audit, Channel, Grant, PersonRow
from review.rules.errors import MalformedError, NotAllowedError, NotFoundError, RefusedError
from review.rules.publications import Connection
from tests.examples import LONG_AGO, MONDAY, who

BOX = Box(b"k" * 40, PURPOSE)
NEW = {
    "channel": "wx",
    "deed": "open",
    "reason": "政务公开需要",
    "name": "林草发布",
    "platform": "wechat",
    "operator_unit": "center",
    "owner_entity": "河北省林业和草原局",
    "certified_on": "2026-01-05",
    "filing_number": "冀ICP备1号",
}


def propose(ledger: Ledger, person: str = "afforest_head", **fields: Any) -> dict[str, Any]:
    request = ChannelProposal.model_validate(NEW | fields)
    return ledger.write(
        lambda s: channel_register.propose(s, who(s, person), request, MONDAY, way_in="api")
    )


def decide(ledger: Ledger, change: str, person: str = "chief", verdict: str = "confirm") -> Any:
    said = ChannelVerdict.model_validate({"verdict": verdict})
    return ledger.write(
        lambda s: channel_register.decide(s, who(s, person), change, said, MONDAY, way_in="api")
    )


def plain(ledger: Ledger, deed: str, **fields: Any) -> str:
    """Propose without the fields of an opening."""
    request = ChannelProposal.model_validate(
        {"channel": "site", "deed": deed, "reason": "业务调整"} | fields
    )
    return str(
        ledger.write(
            lambda s: channel_register.propose(
                s, who(s, "afforest_head"), request, MONDAY, way_in="api"
            )
        )["id"]
    )


def state(ledger: Ledger, channel: str = "site") -> str:
    with ledger.reading() as session:
        return session.get_one(Channel, channel).state


def administrator(ledger: Ledger) -> str:
    def add(session) -> None:
        session.add(
            PersonRow(
                id="root", username="root", name="root", unit_id="center", created_at=LONG_AGO
            )
        )
        session.flush()
        for role in ("sysadmin", "security_admin"):
            session.add(Grant(id=f"root-{role}", person_id="root", role=role, from_at=LONG_AGO))

    ledger.write(add)
    return "root"


def test_channel_is_open_only_once_a_second_person_agreed(ledger: Ledger):
    """R2.2-1."""
    change = propose(ledger)["id"]
    with ledger.reading() as session:
        assert session.get(Channel, "wx") is None

    decide(ledger, change)

    assert state(ledger, "wx") == "active"
    with ledger.reading() as session:
        entry = session.get_one(ChannelEntry, "wx")
        events = [one.event for one in session.exec(select(Audit)) if "channel" in one.event]
    assert (entry.filing_number, entry.opened_at) == ("冀ICP备1号", MONDAY)
    assert events == ["channel_change_proposed", "channel_change_confirmed"]


def test_proposer_can_not_confirm(quick_ledger: Ledger):
    change = propose(quick_ledger, "chief")["id"]

    with pytest.raises(RefusedError, match="channel_two_people"):
        decide(quick_ledger, change, "chief")


def test_administrators_have_no_say(quick_ledger: Ledger):
    root = administrator(quick_ledger)

    with pytest.raises(NotAllowedError):
        propose(quick_ledger, root)
    change = propose(quick_ledger)["id"]
    for verdict in ("confirm", "reject"):
        with pytest.raises(NotAllowedError):
            decide(quick_ledger, change, root, verdict)


def test_decided_proposal_stays_decided(quick_ledger: Ledger):
    change = propose(quick_ledger)["id"]
    decide(quick_ledger, change, verdict="reject")

    with pytest.raises(RefusedError, match="proposal_closed"):
        decide(quick_ledger, change)
    with pytest.raises(NotFoundError):
        decide(quick_ledger, "none")


def test_one_proposal_at_a_time(quick_ledger: Ledger):
    propose(quick_ledger)

    with pytest.raises(RefusedError, match="proposal_waits"):
        propose(quick_ledger)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"name": None}, "missing"), ({"operator_unit": "mars"}, "unknown_unit")],
)
def test_incomplete_opening_says_what_is_wrong(quick_ledger: Ledger, fields, message):
    with pytest.raises(MalformedError) as caught:
        propose(quick_ledger, **fields)

    assert caught.value.params["errors"][0]["message"] == message


def test_channel_goes_through_its_states(quick_ledger: Ledger):
    course = []
    for deed in ("suspend", "resume", "close"):
        decide(quick_ledger, plain(quick_ledger, deed))
        course.append(state(quick_ledger))

    assert course == ["suspended", "active", "closed"]
    with pytest.raises(RefusedError, match="channel_state"):
        plain(quick_ledger, "close")


def test_what_changed_meanwhile_is_not_overrun(quick_ledger: Ledger):
    change = plain(quick_ledger, "suspend")

    def close(session) -> None:
        session.get_one(Channel, "site").state = "closed"

    quick_ledger.write(close)
    with pytest.raises(RefusedError, match="channel_state"):
        decide(quick_ledger, change)


def test_register_names_what_is_missing_and_how_long_it_is_silent(quick_ledger: Ledger):
    """R2.2-2, T-4."""
    decide(quick_ledger, propose(quick_ledger)["id"])

    with quick_ledger.reading() as session:
        found = {one["id"]: one for one in channel_register.register(session, MONDAY)}

    assert found["wx"]["missing"] == []
    assert found["wx"]["connected"] is False
    assert found["site"]["missing"] == ["owner_entity", "certified_on", "filing_number"]
    assert found["site"]["days_silent"] == 0


# --- connections ----------------------------------------------------------------------------------


def test_secret_is_sealed_and_a_setting_beats_it(ledger: Ledger):
    given = Connection(address="https://cms.example.cn/", account="a", secret="geheim-0815")
    ledger.write(connect_channel, "site", given, BOX, MONDAY)

    with ledger.reading() as session:
        row = session.get_one(ChannelConnection, "site")
        ours = connection_of(session, "site", BOX, {})
        theirs = connection_of(session, "site", BOX, {"site": "from-settings"})
        foreign = connection_of(session, "site", Box(b"x" * 40, PURPOSE), {})
        entries = [one.data for one in session.exec(select(Audit))]

    assert "geheim" not in row.secret and "geheim" not in str(entries)
    assert ours == given.model_copy(update={"address": "https://cms.example.cn"})
    assert theirs is not None and theirs.secret == "from-settings"
    assert foreign is not None and foreign.secret == ""
    assert "geheim" not in repr(ours)


def test_empty_secret_keeps_the_one_before(quick_ledger: Ledger):
    quick_ledger.write(connect_channel, "site", Connection(secret="s1"), BOX, MONDAY)
    quick_ledger.write(connect_channel, "site", Connection(account="b"), BOX, MONDAY)

    with quick_ledger.reading() as session:
        found = connection_of(session, "site", BOX, {})

    assert found is not None and (found.account, found.secret) == ("b", "s1")


def test_one_wechat_account_is_one_channel(quick_ledger: Ledger):
    decide(quick_ledger, propose(quick_ledger)["id"])
    decide(quick_ledger, propose(quick_ledger, channel="wx2")["id"])
    quick_ledger.write(connect_channel, "wx", Connection(account="wx1"), BOX, MONDAY)

    with pytest.raises(RefusedError, match="channel_account_taken"):
        quick_ledger.write(connect_channel, "wx2", Connection(account="wx1"), BOX, MONDAY)
