"""Random acts of everybody at any moment; every answer is compared with the model's.

    python -m tests.attack [--runs 200] [--steps 40] [--seed 7]

A run is one bureau with a few items. Macro rules take an item through its steps, so that runs
really publish; `Tally` counts what happened and says what hardly did.
"""

import json
import re
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from review.acts import publishing
from review.ids import new_id
from review.rules.errors import RefusedError
from tests.attack.model import (
    EDIT,
    FINAL,
    OFFICE,
    PROOF3,
    RECONFIRM,
    RUNNING,
    SECOND,
    SIGN,
    UNIT,
    Content,
    Item,
    Link,
    Model,
    Refused,
    Row,
    Sending,
)  # fmt: skip
from tests.attack.sabotage import SABOTAGE
from tests.attack.surfaces import SURFACES, Answer, Surface, answered
from tests.attack.world import PLACES, World
from tests.examples import BACKUPS, CHECKLIST, LONG_AGO, PEOPLE

STEPS = (UNIT, EDIT, SECOND, SIGN, OFFICE, FINAL, PROOF3, RECONFIRM)
CATEGORIES = (
    "work_news",
    "work_news",
    "repost",
    "important",
    "emergency",
    "emergency_minor",
    "public_opinion",
)
AUTHORS = ("afforest_info", "fire_info", "pest_info", "center_info")
GRANTABLE = (
    ("editor_b", "center_deputy", ""), ("deputy_c", "center_chief", ""),
    ("afforest_info2", "unit_head", "afforest"), ("editor_a", "publisher", ""),
    ("section_head", "center_deputy", ""), ("director", "office_reviewer", ""),
    ("deputy_b", "info_officer", "center"), ("fire_head", "supervising_leader", "fire"),
    ("publisher_a", "center_editor", ""), ("chief", "bureau_chief", ""),
)  # fmt: skip
CANARY = "金缕梅"  # in every text, so that it is recognised where no text may be
STOPPED = "机密★长期"
ANSWERS = ("live", "live", "live", "failed", "unknown", "accepted", "lost", "torn")
CRASHES = ("", "", "", "after_claim", "after_send", "before_record")


class Tally:
    """What happened over all runs of a process."""

    def __init__(self) -> None:
        self.runs = self.published_runs = self.sent = 0
        self.rules: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()

    def line(self) -> str:
        return json.dumps(
            {"runs": self.runs, "published": self.published_runs, "sent": self.sent,
             "rules": dict(sorted(self.rules.items())), "codes": dict(sorted(self.codes.items()))}
        )  # fmt: skip


TALLY = Tally()


def seen_findings(world: World, submission: str) -> list[str]:
    """Return the findings a reviewer ticks; the texts here have none."""
    return []


class Attack(RuleBasedStateMachine):
    """One bureau under attack."""

    @initialize(category=st.sampled_from(CATEGORIES), author=st.sampled_from(AUTHORS))
    def begin(self, category: str, author: str) -> None:
        self.world = World()
        self.model = Model(PEOPLE, PLACES, BACKUPS, LONG_AGO)
        self.model.now = self.world.now
        self.said: list[tuple[str, str, dict[str, Any], str, dict[str, Any]]] = []
        self.acknowledged: dict[str, tuple[str, str, str, str]] = {}
        self.entries: Counter[str] = Counter()  # audit entries that must be there
        self.stops = 0
        self.texts = 0
        self.published = False
        self.away_since: datetime | None = None
        self._submit(author, category, ("site",), SURFACES[0])

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        TALLY.runs += 1
        TALLY.published_runs += self.published
        TALLY.sent += len(self.world.platform.sent)
        self.world.close()

    # --- telling and comparing ------------------------------------------------------------------

    def send(
        self, surface: Surface, person: str, kind: str, submission: str, body: dict[str, Any],
        expected: str, key: str | None = None,
    ) -> Answer:  # fmt: skip
        """Do an act by a surface and compare the answer with the model's."""
        if expected == "not_signed_in":
            expected = surface.when_disabled
        got = surface.send(self.world, person, kind, submission, body, key)
        TALLY.codes[got.code] += 1
        assert got.code == expected, (
            f"{got.code}, the model says {expected}: {kind} over {surface.name} by {person} "
            f"{body} {got.body}"
        )
        return got

    def tick(self) -> None:
        """No two things happen in one instant: a role may end right after its last decision."""
        self.world.now += timedelta(milliseconds=1)
        self.model.now = self.world.now

    def expect(self, deed: Any) -> str:
        """Return the model's answer; what it takes, it has done."""
        self.tick()
        try:
            deed()
        except Refused as refusal:
            return refusal.code
        return "ok"

    def after(self, item: Item, answer: Answer, event: str = "") -> None:
        """Compare where the item stands, then let the worker take its turn."""
        if answer.code == "ok":
            self.entries[event] += 1
            if "status" in answer.body:
                told = answer.body["status"]
                assert told == item.status, f"status {told}, the model says {item.status}"
            if "version" in answer.body:
                told = answer.body["version"]
                assert told == len(item.texts), f"version {told}, the model says {len(item.texts)}"
                digest = answer.body["digest"]
                assert item.digests.setdefault(item.content, digest) == digest
                assert len(set(item.digests.values())) == len(item.digests), "one digest, two texts"
            if "profile" in answer.body:
                assert answer.body["profile"] == item.profile, answer.body
        self.turns()

    def refused(self, answer: Answer, surface: Surface) -> None:
        """Count the audit line that a refusal leaves."""
        quiet = ("ok", "malformed", "not_signed_in", "key_reused")
        at_the_door = surface.name == "hook" and answer.body.get("why") == "hook_scope"
        if answer.code not in quiet and not at_the_door:
            self.entries["refused"] += 1

    def turns(self) -> None:
        """Let the worker take every turn that is owed, while the engine is up."""
        if not self.world.engine.up:
            return
        nudged = set(self.world.engine.nudged)
        self.world.engine.nudged.clear()
        assert nudged <= {f"submission-{i}" for i in self.model.items}, "one workflow a submission"
        owed = self.world.owed()
        for submission in sorted(owed):
            self.turn(self.model.items[submission])

    def turn(self, item: Item) -> None:
        position = self.world.turn(item.id)
        self.model.turn(item)
        self.compare(item, position)

    def compare(self, item: Item, position: Any) -> None:
        """Compare where a turn left an item with where the model says it stands."""
        rows = {(r.key, r.unit): r for r in item.open()}
        steps = {(o.step, o.unit): o for o in position.open_steps}
        deeds = sorted((d.channel, d.generation) for d in position.publish)
        for what, product, model in (
            ("status", str(position.status), item.status),
            ("open steps", sorted(steps), sorted(rows)),
            ("to be sent", deeds, sorted(self.model.deeds(item))),
            ("version", position.version, len(item.texts)),
            ("digest", position.digest, item.digests[item.content]),
        ):
            assert product == model, f"{what} after a turn: {product}, the model says {model}"
        for slot, row in rows.items():
            due = steps[slot].due_at
            # Held before its first turn, a step's time has not begun.
            unbegun = item.status == "held" and due is None and row.due is None
            near = unbegun or abs(due - row.due) < timedelta(seconds=1)
            assert near, f"{slot} is due {due}, the model says {row.due}"
        self.published |= item.status == "published"

    def pick(self, number: int, options: Any) -> Any:
        options = list(options)
        return options[number % len(options)]

    def item(self, number: int) -> Item:
        return self.pick(number, self.model.items.values())

    def deciders(self, item: Item, row: Row) -> list[str]:
        """Return who may decide a step now."""
        found = []
        for person in sorted(PEOPLE):
            people = None if person in self.model.disabled else (
                self.model.standing(person, item, row)
            )  # fmt: skip
            if people and not people & item.apart(row) and self.model.sees(person, item):
                found.append(person)
        return found

    # --- texts ----------------------------------------------------------------------------------

    def fresh(self, repost: bool = False) -> Content:
        self.texts += 1
        title = f"{CANARY}护林巡查工作纪实{'甲乙丙丁戊己庚辛壬癸'[self.texts % 10]}"
        body = f"{CANARY}本周共巡查{100 + self.texts}处林地，参加人员{self.texts}名，未见异常。"
        source = {"type": "own"}
        if repost:
            source = {
                "type": "repost", "name": "新华社", "url": "https://www.news.cn/demo",
                "original_title": title, "original_body": body + "\n",
            }  # fmt: skip
        return title, body, tuple(sorted(source.items()))

    def _submit(
        self, person: str, category: str, channels: tuple[str, ...], surface: Surface
    ) -> None:
        content = self.fresh(repost=category == "repost")
        name = {"repost": "work_news", "emergency_minor": "emergency"}.get(category, category)
        level = {"emergency_minor": "larger", "emergency": "unknown"}.get(category, "")
        anchor = self.world.now - timedelta(minutes=40)
        moment = {"emergency": "event_time", "public_opinion": "found_time"}.get(name)
        body: dict[str, Any] = {
            "title": content[0], "body": content[1], "source": dict(content[2]), "category": name,
            "kind": "disclosure", "channels": list(channels), "secrecy_pledge": True,
            "proofread": True,
        }  # fmt: skip
        if level and level != "unknown":
            body["level"] = level
        if moment:
            body[moment] = anchor.isoformat()
        expected = self.expect(lambda: self.model.may_submit(person))
        answer = self.send(surface, person, "submit", "", body, expected)
        self.refused(answer, surface)
        if answer.code == "ok":
            item = self.model.submit(
                answer.body["id"], person, name, level, channels, content,
                answer.body["digest"], anchor if moment else None,
            )  # fmt: skip
            assert answer.body["profile"] == item.profile
            assert answer.body["delivered"] == self.world.engine.up
            self.after(item, answer, "submitted")

    # --- rules ----------------------------------------------------------------------------------

    @precondition(lambda self: len(self.model.items) < 3)
    @rule(
        person=st.sampled_from((*AUTHORS, "afforest_info2", "editor_a")),
        category=st.sampled_from(CATEGORIES),
        channels=st.sampled_from((("site",), ("site",), ("site", "mini_pest"), ("mini_pest",))),
        way=st.sampled_from(SURFACES[:3]),
    )
    def submit(self, person: str, category: str, channels: tuple[str, ...], way: Surface) -> None:
        TALLY.rules["submit"] += 1
        self._submit(person, category, channels, way)

    def _decide(
        self, item: Item, person: str, step: str, unit: str | None, verdict: str, way: Surface,
        content: Content | None, **more: Any,
    ) -> Answer:  # fmt: skip
        digest = item.digests[content] if content else "sha256:" + "0" * 64
        body: dict[str, Any] = {
            "step": step, "verdict": verdict, "digest": digest,
            "opinion": more.get("opinion", "" if verdict == "approve" else f"{CANARY}请核"),
            "checklist": CHECKLIST if more.get("ticked", True) else {},
            "findings_seen": seen_findings(self.world, item.id),
        }  # fmt: skip
        if unit is not None:
            body["unit"] = unit
        if verdict == "return":
            body |= {"reason_code": more.get("reason_code", "facts"),
                     "return_to": more.get("return_to", "")}  # fmt: skip
        if more.get("stale_round"):
            body["round"] = 9_999
        key = more.get("key") or new_id()
        return self._decide_as(item, person, body, key, content, way)

    def _decide_as(
        self, item: Item, person: str, body: dict[str, Any], key: str, content: Content | None,
        way: Surface,
    ) -> Answer:  # fmt: skip
        asked = {
            "step": body["step"], "unit": body.get("unit"), "verdict": body["verdict"],
            "content": content, "opinion": body["opinion"],
            "reason_code": body.get("reason_code", ""), "return_to": body.get("return_to", ""),
            "ticked": bool(body["checklist"]), "stale_round": "round" in body,
            "print": json.dumps([item.id, body], sort_keys=True),
        }  # fmt: skip
        known = key in self.model.keys
        expected = self.expect(lambda: self.model.decide(person, item.id, asked, key))
        answer = self.send(way, person, "decide", item.id, body, expected, key)
        self.refused(answer, way)
        if answer.code == "ok":
            if known:
                first = next(a for *_, k, a in self.said if k == key)
                for name in ("decision_id", "status", "next"):
                    assert answer.body[name] == first[name], "another answer to a repeat"
                self.turns()
                return answer
            self.said.append((item.id, person, body, key, answer.body))
            self.acknowledged[answer.body["decision_id"]] = (
                item.id, person, body["verdict"], body["digest"]
            )  # fmt: skip
            assert answer.body["delivered"] == self.world.engine.up
            self.after(item, answer, "decided")
        return answer

    @rule(
        number=st.integers(0, 9), step=st.sampled_from(STEPS),
        person=st.sampled_from(sorted(PEOPLE)),
        way=st.sampled_from(SURFACES),
        verdict=st.sampled_from(("approve", "approve", "return", "reject", "approve_with_changes")),
        twist=st.sampled_from(("", "", "foreign", "old", "round", "no_opinion", "unticked")),
        with_unit=st.booleans(),
    )  # fmt: skip
    def decide_anything(
        self, number: int, step: str, person: str, way: Surface, verdict: str, twist: str,
        with_unit: bool,
    ) -> None:  # fmt: skip
        """Anybody decides any step in any state."""
        TALLY.rules["decide_anything"] += 1
        item = self.item(number)
        self._twisted(item, person, step, None, verdict, way, twist)

    def _twisted(
        self, item: Item, person: str, step: str, unit: str | None, verdict: str, way: Surface,
        twist: str,
    ) -> None:  # fmt: skip
        content: Content | None = item.content
        more: dict[str, Any] = {}
        if twist == "foreign":
            content = None
        elif twist == "old":
            content = item.texts[0].content
        elif twist == "round":
            more["stale_round"] = True
        elif twist == "no_opinion":
            more["opinion"] = " "
        elif twist == "unticked":
            more["ticked"] = False
        elif twist == "no_reason":
            more["reason_code"] = ""
        elif twist.startswith("to:"):
            more["return_to"] = twist[3:]
        self._decide(item, person, step, unit, verdict, way, content, **more)

    @precondition(lambda self: any(i.open() for i in self.model.items.values()))
    @rule(
        number=st.integers(0, 9), who=st.integers(0, 99), way=st.sampled_from(SURFACES),
        verdict=st.sampled_from(("approve", "approve", "approve", "return", "reject")),
        twist=st.sampled_from(
            ("", "", "", "foreign", "old", "round", "unticked", "no_reason", "to:unit_review",
             "to:edit_proof2", "to:second_review", "to:final_review")
        ),
        right=st.sampled_from((True, True, False)),
    )  # fmt: skip
    def decide_open(
        self, number: int, who: int, way: Surface, verdict: str, twist: str, right: bool
    ) -> None:
        """An open step is decided, by somebody who may or by anybody."""
        TALLY.rules["decide_open"] += 1
        item = self.pick(number, [i for i in self.model.items.values() if i.open()])
        row = self.pick(who, item.open())
        people = self.deciders(item, row) if right else []
        person = self.pick(who, people or sorted(PEOPLE))
        self._twisted(item, person, row.key, row.unit or None, verdict, way, twist)

    @precondition(lambda self: any(i.open() for i in self.model.items.values()))
    @rule(number=st.integers(0, 9), who=st.integers(0, 99), way=st.sampled_from(SURFACES))
    def decide_twice(self, number: int, who: int, way: Surface) -> None:
        """Somebody who decided or wrote before decides at another tier or proof."""
        TALLY.rules["decide_twice"] += 1
        item = self.pick(number, [i for i in self.model.items.values() if i.open()])
        row = self.pick(who, item.open())
        before = sorted(item.apart(row)) or [item.author]
        person = self.pick(who, before)
        missing = self.model.standing(person, item, row) is None
        self.tick()
        if missing and person not in self.model.disabled:
            held = self.model.grant(
                person, row.role, row.unit or item.unit, self.model.now + timedelta(hours=2)
            )
            held.grant_id = self.world.grant(
                person, row.role, row.unit or item.unit, self.model.now + timedelta(hours=2)
            )
        self._twisted(item, person, row.key, row.unit or None, "approve", way, "")

    @precondition(lambda self: self.said)
    @rule(
        number=st.integers(0, 99), way=st.sampled_from(SURFACES),
        twist=st.sampled_from(("", "", "", "body", "person")),
    )  # fmt: skip
    def replay(self, number: int, way: Surface, twist: str) -> None:
        """A decision comes again by another way in, as it was or changed."""
        TALLY.rules["replay"] += 1
        item_id, person, body, key, _ = self.pick(number, self.said)
        item = self.model.items[item_id]
        if twist == "body":
            body = body | {"opinion": body["opinion"] + "。"}
        elif twist == "person":
            person = "chief" if person != "chief" else "deputy_b"
        content = next((c for c, d in item.digests.items() if d == body["digest"]), None)
        self._decide_as(item, person, body, key, content, way)

    @rule(
        number=st.integers(0, 9), who=st.integers(0, 99),
        right=st.sampled_from((True, True, False)),
        way=st.sampled_from(SURFACES[:3]),
        change=st.sampled_from(("wording", "substance", "sneaky", "source", "same", "back")),
        base=st.sampled_from(("", "", "", "foreign", "old")),
        proofread=st.sampled_from((True, True, True, False)),
    )  # fmt: skip
    def edit(
        self, number: int, who: int, right: bool, way: Surface, change: str, base: str,
        proofread: bool,
    ) -> None:  # fmt: skip
        """A new version, in an edit step or as an answer after a return."""
        TALLY.rules["edit"] += 1
        item = self.item(number)
        person = self.pick(who, sorted(PEOPLE))
        if right:
            may = [p for p in sorted(PEOPLE) if self._may_edit(p, item)]
            person = self.pick(who, may or [item.author])
        self._edit(item, person, way, change, base, proofread)

    @rule(
        number=st.integers(0, 9), who=st.integers(0, 9), at=st.sampled_from((EDIT, SECOND, SECOND)),
        change=st.sampled_from(("wording", "substance", "sneaky", "source")),
        way=st.sampled_from(SURFACES[:3]),
    )  # fmt: skip
    def edit_in_time(self, number: int, who: int, at: str, change: str, way: Surface) -> None:
        """An item is taken to an edit step of the center, and its text is changed there."""
        item = self.item(number)
        for _ in range(3):
            if not self.world.engine.up or any(row.key == at for row in item.open()):
                break
            self.approve_next(item, way)
        row = next((row for row in item.open() if row.key == at), None)
        if row is None or item.status != "in_review":
            return
        may = [p for p in sorted(PEOPLE) if self._may_edit(p, item) and self.model.sees(p, item)]
        if may:
            TALLY.rules["edit_in_time"] += 1
            link = self.write_letter(who, 72, running=True, about=row)
            self._edit(item, self.pick(who, may), way, change, "")
            if link is not None:
                self.press(link, "approve", True)

    def _may_edit(self, person: str, item: Item) -> bool:
        if person in self.model.disabled:
            return False
        if item.status == "returned":
            return (("info_officer", item.unit) in self.model.roles(person)
                    or ("unit_head", item.unit) in self.model.roles(person))  # fmt: skip
        rows = [r for r in item.open() if r.key in (UNIT, EDIT, SECOND)]
        return any(self.model.standing(person, item, row) for row in rows)

    def _edit(
        self, item: Item, person: str, way: Surface, change: str, base: str, proofread: bool = True
    ) -> None:
        self.texts += 1
        title, text, source = item.content
        body: dict[str, Any] = {"change": "substance" if change == "substance" else "wording"}
        if change in ("wording", "substance"):
            text = text.rstrip("。") + "，" + "林草生机盎然"[: 1 + self.texts % 6] + "。"
        elif change == "sneaky":
            text = text + f"另有{self.texts}人。"
        elif change == "source":
            source = tuple(
                sorted((dict(source) | {"url": f"https://www.news.cn/{self.texts}"}).items())
            )
        elif change == "back":
            title, text, source = item.texts[0].content
        content = (title, text, source)
        if content[:2] != item.content[:2]:
            body |= {"title": title, "body": text}
        if source != item.content[2]:
            body["source"] = dict(source)
        if not proofread:
            body["proofread"] = False
        based: Content | None = item.content
        if base == "foreign":
            based = None
        elif base == "old":
            based = item.texts[0].content
        body["base_digest"] = item.digests[based] if based else "sha256:" + "1" * 64
        answering = item.status == "returned"
        expected = self.expect(
            lambda: self.model.write(
                person, item.id, based, content, change != "substance", proofread
            )
        )
        answer = self.send(way, person, "version", item.id, body, expected)
        self.refused(answer, way)
        self.after(item, answer, "answered" if answering else "edited")

    # --- links in letters -------------------------------------------------------------------------

    def write_letter(
        self,
        number: int,
        hours: float,
        *,
        running: bool = False,
        to: str = "",
        about: Row | None = None,
    ) -> Link | None:
        """Put a link into the letter of somebody who is asked; None when nobody is."""
        asked = [
            one for one in self.world.asked_by_letter()
            if to in ("", one[1])
            and (not running or self.model.items[one[2]].status in RUNNING)
            and (about is None or about in self.model.items[one[2]].open())
            and (about is None or (about.key, about.unit) == one[3:])
        ]  # fmt: skip
        if not asked:
            return None
        notice, person, submission, key, unit = self.pick(number, asked)
        item = self.model.items[submission]
        [step] = [r for r in item.open() if (r.key, r.unit) == (key, unit)]
        self.tick()
        token = self.world.letter(notice, timedelta(hours=hours))
        if token is None:  # told of the step, or asked no more
            return None
        until = self.world.now + timedelta(hours=hours)
        link = Link(token, person, item, step, item.content, until)
        self.model.links.append(link)
        return link

    @precondition(lambda self: len(self.model.links) < 12)
    @rule(number=st.integers(0, 99), hours=st.sampled_from((72, 72, 0.2)))
    def letter(self, number: int, hours: float) -> None:
        """Somebody who is asked gets a letter."""
        if self.write_letter(number, hours) is not None:
            TALLY.rules["letter"] += 1

    @precondition(lambda self: self.model.links)
    @rule(
        number=st.integers(0, 99), strong=st.sampled_from((True, True, False)),
        verdict=st.sampled_from(("approve", "approve", "return", "reject")),
        ticked=st.sampled_from((True, True, False)),
    )  # fmt: skip
    def press_link(self, number: int, strong: bool, verdict: str, ticked: bool) -> None:
        """A letter is opened at any later time, by whom it was sent to."""
        TALLY.rules["press_link"] += 1
        self.press(self.pick(number, self.model.links[-3:]), verdict, strong, ticked)

    @rule(
        number=st.integers(0, 99),
        off=st.sampled_from((None, -1, None, 0, None, 1, None, -1)),
        again=st.booleans(),
    )
    def link_in_time(self, number: int, off: int | None, again: bool) -> None:
        """A step is decided by a letter: at once, or around the moment at which the link ends."""
        link = self.write_letter(number, 1, running=True)
        if link is None:
            return
        TALLY.rules["link_in_time"] += 1
        if off is not None:
            self.move(link.until + timedelta(seconds=off))
        if self.model.asks_factor(link.person, link.item):
            self.press(link, "approve", False)
        self.press(link, "approve", True)
        if again and link.used:
            self.press(link, "approve", True)
            self.press(link, "approve", True, opinion="。")

    def press(
        self, link: Link, verdict: str, strong: bool, ticked: bool = True, opinion: str = ""
    ) -> None:
        item, row = link.item, link.row
        body: dict[str, Any] = {
            "verdict": verdict, "checklist": CHECKLIST if ticked else {},
            "opinion": opinion or ("" if verdict == "approve" else f"{CANARY}请核"),
            "findings_seen": seen_findings(self.world, item.id),
        }  # fmt: skip
        if verdict == "return":
            body |= {"reason_code": "facts", "return_to": ""}
        asked = {
            "step": row.key, "unit": row.unit or None, "verdict": verdict, "content": link.content,
            "opinion": body["opinion"], "reason_code": body.get("reason_code", ""),
            "return_to": "", "ticked": ticked, "stale_round": False,
            "print": json.dumps(body, sort_keys=True),
        }  # fmt: skip
        known = bool(link.used)
        expected = self.expect(lambda: self.model.press(link, asked, strong))
        answer, opened = self.world.press(link.token, body, strong)
        TALLY.codes[f"link:{answer.code}"] += 1
        assert answer.code == expected, (
            f"{answer.code}, the model says {expected}: {verdict} by a link of {link.person} "
            f"{answer.body}"
        )
        if opened and answer.code not in ("ok", "malformed"):
            self.entries["refused"] += 1
        if answer.code != "ok":
            return
        if known:
            self.turns()
            return
        self.acknowledged[answer.body["decision_id"]] = (
            item.id, link.person, verdict, item.digests[link.content]
        )  # fmt: skip
        self.after(item, answer, "decided")

    # --- other acts -----------------------------------------------------------------------------

    def act(self, item: Item, person: str, way: Surface, deed: Any, **body: Any) -> str:
        expected = self.expect(deed)
        answer = self.send(way, person, "act", item.id, body, expected)
        self.refused(answer, way)
        self.after(item, answer, body["act"])
        return answer.code

    @rule(
        number=st.integers(0, 9), way=st.sampled_from(SURFACES[:3]),
        person=st.sampled_from((*AUTHORS, "chief", "afforest_head")), own=st.booleans(),
    )  # fmt: skip
    def withdraw(self, number: int, way: Surface, person: str, own: bool) -> None:
        item = self.item(number)
        if own and len(self.model.items) < 2:  # leave most runs something to do
            return
        TALLY.rules["withdraw"] += 1
        person = item.author if own else person
        self.act(item, person, way, lambda: self.model.withdraw(person, item.id), act="withdraw")

    @rule(
        number=st.integers(0, 9), way=st.sampled_from(SURFACES[:3]),
        person=st.sampled_from(("chief", "chief", "bureau_chief", "leader_eco", "editor_a")),
        reason=st.sampled_from(("等通知", "等通知", "")),
    )  # fmt: skip
    def hold(self, number: int, way: Surface, person: str, reason: str) -> None:
        TALLY.rules["hold"] += 1
        item = self.item(number)
        self.act(
            item, person, way, lambda: self.model.hold(person, item.id, reason),
            act="hold", reason=reason,
        )  # fmt: skip

    @rule(
        number=st.integers(0, 9), way=st.sampled_from(SURFACES[:3]), prefer=st.booleans(),
        person=st.sampled_from(("chief", "chief", "bureau_chief", "leader_eco", "editor_a")),
    )  # fmt: skip
    def release(self, number: int, way: Surface, person: str, prefer: bool) -> None:
        held = [i for i in self.model.items.values() if i.status == "held"]
        if not held and number > 1:
            return
        TALLY.rules["release"] += 1
        item = self.pick(number, held) if held and prefer else self.item(number)
        self.act(item, person, way, lambda: self.model.release(person, item.id), act="release")

    @rule(
        number=st.integers(0, 9), way=st.sampled_from(SURFACES[:3]),
        person=st.sampled_from(
            ("chief", "deputy_b", "bureau_chief", "leader_eco", "reviewer_b", "director",
             "leader_pub", "editor_a", "afforest_head")
        ),
        to=st.sampled_from(
            (("work_news", ""), ("important", ""), ("public_opinion", ""), ("emergency", "minor"),
             ("emergency", "major"), ("emergency", ""))
        ),
        reason=st.sampled_from(("按程序", "按程序", "")),
    )  # fmt: skip
    def classify(
        self, number: int, way: Surface, person: str, to: tuple[str, str], reason: str
    ) -> None:
        """Raise or lower."""
        item = self.item(number)
        TALLY.rules["classify"] += 1
        body: dict[str, Any] = {"act": "set_category", "category": to[0], "reason": reason}
        if to[1]:
            body["level"] = to[1]
        self.act(
            item, person, way,
            lambda: self.model.classify(person, item.id, to[0], to[1], reason), **body,
        )  # fmt: skip

    @rule(
        number=st.integers(0, 9), way=st.sampled_from(SURFACES[:3]), from_open=st.booleans(),
        person=st.sampled_from(sorted(PEOPLE)), to=st.sampled_from(sorted(PEOPLE)),
        hours=st.sampled_from((-1, 1, 3, 200)),
        categories=st.sampled_from(((), (), ("work_news",), ("emergency", "important"))),
    )  # fmt: skip
    def delegate(
        self, number: int, way: Surface, person: str, to: str, hours: int,
        categories: tuple[str, ...], from_open: bool,
    ) -> None:  # fmt: skip
        TALLY.rules["delegate"] += 1
        item = self.item(number)
        if from_open and item.open():
            holders = sorted(self.model.holders(item.open()[0].role, item, item.open()[0]))
            person = holders[0] if holders else person
        until = self.world.now + timedelta(hours=hours)
        code = self.act(
            item, person, way,
            lambda: self.model.delegate(person, item.id, to, until, categories),
            act="delegate", to=to, until=until.isoformat(), categories=list(categories),
        )  # fmt: skip
        rows = item.open()
        if code == "ok" and rows and to not in self.model.disabled:
            self._twisted(item, to, rows[0].key, rows[0].unit or None, "approve", way, "")

    @rule(
        number=st.integers(0, 9), way=st.sampled_from(SURFACES), off=st.sampled_from((-1, 0, 1)),
        to=st.sampled_from(("director", "editor_b", "supervisor_a", "forest_head")),
    )  # fmt: skip
    def outlive_a_trust(self, number: int, way: Surface, off: int, to: str) -> None:
        """Somebody trusted for an hour decides around the moment at which that ends (A-28)."""
        item = self.item(number)
        row = next(iter(item.open()), None)
        givers = sorted(self.model.holders(row.role, item, row)) if row else []
        givers = [p for p in givers if p != to and self.model.sees(p, item)]
        if row is None or not givers or to in self.model.disabled:
            return
        TALLY.rules["outlive_a_trust"] += 1
        until = self.world.now + timedelta(hours=1)
        self.act(
            item, givers[0], SURFACES[0],
            lambda: self.model.delegate(givers[0], item.id, to, until, ()),
            act="delegate", to=to, until=until.isoformat(),
        )  # fmt: skip
        self.move(until + timedelta(seconds=off))
        if row.state == "open":
            self._twisted(item, to, row.key, row.unit or None, "approve", way, "")

    @precondition(lambda self: any(i.open() for i in self.model.items.values()))
    @rule(
        number=st.integers(0, 9), who=st.integers(0, 99), way=st.sampled_from(SURFACES[:3]),
        by_superior=st.booleans(), right=st.sampled_from((True, True, False)),
        to=st.sampled_from(sorted(PEOPLE)), fits=st.sampled_from((True, True, True, False)),
        reason=st.sampled_from(("出差", "出差", "")), after=st.sampled_from(SURFACES),
    )  # fmt: skip
    def hand_over(
        self, number: int, who: int, way: Surface, by_superior: bool, right: bool, to: str,
        fits: bool, reason: str, after: Surface,
    ) -> None:  # fmt: skip
        """A step is handed to another; who had it tries it all the same, then who has it now."""
        TALLY.rules["reassign" if by_superior else "transfer"] += 1
        item = self.pick(number, [i for i in self.model.items.values() if i.open()])
        row = self.pick(who, item.open())
        had = self.deciders(item, row)
        person = self.pick(who, sorted(PEOPLE))
        if right:
            person = "supervisor_a" if by_superior else self.pick(who, had or [person])
        if fits:
            others = [p for p in had if p != person] or had
            to = self.pick(who // 3, others or [to])
        self.act(
            item, person, way,
            lambda: self.model.hand_over(
                person, item.id, row.key, row.unit, to, by_superior, reason
            ),
            act="reassign" if by_superior else "transfer", step=row.key, to=to, reason=reason,
            **({"unit": row.unit} if row.unit else {}),
        )  # fmt: skip
        for one in [*[p for p in had if p != to][:1], to]:
            if row.state == "open":
                self._twisted(item, one, row.key, row.unit or None, "approve", after, "")

    @rule(
        number=st.integers(0, 9), way=st.sampled_from(SURFACES[:3]), right=st.booleans(),
        person=st.sampled_from(("chief", "bureau_chief", "leader_eco", "deputy_b", "editor_a")),
        off=st.sampled_from((None, -1, 0, 1)), last=st.booleans(),
    )  # fmt: skip
    def renew(
        self, number: int, way: Surface, right: bool, person: str, off: int | None, last: bool
    ) -> None:  # fmt: skip
        """An authorisation runs anew, in time or around its end with the engine away (A-18)."""
        found = self.at_the_door(number)
        item = found[0] if found else self.item(number)
        TALLY.rules["renew"] += 1
        final = next((r for r in item.rows if r.key == FINAL and r.state == "decided"), None)
        if right and final is not None:
            may = [p for p in self.deciders(item, final) if self.model.sees(p, item)]
            person = self.pick(number, may or [person])
        if off is not None and item.leave is not None:
            self.world.engine.up = False
            self.move(max(self.world.now, item.leave.until + timedelta(seconds=off)))
        self.act(
            item, person, way, lambda: self.model.renew(person, item.id),
            act="renew_authorisation",
        )  # fmt: skip
        if last and found is not None:
            self.publish(*found, "live", "")
        if not self.world.engine.up:
            self.heal()

    # --- the roster -----------------------------------------------------------------------------

    @rule(given=st.sampled_from(GRANTABLE), hours=st.sampled_from((None, 1, 30)))
    def grant(self, given: tuple[str, str, str], hours: int | None) -> None:
        person, role, unit = given
        if (role, unit) in self.model.roles(person) or person in self.model.disabled:
            return
        TALLY.rules["grant"] += 1
        self.tick()
        until = self.world.now + timedelta(hours=hours) if hours else None
        held = self.model.grant(person, role, unit, until)
        held.grant_id = self.world.grant(person, role, unit, until)

    @rule(number=st.integers(0, 99), way=st.sampled_from(SURFACES))
    def revoke(self, number: int, way: Surface) -> None:
        """A role ends; whoever held it tries the step that waits for it at once."""
        roles = {r.role for i in self.model.items.values() for r in i.open()}
        in_force = [h for h in self.model.held if h.holds(self.model.now) and h.role in roles]
        if not in_force:
            return
        TALLY.rules["revoke"] += 1
        self.tick()
        held = self.pick(number, in_force)
        self.world.revoke(held.person, held.grant_id)
        self.model.revoke(held)
        for item in list(self.model.items.values()):
            for row in item.open():
                if row.role == held.role:
                    self._twisted(item, held.person, row.key, row.unit or None, "approve", way, "")
                    break
        self.tick()
        if number % 3:  # most come back, else nothing would ever be published
            again = self.model.grant(held.person, held.role, held.unit, None)
            again.grant_id = self.world.grant(held.person, held.role, held.unit, None)

    @rule(
        person=st.sampled_from(("deputy_b", "editor_a", "chief", "afforest_head", "reviewer_b")),
        way=st.sampled_from(SURFACES), back=st.sampled_from((True, True, False)),
    )  # fmt: skip
    def disable(self, person: str, way: Surface, back: bool) -> None:
        """An account is closed: every way in is, at once, and the old keys stay dead."""
        if person in self.model.disabled:
            return
        TALLY.rules["disable"] += 1
        link = self.write_letter(0, 72, running=True, to=person)
        self.tick()
        self.world.disable(person)
        self.model.disable(person)
        item = next(iter(self.model.items.values()))
        self._twisted(item, person, SECOND, None, "approve", way, "")
        if back:
            self.enable(person)
        if link is not None:
            self.press(link, "approve", True)

    @precondition(lambda self: self.model.disabled)
    @rule(number=st.integers(0, 9))
    def enable_somebody(self, number: int) -> None:
        TALLY.rules["enable"] += 1
        self.enable(self.pick(number, sorted(self.model.disabled)))

    def enable(self, person: str) -> None:
        self.tick()
        self.world.enable(person)
        self.model.enable(person)
        token, session = self.world.dead[person]
        for headers in (
            {"Authorization": f"Bearer {token}"}, {"Cookie": f"sanshen_session={session}"}
        ):  # fmt: skip
            old = self.world.run(self.world.web.get("/api/v1/inbox", headers=headers))
            assert answered(old).code == "not_signed_in", "a session survived"

    # --- time, crashes, and what operators do ---------------------------------------------------

    @rule(
        number=st.integers(0, 99), off=st.sampled_from((-1, 0, 1)), steps=st.sampled_from((0, 0, 3))
    )
    def go_to_a_deadline(self, number: int, off: int, steps: int) -> None:
        """The next moments at which something happens, a second before, at, and after."""
        moments = [
            *(at for i in self.model.items.values() for at in self.model.moments(i)),
            *(t.until for t in self.model.trusts),
            *(h.until for h in self.model.held if h.until),
        ]
        ahead = sorted({at for at in moments if at >= self.world.now})
        if not ahead:
            return
        TALLY.rules["go_to_a_deadline"] += 1
        target = ahead[min(number % 4, len(ahead) - 1)] + timedelta(seconds=off)
        for _ in range(steps):  # the timers on the way; else a worker that was away
            coming = [p.next_at for p in self.world.positions.values() if p.next_at]
            coming = [at for at in coming if self.world.now < at < target]
            if coming:
                self.move(min(coming))
        self.move(max(target, self.world.now))

    @rule(minutes=st.sampled_from((1, 20, 90)))
    def wait(self, minutes: int) -> None:
        TALLY.rules["wait"] += 1
        self.move(self.world.now + timedelta(minutes=minutes))

    def move(self, to: datetime) -> None:
        self.world.now = self.model.now = to
        if self.world.engine.up:
            for item in list(self.model.items.values()):
                position = self.world.positions.get(item.id)
                due = position and position.next_at and position.next_at <= to
                if due or any(at <= to for at in self.model.moments(item)):
                    self.turn(item)

    @precondition(lambda self: any(i.open() for i in self.model.items.values()))
    @rule(number=st.integers(0, 9), hours=st.sampled_from((30, 300)))
    def sit_out_a_hold(self, number: int, hours: int) -> None:
        """While an item is held no silence counts, whoever makes its workflow take a turn."""
        if not self.world.engine.up:
            return
        TALLY.rules["sit_out_a_hold"] += 1
        item = self.pick(number, [i for i in self.model.items.values() if i.open()])
        self.act(
            item, "chief", SURFACES[0], lambda: self.model.hold("chief", item.id, "按程序"),
            act="hold", reason="按程序",
        )  # fmt: skip
        self.move(self.world.now + timedelta(hours=hours))
        self.turn(item)

    @rule()
    def engine_away(self) -> None:
        """Between commit and nudge: what is acknowledged waits in the ledger."""
        if not self.world.engine.up:
            return
        TALLY.rules["engine_away"] += 1
        self.world.engine.up = False

    @rule()
    def heal(self) -> None:
        """The engine is back: the relay nudges what is owed, timers that were due fire."""
        if self.world.engine.up:
            return
        TALLY.rules["heal"] += 1
        self.world.engine.up = True
        self.turns()
        self.move(self.world.now)

    @rule(number=st.integers(0, 9), times=st.integers(1, 3))
    def operator_reset(self, number: int, times: int) -> None:
        """Forged nudges, a reset workflow, an activity run by hand: turns that nobody owes."""
        if not self.world.engine.up:
            return
        TALLY.rules["operator_reset"] += 1
        item = self.item(number)
        for _ in range(times):
            self.turn(item)

    @precondition(lambda self: any(i.open() for i in self.model.items.values()))
    @rule(number=st.integers(0, 9), way=st.sampled_from(SURFACES[:2]))
    def decide_on_a_full_disk(self, number: int, way: Surface) -> None:
        """What can't be committed is not acknowledged; the same key is taken afterwards."""
        item = self.pick(number, [i for i in self.model.items.values() if i.open()])
        row = item.open()[0]
        people = self.deciders(item, row)
        if not people or item.status == "held":
            return
        TALLY.rules["full_disk"] += 1
        key = new_id()
        self.world.token(people[0])
        body: dict[str, Any] = {
            "step": row.key, "verdict": "approve", "digest": item.digests[item.content],
            "opinion": "", "checklist": CHECKLIST,
            "findings_seen": seen_findings(self.world, item.id),
        } | ({"unit": row.unit} if row.unit else {})  # fmt: skip
        with self.world.full_disk():
            self.send(way, people[0], "decide", item.id, body, "ledger_unavailable", key)
        self._decide_as(item, people[0], body, key, item.content, way)

    # --- publishing -----------------------------------------------------------------------------

    def publish(self, item: Item, channel: str, generation: int, answer: str, crash: str) -> None:
        """Run the publisher once and compare what came of it."""
        expected = self._expected(item, channel, generation, answer, crash)
        got = self.world.publish(item.id, channel, generation, answer, crash)
        TALLY.codes[f"publish:{got}"] += 1
        assert got == expected, f"{item.id} on {channel}: {got}, the model says {expected}"
        if self.world.engine.up:
            self.turn(item)

    def _expected(self, item: Item, channel: str, generation: int, answer: str, crash: str) -> str:
        """Return what the publisher says, and let the model hold what it leaves behind."""
        open_gate = self.model.gate(item, channel, generation)
        sent = next((s for s in item.out.get(channel, []) if s.generation == generation), None)
        if sent is None:
            if not open_gate or item.leave is None:
                return "GateClosed"
            sent = Sending(generation, item.content, item.leave)
            item.out.setdefault(channel, []).append(sent)
        elif sent.state in ("live", "failed"):
            return "crash" if crash == "after_claim" else sent.state
        elif not open_gate and not sent.tried:
            return "GateClosed"
        asks = sent.in_doubt or sent.state in ("accepted", "unknown")
        sent.tried = sent.in_doubt = True
        if crash == "after_claim":
            return "crash"
        found = self.world.platform.holds.get(f"{item.id}-{channel}-{generation}")
        state = found if asks and found else ""
        if not state and (sent.state == "accepted" or not open_gate):
            state = "failed"
        if not state:
            if answer == "lost":
                return "ChannelFailed"
            if crash == "after_send":
                return "crash"
            state = "live" if answer == "torn" else answer
        if crash == "before_record":
            return "crash"
        sent.state, sent.in_doubt = state, False
        return state

    @rule(number=st.integers(0, 9), answer=st.sampled_from(ANSWERS), crash=st.sampled_from(CRASHES))
    def publish_what_is_due(self, number: int, answer: str, crash: str) -> None:
        found = self.at_the_door(number)
        if found is None:
            return
        TALLY.rules["publish_what_is_due"] += 1
        item, channel, generation = found
        self.publish(item, channel, generation, answer, crash)

    @rule(
        number=st.integers(0, 9), channel=st.sampled_from(sorted(PLACES)),
        generation=st.sampled_from((1, 1, 2, 3)), answer=st.sampled_from(ANSWERS),
        crash=st.sampled_from(CRASHES),
    )  # fmt: skip
    def publish_by_hand(
        self, number: int, channel: str, generation: int, answer: str, crash: str
    ) -> None:
        """Somebody starts a publication workflow by hand, for anything."""
        TALLY.rules["publish_by_hand"] += 1
        self.publish(self.item(number), channel, generation, answer, crash)

    @rule(
        number=st.integers(0, 9), way=st.sampled_from(SURFACES[:3]),
        person=st.sampled_from(("publisher_a", "publisher_b", "pest_operator", "chief")),
        channel=st.sampled_from(("site", "site", "mini_pest")), resolve=st.booleans(),
    )  # fmt: skip
    def after_a_failure(
        self, number: int, way: Surface, person: str, channel: str, resolve: bool
    ) -> None:
        """A person retries, or says what became of an unknown one."""
        item = self.item(number)
        if not any(item.out.values()) and number > 1:
            return
        TALLY.rules["after_a_failure"] += 1
        if resolve:
            last = item.out.get(channel, [])[-1:]
            key = f"{item.id}-{channel}-{last[0].generation}" if last else ""
            live = key in self.world.platform.holds
            self.act(
                item, person, way, lambda: self.model.resolve(person, item.id, channel, live),
                act="resolve_unknown", channel=channel, published=live,
            )  # fmt: skip
        else:
            self.act(
                item, person, way, lambda: self.model.retry(person, item.id, channel),
                act="retry_channel", channel=channel,
            )  # fmt: skip

    @rule(number=st.integers(0, 9), off=st.sampled_from((-1, 0, 1)))
    def publish_late(self, number: int, off: int) -> None:
        """The engine was away until an authorisation ran out, and the publisher comes first."""
        found = self.at_the_door(number)
        if found is None:
            return
        TALLY.rules["publish_late"] += 1
        item, channel, generation = found
        assert item.leave is not None
        self.world.engine.up = False
        self.move(max(self.world.now, item.leave.until + timedelta(seconds=off)))
        self.publish(item, channel, generation, "live", "")
        self.heal()

    @rule(number=st.integers(0, 99), sabotage=st.sampled_from(sorted(SABOTAGE)))
    def tamper(self, number: int, sabotage: str) -> None:
        """The ledger itself is tampered with, past every act: the gate closes; undone after."""
        found = self.at_the_door(number)
        if found is None:
            return
        TALLY.rules["tamper"] += 1
        item, channel, generation = found
        sent = item.out.get(channel, [])
        if any(s.tried for s in sent):  # what may have arrived is looked after, not sent
            return
        slots = {slot for slot in item.plan() if slot[0] != PROOF3}
        slots.add((PROOF3, item.channels[channel]))

        def changed(session: Any) -> str:
            SABOTAGE[sabotage](session, item.id, slots, number)
            session.flush()
            session.expire_all()
            try:
                publishing.claim(session, item.id, channel, generation, self.world.now)
            except RefusedError as refusal:
                return refusal.code
            finally:
                session.rollback()
            return "open"

        expected = "open" if sabotage == "nothing" else "gate_closed"
        assert self.world.ledger.write(changed) == expected, f"the gate after: {sabotage}"

    # --- macros ---------------------------------------------------------------------------------

    def at_the_door(self, number: int) -> tuple[Item, str, int] | None:
        """Return something that is to be sent, taking an item that far if need be."""
        items = list(self.model.items.values())
        items = items[number % len(items) :] + items[: number % len(items)]
        for may_act in (False, True):
            for item in items:
                if may_act:
                    self.take_to_the_door(item, SURFACES[0])
                for channel, generation in self.model.deeds(item):
                    return item, channel, generation
        return None

    def take_to_the_door(self, item: Item, way: Surface) -> None:
        """Approve step after step until there is something to send."""
        if not self.world.engine.up:
            self.heal()
        for _ in range(12):
            if item.status not in RUNNING | {"returned", "held"} or self.model.deeds(item):
                return
            if not self.approve_next(item, way):
                return

    def approve_next(self, item: Item, way: Surface) -> bool:
        """Approve whatever is open, by somebody who may; False when nobody can go on."""
        if item.status == "returned":
            self._edit(item, item.author, way, "same", "")
            return item.status != "returned"
        if item.status == "held":
            self.act(
                item, "chief", way, lambda: self.model.release("chief", item.id), act="release"
            )
            return item.status != "held"
        for row in item.open():
            people = self.deciders(item, row)
            if people:
                self._decide(
                    item, people[0], row.key, row.unit or None, "approve", way, item.content
                )
                return True
        return False

    @rule(number=st.integers(0, 9), steps=st.integers(1, 4), way=st.sampled_from(SURFACES[:3]))
    def go_on(self, number: int, steps: int, way: Surface) -> None:
        """Some steps are approved as in a plain course."""
        TALLY.rules["go_on"] += 1
        item = self.item(number)
        for _ in range(steps):
            if not self.world.engine.up or not self.approve_next(item, way):
                return

    @rule(number=st.integers(0, 9), way=st.sampled_from(SURFACES[:3]), last=st.booleans())
    def go_through(self, number: int, way: Surface, last: bool) -> None:
        """The whole course, and, if so, out to the channels."""
        TALLY.rules["go_through"] += 1
        item = self.item(number)
        self.take_to_the_door(item, way)
        if last:
            for channel, generation in self.model.deeds(item):
                self.publish(item, channel, generation, "live", "")

    # --- reading, stopping, forging requests ----------------------------------------------------

    @rule(number=st.integers(0, 9), person=st.sampled_from(sorted(PEOPLE)))
    def look(self, number: int, person: str) -> None:
        """Everything that can be read is; nothing changes, and who may not see sees nothing."""
        if person in self.model.disabled:
            return
        TALLY.rules["look"] += 1
        item = self.item(number)
        headers = {"Authorization": f"Bearer {self.world.token(person)}"}
        before = self._everything()
        base = f"/api/v1/submissions/{item.id}"
        sees = self.model.sees(person, item)
        for path in ("", "/timeline", "/versions", "/diff?from=1&to=1", "/form.html",
                     f"/preview?channel={next(iter(item.channels))}"):  # fmt: skip
            got = self.world.run(self.world.web.get(base + path, headers=headers))
            assert got.status_code == (200 if sees else 404), (person, path, got.status_code)
            assert sees or CANARY not in got.text
        # a stand-in without any role is asked, but has nothing to act by
        shown = any(self.model.sees(person, i) or person in r.asked
                    for i in self.model.items.values() for r in i.rows)  # fmt: skip
        for path in ("/api/v1/inbox", "/api/v1/submissions"):
            got = self.world.run(self.world.web.get(path, headers=headers))
            assert shown or CANARY not in got.text, (person, path)
        assert self._everything() == before, "a GET changed something"

    def _everything(self) -> list[tuple[Any, ...]]:
        tables = ("audit", "decision", "step", "submission", "version", "outbox", "publication")
        return [row for table in tables for row in self.world.sql(f"SELECT * FROM {table}")]

    @rule(number=st.integers(0, 9), given=st.sampled_from(("", "wrong")))
    def without_csrf(self, number: int, given: str) -> None:
        """Another site's page makes the browser of somebody who may decide send a decision."""
        found = [
            (i, r, p) for i in self.model.items.values() for r in i.open()
            for p in self.deciders(i, r)[:1]
        ]  # fmt: skip
        if not found:
            return
        TALLY.rules["without_csrf"] += 1
        item, row, person = self.pick(number, found)
        secret, _ = self.world.cookie(person)
        headers = {"Cookie": f"sanshen_session={secret}"}
        if given:
            headers["X-CSRF-Token"] = given
        body = {"step": row.key, "verdict": "approve", "digest": item.digests[item.content],
                "checklist": CHECKLIST}  # fmt: skip
        path = f"/api/v1/submissions/{item.id}/decisions"
        got = answered(self.world.run(self.world.web.post(path, json=body, headers=headers)))
        assert got.code == "not_allowed", got

    @rule(
        number=st.integers(0, 9), way=st.sampled_from(SURFACES), kind=st.sampled_from(
            ("submit", "version", "decide", "act")
        )
    )  # fmt: skip
    def stop_finding(self, number: int, way: Surface, kind: str) -> None:
        """A classified marking in any text of any act: nothing of it is stored."""
        if kind not in way.kinds:
            return
        TALLY.rules["stop_finding"] += 1
        item = self.item(number)
        self.stops += 1
        mark = f"never-kept-{self.stops}-"  # in letters that no encoding writes otherwise
        text = f"{STOPPED}{mark}"
        body: dict[str, Any] = {
            "submit": {
                "title": "护林巡查纪实", "body": text, "category": "work_news",
                "kind": "disclosure", "source": {"type": "own"}, "channels": ["site"],
                "secrecy_pledge": True, "proofread": True,
            },
            "version": {"base_digest": item.digests[item.content], "body": text},
            "decide": {"step": UNIT, "verdict": "approve", "opinion": text,
                       "digest": item.digests[item.content]},
            "act": {"act": "comment", "reason": text},
        }[kind]  # fmt: skip
        person = item.author
        closed = person in self.model.disabled
        expected = "not_signed_in" if closed and way.name != "reviews" else "screening_stop"
        self.send(way, person, kind, item.id, body, expected)
        assert mark.encode() not in self.world.bytes_kept(), "a stopped text was stored"

    # --- what may never happen ------------------------------------------------------------------

    @invariant()
    def five_things_never_happen(self) -> None:
        if not hasattr(self, "world"):
            return
        self._decisions_are_those_acknowledged()
        self._what_was_sent_was_reviewed()
        self._no_channel_twice()
        self._trail_is_whole()
        for line in self.world.engine.history:
            assert CANARY not in line, "a text in the history"
        self.world.engine.history.clear()

    def _decisions_are_those_acknowledged(self) -> None:
        """No decision lost, doubled or made by silence."""
        rows = self.world.sql("SELECT id, submission_id, person_id, verdict, digest FROM decision")
        assert len(rows) == len(self.acknowledged), "decisions nobody was told of, or lost ones"
        for id_, *rest in rows:
            assert self.acknowledged.get(id_) == tuple(rest), (id_, rest)

    def _what_was_sent_was_reviewed(self) -> None:
        """Every claim has three tiers and three proofs by people who are apart."""
        for id_, submission, digest, at in self.world.sql(
            "SELECT id, submission_id, digest, at FROM publication"
        ):
            said = self.world.sql(
                "SELECT tier, proof, person_id, COALESCE(acting_for_id, person_id), digest "
                "FROM decision WHERE submission_id = ? AND verdict = 'approve' AND at <= ? "
                "AND lapsed_at IS NULL",
                submission, at,
            )  # fmt: skip
            item = self.model.items[submission]
            first = {p for tier, _, *people, _ in said if tier == 1 for p in people}
            groups = [{item.author}, first]
            for tier in (2, 3):
                groups.append(
                    {p for t, _, *people, d in said if t == tier and d == digest for p in people}
                )
            assert all(groups), f"{id_} went out with a tier missing"
            for index, one in enumerate(groups):
                assert not any(one & other for other in groups[index + 1 :]), "one person twice"
            proofs = [
                {p for _, proof, *people, d in said if proof == n and d == digest for p in people}
                for n in (2, 3)
            ]
            assert all(proofs) and not proofs[0] & proofs[1], "a proof is missing"

    def _no_channel_twice(self) -> None:
        """One generation arrives once; another follows only one that surely did not."""
        keys = [key for key, *_ in self.world.platform.sent]
        assert len(keys) == len(set(keys)), "a channel got one item twice"
        places = Counter((s, c) for _, s, c, *_ in self.world.platform.sent)
        assert all(n == 1 for n in places.values()), "two generations of one item are out"
        claimed = {
            f"{s}-{c}-{g}"
            for s, c, g in self.world.sql(
                "SELECT submission_id, channel, generation FROM publication"
            )
        }
        assert set(keys) <= claimed, "sent without a claim"
        for _, submission, channel, _, content in self.world.platform.sent:
            title = re.escape(self.model.items[submission].out[channel][0].content[0])
            assert re.search(title.encode(), content), "another text than the one proofed"

    def _trail_is_whole(self) -> None:
        """Every act and every refusal left its audit entry."""
        seen = Counter(
            {
                str(e): n
                for e, n in self.world.sql("SELECT event, COUNT(*) FROM audit GROUP BY event")
            }
        )
        for event, count in self.entries.items():
            assert seen[event] == count, f"{event}: {seen[event]} entries, {count} acts"
