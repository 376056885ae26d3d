"""What the regulation says should happen, written down a second time, without the product.

Nothing here imports the product: the routes are copied by hand from requirements 3.2 and 3.3, the
calendar from 3.4, who may do what from 1.8, the rest from the ambiguities A-1 … A-28. The model
answers every act with the code that the contract gives it, `ok` when the act is taken.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

BEIJING = timezone(timedelta(hours=8))
MIDNIGHT = timedelta()

# --- working time (3.4, A-30) -------------------------------------------------------------------

SPANS = (
    (timedelta(hours=8.5), timedelta(hours=12)),
    (timedelta(hours=13.5), timedelta(hours=17.5)),
)
WORKDAY = 7.5  # hours
OFF = [(1, 1, 3), (2, 15, 23), (4, 4, 6), (5, 1, 5), (6, 19, 21), (9, 25, 27), (10, 1, 7)]
DAYS_OFF = {date(2026, month, day) for month, a, b in OFF for day in range(a, b + 1)}
WORKED = {date(2026, *one) for one in ((1, 4), (2, 14), (2, 28), (5, 9), (9, 20), (10, 10))}


def spans(at: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the working time from a moment on."""
    day = at.astimezone(BEIJING).date()
    while True:
        if day in WORKED or (day not in DAYS_OFF and day.weekday() < 5):
            for begins, ends in SPANS:
                noon = datetime(day.year, day.month, day.day, tzinfo=BEIJING)
                if noon + ends > at:
                    yield max(noon + begins, at), noon + ends
        day += timedelta(days=1)


def worked(a: datetime, b: datetime) -> timedelta:
    """Return the working time between two moments."""
    total = timedelta()
    for begins, ends in spans(a):
        if begins >= b:
            return total
        total += min(ends, b) - begins
    raise AssertionError


def later(at: datetime, hours: float, works: bool) -> datetime:
    """Return the moment some hours later, of work or on the wall."""
    left = timedelta(hours=hours)
    if not works:
        return at + left
    for begins, ends in spans(at):
        if begins + left <= ends:
            return begins + left
        left -= ends - begins
    raise AssertionError


# --- routes (3.2, 3.3) --------------------------------------------------------------------------

UNIT, EDIT, SECOND, SIGN, OFFICE, FINAL, PROOF3 = (
    "unit_review", "edit_proof2", "second_review", "center_sign", "office_opinion",
    "final_review", "proof3_publish",
)  # fmt: skip
RECONFIRM = "unit_reconfirm"
ROLE = {
    UNIT: "unit_head", EDIT: "center_editor", SECOND: "center_deputy", SIGN: "center_chief",
    OFFICE: "office_reviewer", PROOF3: "publisher", RECONFIRM: "unit_head",
}  # fmt: skip
TIER = {UNIT: 1, SECOND: 2, FINAL: 3}
PLACE = {UNIT: 1.0, EDIT: 2.0, SECOND: 3.0, SIGN: 4.0, OFFICE: 4.5, FINAL: 5.0, PROOF3: 6.0}


@dataclass(frozen=True)
class Route:
    """One column of the table: limits in hours, step by step."""

    final: str
    works: bool
    limits: dict[str, float]
    superior_at: float  # share of the limit
    authorised_for: float  # hours, A-18
    reconfirm: float
    whole: float = 0.0
    floor: float = 0.0  # hours; 0: nothing is compressed
    parallel: bool = False  # center's signature beside the office's opinion


ROUTES = {
    "work_news": Route(
        "center_chief", True, {UNIT: 3.5, EDIT: 3, SECOND: 3, FINAL: 3.5, PROOF3: 2}, 1.5, 37.5, 2
    ),
    "repost_fast": Route(
        "center_chief", True, {UNIT: 2, SECOND: 2, FINAL: 2, PROOF3: 1}, 1.5, 37.5, 2
    ),
    "important": Route(
        "supervising_leader", True,
        {UNIT: 3.5, EDIT: 2, SECOND: 2, SIGN: 2, OFFICE: 4, FINAL: 7, PROOF3: 2}, 1.5, 37.5, 2,
    ),
    "incident_minor": Route(
        "supervising_leader", False,
        {UNIT: 1, EDIT: 0.5, SECOND: 0.5, SIGN: 0.5, OFFICE: 0.5, FINAL: 2, PROOF3: 0.5},
        1.2, 24, 1 / 3, whole=12, floor=1 / 6, parallel=True,
    ),
    "emergency": Route(
        "bureau_chief", False,
        {UNIT: 0.5, EDIT: 1 / 3, SECOND: 1 / 3, SIGN: 1 / 3, OFFICE: 1 / 3, FINAL: 1, PROOF3: 0.25},
        1.2, 24, 1 / 3, whole=5, floor=1 / 6, parallel=True,
    ),
    "public_opinion": Route(
        "bureau_chief", False,
        {UNIT: 2, EDIT: 1, SECOND: 1, SIGN: 2, OFFICE: 2, FINAL: 4, PROOF3: 0.5},
        1.3, 24, 1 / 3, whole=24, floor=1 / 3, parallel=True,
    ),
}  # fmt: skip
ABOVE = {  # one level up (3.2 "escalates to", A-6)
    "unit_head": "supervising_leader", "center_editor": "center_deputy",
    "center_deputy": "center_chief", "center_chief": "publicity_leader",
    "publicity_leader": "bureau_chief", "office_reviewer": "office_director",
    "office_director": "publicity_leader", "supervising_leader": "bureau_chief",
    "publisher": "center_deputy", "channel_operator": "center_deputy",
}  # fmt: skip
GRAVITY = {"work_news": 0, "important": 1, "public_opinion": 3, "emergency": 4}
LESSER = ("minor", "larger")
REASONS = ("facts", "source", "wording", "other")
QUALITIES = {"political", "true", "accurate", "timely", "well_formed", "not_classified"}

SEES_ALL = {
    "center_editor", "center_deputy", "center_chief", "publisher", "office_reviewer",
    "office_director", "supervisor", "auditor", "bureau_chief", "publicity_leader",
}  # fmt: skip
OF_A_UNIT = {"info_officer", "unit_head", "supervising_leader", "channel_operator"}
FINALS = {"center_chief", "supervising_leader", "bureau_chief"}
MAY_CLASSIFY = FINALS | {
    "center_deputy", "office_reviewer", "office_director", "publicity_leader",
}  # fmt: skip
MAY_LOWER = FINALS | {"publicity_leader"}
ADMINISTRATORS = {"sysadmin", "security_admin", "auditor"}
LEADERS = {"bureau_chief", "supervising_leader", "publicity_leader"}
RUNNING = {"in_review", "authorised", "publishing"}
OUT = {"published", "partly_published", "publishing"}
OVER = {"rejected", "withdrawn", "published", "partly_published", "retracted"}


def targets(key: str, profile: str) -> tuple[str, ...]:
    """Return whom a step's superior escalation asks (3.2, last column)."""
    plain = profile in ("work_news", "repost_fast")
    if key == UNIT:
        return ("supervisor",) if plain else ("supervising_leader",)
    if key == FINAL:
        if plain:
            return ("publicity_leader",)
        if profile in ("important", "incident_minor"):
            return ("bureau_chief", "office_reviewer")
        return ("office_director", "duty_officer")
    return {
        EDIT: ("center_deputy",), SECOND: ("center_chief",), SIGN: ("publicity_leader",),
        OFFICE: ("office_director", "publicity_leader"), PROOF3: ("center_deputy",),
        RECONFIRM: ("supervising_leader",),
    }[key]  # fmt: skip


# --- people -------------------------------------------------------------------------------------


@dataclass(eq=False)
class Held:
    """A role somebody holds, between two moments."""

    person: str
    role: str
    unit: str
    from_at: datetime
    until: datetime | None = None
    grant_id: str = ""

    def holds(self, now: datetime) -> bool:
        return self.from_at <= now and (self.until is None or self.until > now)


@dataclass(frozen=True)
class Trust:
    """A delegation (A-28)."""

    giver: str
    taker: str
    from_at: datetime
    until: datetime
    categories: tuple[str, ...] = ()


# --- items --------------------------------------------------------------------------------------

Content = tuple[str, str, tuple[tuple[str, str], ...]]  # title, body, source


@dataclass(frozen=True)
class Text:
    """A version, and from which one it was made."""

    no: int
    content: Content
    base: int
    role: str
    by: str
    light: bool  # wording only, figures as they were
    at: datetime


@dataclass(eq=False)
class Row:
    """A step in a round."""

    key: str
    unit: str
    role: str
    state: str = "waiting"
    opened: datetime | None = None
    due: datetime | None = None
    superior_at: datetime | None = None
    hours: float = 0.0
    skips: bool = False
    came_to: set[str] = field(default_factory=set)  # asked as superiors (提级代审)
    asked: set[str] = field(default_factory=set)
    backup_done: bool = False
    superior_done: bool = False
    only_for: str = ""  # handed over (转办, 改派): this one alone


@dataclass(eq=False)
class Said:
    """A decision."""

    row: Row
    verdict: str
    content: Content
    people: frozenset[str]
    tier: int
    proof: int
    counts: bool = True


@dataclass(eq=False)
class Leave:
    """A publish authorisation."""

    content: Content
    channels: dict[str, str]  # channel: operating unit
    until: datetime
    over: bool = False


@dataclass(eq=False)
class Sending:
    """One generation on one channel."""

    generation: int
    content: Content
    leave: Leave
    state: str = "submitted"
    tried: bool = False  # an attempt was begun, ended or not
    in_doubt: bool = False


@dataclass(eq=False)
class Item:
    """One submission."""

    id: str
    author: str
    unit: str
    category: str
    level: str
    channels: dict[str, str]
    submitted: datetime
    anchor: datetime | None
    digests: dict[Content, str]
    profile: str = ""
    status: str = "in_review"
    held_from: str = ""
    held_at: datetime | None = None
    texts: list[Text] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    leaves: list[Leave] = field(default_factory=list)
    out: dict[str, list[Sending]] = field(default_factory=dict)
    close_at: datetime | None = None
    close_for: Said | None = None

    @property
    def content(self) -> Content:
        return self.texts[-1].content

    @property
    def leave(self) -> Leave | None:
        return next((one for one in reversed(self.leaves) if not one.over), None)

    @property
    def route(self) -> Route:
        return ROUTES[self.profile]

    def place(self, row: Row) -> float:
        """Return where a step stands in the order; parallel ones stand at one place."""
        if row.key == RECONFIRM:
            return 2.5 if EDIT in self.route.limits else 3.5
        if row.key == OFFICE and self.route.parallel:
            return PLACE[SIGN]
        return PLACE[row.key]

    def current(self) -> list[Row]:
        rows = [row for row in self.rows if row.state != "lapsed"]
        return sorted(rows, key=lambda row: (self.place(row), row.key, row.unit))

    def open(self) -> list[Row]:
        return [row for row in self.current() if row.state == "open"]

    def tier(self, row: Row) -> int:
        return TIER.get(row.key, 0)

    def proof(self, row: Row) -> int:
        if row.key == PROOF3:
            return 3
        second = EDIT if EDIT in self.route.limits else SECOND
        return 2 if row.key == second else 0

    def plan(self) -> dict[tuple[str, str], str]:
        """Return the steps that the route asks for, with their roles (R4.1-8..10, R2.2-3)."""
        wanted: dict[tuple[str, str], str] = {}
        for key in self.route.limits:
            if key == FINAL:
                wanted[key, ""] = self.route.final
            elif key == PROOF3:
                for unit in sorted(set(self.channels.values())):
                    role = "publisher" if unit == "center" else "channel_operator"
                    wanted[key, unit] = role
            else:
                wanted[key, ""] = ROLE[key]
        return wanted

    def skips(self, key: str) -> bool:
        """Tell whether silence skips a step and flags it (A-1; A-16: T2 decides and notes it)."""
        if key == OFFICE:
            return self.route.parallel
        return key == RECONFIRM and self.profile in ("emergency", "public_opinion")

    def approvals(self) -> list[Said]:
        return [
            one for one in self.said
            if one.counts and one.verdict == "approve" and one.row.state == "decided"
        ]  # fmt: skip

    def authors(self) -> set[str]:
        return {self.author} | {t.by for t in self.texts if t.role == "info_officer"}

    def apart(self, row: Row) -> set[str]:
        """Return who may not decide a step: invariant 4."""
        tier, proof = self.tier(row), self.proof(row)
        out = self.authors() if tier else set()
        for one in self.approvals():
            other_tier = tier and one.tier and one.tier != tier
            if one.row is not row and (other_tier or {one.proof, proof} == {2, 3}):
                out = out | one.people
        return out

    def reaches(self, said: Said) -> bool:
        """Tell whether an approval still holds for the current text (A-15, A-16)."""
        text: Text | None = self.texts[-1]
        answered = [
            max(t.no for t in self.texts if t.content == one.content)
            for one in self.approvals()
            if one.row.key == RECONFIRM
        ]
        while text is not None:
            if text.content == said.content:
                return True
            if said.tier != 1 or text.role not in ("center_editor", "center_deputy"):
                return False
            unanswered = any(
                row.key == RECONFIRM and row.state == "skipped" and self.skips(RECONFIRM)
                and row.opened is not None and row.opened >= text.at
                for row in self.rows
            )  # fmt: skip
            if not (text.light or unanswered or any(no >= text.no for no in answered)):
                return False
            text = self.texts[text.base - 1] if text.base else None
        return False

    def unit_owes(self) -> bool:
        """Tell whether the unit has yet to reconfirm the text (A-16)."""
        first = [one for one in self.approvals() if one.tier == 1]
        return bool(first) and not any(self.reaches(one) for one in first)


@dataclass(eq=False)
class Link:
    """A link in somebody's letter: one step in one round on one text, once."""

    token: str
    person: str
    item: Item
    row: Row
    content: Content
    until: datetime
    ended: bool = False  # the account was closed since
    used: str = ""  # what was pressed


class Refused(Exception):
    """The code that the contract gives."""

    def __init__(self, code: str) -> None:
        self.code = code


class Model:
    """The bureau as it should be."""

    def __init__(
        self,
        people: dict[str, tuple[str, tuple[tuple[str, str], ...]]],
        channels: dict[str, str],
        backups: dict[str, str],
        since: datetime,
    ) -> None:
        self.now = since
        self.unit_of = {person: unit for person, (unit, _) in people.items()}
        self.held = [
            Held(person, role, unit, since, grant_id=f"{person}-{role}-{unit}")
            for person, (_, roles) in people.items()
            for role, unit in roles
        ]
        self.channels = channels
        self.backups = backups
        self.disabled: set[str] = set()
        self.trusts: list[Trust] = []
        self.items: dict[str, Item] = {}
        self.keys: dict[str, tuple[str, str]] = {}  # decision key: person and request
        self.links: list[Link] = []

    # --- the roster -----------------------------------------------------------------------------

    def roles(self, person: str) -> list[tuple[str, str]]:
        """Return the roles somebody holds now."""
        if person in self.disabled:
            return []
        return [(h.role, h.unit) for h in self.held if h.person == person and h.holds(self.now)]

    def holds(self, person: str, role: str, item: Item, row: Row) -> bool:
        """Tell whether somebody holds a role for this step."""
        unit = ""
        if role in ("unit_head", "channel_operator"):
            unit = row.unit or item.unit
        elif role == "supervising_leader":
            unit = item.unit
        return (role, unit) in self.roles(person)

    def holders(self, role: str, item: Item, row: Row) -> set[str]:
        return {p for p in self.unit_of if self.holds(p, role, item, row)}

    def grant(self, person: str, role: str, unit: str, until: datetime | None) -> Held:
        held = Held(person, role, unit if role in OF_A_UNIT else "", self.now, until)
        self.held.append(held)
        self.roster_changed(person)
        return held

    def revoke(self, held: Held) -> None:
        if held.until is None or held.until > self.now:
            held.until = self.now
        self.roster_changed(held.person)

    def disable(self, person: str) -> None:
        self.disabled.add(person)
        for link in self.links:
            link.ended = link.ended or link.person == person
        self.roster_changed(person)

    def enable(self, person: str) -> None:
        self.disabled.discard(person)
        self.roster_changed(person)

    def roster_changed(self, person: str) -> None:
        """Ask anew on every open step that somebody's roles touch."""
        touched = {h.role for h in self.held if h.person == person}
        for item in self.items.values():
            for row in item.rows:
                if row.state == "open" and (person in row.asked or row.role in touched):
                    self._ask(item, row)

    # --- who may --------------------------------------------------------------------------------

    def sees(self, person: str, item: Item) -> bool:
        """Tell whether the item is there for somebody (contract, "Who sees what")."""
        roles = self.roles(person)
        names = {role for role, _ in roles}
        if names & SEES_ALL:
            return True
        if names and names <= {"security_admin", "sysadmin"}:
            return False
        if any(r in ("info_officer", "unit_head", "supervising_leader") and u == item.unit
               for r, u in roles):  # fmt: skip
            return True
        if "duty_officer" in names and item.category == "emergency":
            return True
        if any(r == "channel_operator" and u in item.channels.values() for r, u in roles):
            return True
        mine = {person} | {t.giver for t in self.trusts_to(person)}
        return person == item.author or any(mine & row.asked for row in item.rows)

    def trusts_to(self, person: str) -> list[Trust]:
        return [t for t in self.trusts if t.taker == person and t.from_at <= self.now < t.until]

    def standing(self, person: str, item: Item, row: Row) -> set[str] | None:
        """Return the people who would answer for a decision: who acts and for whom; None: nobody.

        By role; as a superior it came to; for somebody absent; as the standing stand-in (A-28).
        What was handed over is for one person, who may trust another, and for whom it came to.
        """
        return self.capacity(person, item, row, row.only_for)[1]

    def capacity(
        self, person: str, item: Item, row: Row, only_for: str
    ) -> tuple[str, set[str] | None]:
        """Return in what capacity somebody may decide, and the people who would answer for it."""
        elsewhere = only_for not in ("", person)
        if self.holds(person, row.role, item, row) and not elsewhere:
            return "role", {person}
        above = self.above(row.role)
        if person in row.came_to and any(self.holds(person, r, item, row) for r in above):
            return "superior", {person}
        # nobody stands in for the chief in C and D without a filed letter
        filed = row.role == "bureau_chief" and item.category in ("emergency", "public_opinion")
        if filed:
            return "", None
        for trust in self.trusts_to(person):
            fits = not trust.categories or item.category in trust.categories
            mine = not elsewhere or only_for == trust.giver
            if fits and mine and self.holds(trust.giver, row.role, item, row):
                return "delegation", {person, trust.giver}
        for principal in sorted(p for p, b in self.backups.items() if b == person):
            if self.holds(principal, row.role, item, row) and not elsewhere:
                return "backup", {person, principal}
        return "", None

    def above(self, role: str) -> list[str]:
        chain = []
        while role in ABOVE:
            role = ABOVE[role]
            chain.append(role)
        return chain

    def _wanted(self, item: Item, row: Row) -> tuple[set[str], set[str]]:
        """Return who is asked on a step, and who of them because nobody nearer is left (A-6)."""
        if row.only_for:
            return {row.only_for}, set()
        apart = item.apart(row)
        asked = self.holders(row.role, item, row) - apart
        if asked:
            standing = {self.backups[p] for p in asked if p in self.backups}
            filed = row.role == "bureau_chief" and item.category in ("emergency", "public_opinion")
            standing = {p for p in standing if p not in self.disabled and not filed}
            return asked | (standing - apart), set()
        for role in self.above(row.role):
            higher = self.holders(role, item, row) - apart
            if higher:
                return higher, higher
        return set(), set()

    def _ask(self, item: Item, row: Row) -> None:
        asked, superiors = self._wanted(item, row)
        row.asked |= asked
        row.came_to |= superiors

    # --- acts: each returns nothing or raises the code -------------------------------------------

    def item_for(self, person: str, item_id: str) -> Item:
        if person in self.disabled:
            raise Refused("not_signed_in")
        item = self.items.get(item_id)
        if item is None or not self.sees(person, item):
            raise Refused("not_found")
        return item

    def may_submit(self, person: str) -> str:
        """Return the unit somebody reports for (RA1-3)."""
        if person in self.disabled:
            raise Refused("not_signed_in")
        units = [unit for role, unit in self.roles(person) if role == "info_officer"]
        if not units:
            raise Refused("not_allowed")
        return self.unit_of[person] if self.unit_of[person] in units else sorted(units)[0]

    def submit(
        self,
        item_id: str,
        person: str,
        category: str,
        level: str,
        channels: Iterable[str],
        content: Content,
        digest: str,
        anchor: datetime | None,
    ) -> Item:
        unit = self.may_submit(person)
        item = Item(
            item_id, person, unit, category, level, {c: self.channels[c] for c in channels},
            self.now, anchor, {content: digest},
        )  # fmt: skip
        item.texts.append(Text(1, content, 0, "info_officer", person, False, self.now))
        item.profile = profile_of(category, level, content)
        for (key, unit_), role in item.plan().items():
            self._add(item, key, unit_, role)
        self.items[item_id] = item
        return item

    def decide(self, person: str, item_id: str, asked: dict[str, Any], key: str) -> None:
        """Judge a decision.

        Args:
            asked: step, unit, verdict, content (None: a foreign digest), opinion, reason_code,
                return_to, ticked, stale_round, and `print`, what makes two requests the same.
        """
        if person in self.disabled:
            raise Refused("not_signed_in")
        if key in self.keys:
            if self.keys[key] == (person, asked["print"]):
                return
            raise Refused("key_reused")
        item = self.item_for(person, item_id)
        row = self._meant(item, person, asked)
        people = self.standing(person, item, row)
        if people is None:
            raise Refused("not_your_step")
        verdict = asked["verdict"]
        self._check_shape(row, asked)
        if row.state == "decided":
            raise Refused("already_decided")
        if item.status not in RUNNING | {"partly_published"}:
            raise Refused("wrong_status")
        if row.state != "open":
            raise Refused("step_not_open")
        if asked["content"] is None or asked["content"] != item.content:
            raise Refused("stale_version")
        if people & item.apart(row):
            raise Refused("separation_of_duties")
        tier = item.tier(row)
        if verdict == "reject" and not tier:
            raise Refused("verdict_not_offered")
        if verdict == "approve_with_changes":
            raise Refused("approve_with_changes_off")
        back = self._back_to(item, row, asked)
        if verdict in ("reject", "return") and any(item.out.values()):
            raise Refused("already_publishing")
        self.keys[key] = (person, asked["print"])
        said = Said(row, verdict, item.content, frozenset(people), tier, item.proof(row))
        item.said.append(said)
        row.state = "decided"
        if verdict == "approve":
            if tier == 3:
                self._authorise(item)
        elif verdict == "reject":
            item.status = "rejected"
            self._close(item)
        elif back is None:
            item.status = "returned"
            self._close(item)
            self._revoke_leave(item)
        else:
            self._restart(item, back)

    def press(self, link: Link, asked: dict[str, Any], second_factor: bool) -> None:
        """Judge a decision by the link in a letter.

        Args:
            asked: As for `decide`; step, unit and content are the link's.
        """
        if link.used:
            if link.ended or link.used != asked["print"]:
                raise Refused("link_dead")
            return
        self.follow(link)
        if self.asks_factor(link.person, link.item) and not second_factor:
            raise Refused("second_factor_needed")
        self.decide(link.person, link.item.id, asked, f"link {link.token}")
        link.used = asked["print"]

    def follow(self, link: Link) -> None:
        """Refuse a link that leads nowhere any more."""
        item, row = link.item, link.row
        alive = (
            not link.ended
            and self.now < link.until
            and self.standing(link.person, item, row) is not None
            and self.sees(link.person, item)
            and item.status in RUNNING | {"partly_published"}
            and row.state == "open"
            and link.content == item.content
        )
        if not alive:
            raise Refused("link_dead")

    def asks_factor(self, person: str, item: Item) -> bool:
        """Leaders, and whoever decides on C and D; nobody here has an account of yesterday."""
        roles = {role for role, _ in self.roles(person)}
        return bool(roles & LEADERS) or item.profile in ("emergency", "public_opinion")

    def _meant(self, item: Item, person: str, asked: dict[str, Any]) -> Row:
        key, unit = asked["step"], asked.get("unit")
        rows = [r for r in item.rows if r.key == key and unit in (None, r.unit)]
        if not rows:
            raise Refused("malformed")
        if unit is None and len({r.unit for r in rows if r.state != "lapsed"}) > 1:
            same = [r for r in item.current() if r.key == key]
            for row in sorted(same, key=lambda r: r.state != "open"):
                if self.standing(person, item, row) is not None:
                    rows = [r for r in rows if r.unit == row.unit]
                    break
        standing = [r for r in rows if r.state == "open"] or [
            r for r in rows if r.state != "lapsed"
        ] or rows  # fmt: skip
        if asked.get("stale_round"):
            raise Refused("stale_round")
        return standing[-1]

    def _check_shape(self, row: Row, asked: dict[str, Any]) -> None:
        verdict = asked["verdict"]
        if verdict == "return" and asked["reason_code"] not in REASONS:
            raise Refused("malformed")
        if verdict != "approve" and not asked["opinion"].strip():
            raise Refused("malformed")
        needs_ticks = row.key == UNIT and verdict in ("approve", "approve_with_changes")
        if needs_ticks and not asked["ticked"]:  # R2.1-3
            raise Refused("malformed")

    def _back_to(self, item: Item, row: Row, asked: dict[str, Any]) -> float | None:
        to = asked["return_to"]
        if asked["verdict"] != "return" or to in ("", "author"):
            return None
        earlier = [
            item.place(r) for r in item.current()
            if r.key == to and r.key != RECONFIRM and item.place(r) < item.place(row)
        ]  # fmt: skip
        if not earlier:
            raise Refused("return_to_unknown")
        return min(earlier)

    def write(
        self, person: str, item_id: str, base: Content | None, content: Content, light: bool,
        proofread: bool, digest: str | None = None,
    ) -> None:  # fmt: skip
        """A new version, or the author's answer without one."""
        item = self.item_for(person, item_id)
        answering = item.status == "returned"
        at: Row | None = None
        if answering:
            roles = self.roles(person)
            wanted = [r for r in ("info_officer", "unit_head") if (r, item.unit) in roles]
            if not wanted:
                raise Refused("not_allowed")
            role = wanted[0]
        else:
            if item.status != "in_review":
                raise Refused("wrong_status")
            at, role = self._edits(person, item)
        if base is None or base != item.content:
            raise Refused("stale_version")
        if role == "info_officer" and not proofread:
            raise Refused("malformed")
        changed = content != item.content
        if changed:
            title, body, source = item.content
            figures = digits(title + "\n" + body) != digits(content[0] + "\n" + content[1])
            plain = light and not figures and source == content[2] and role != "info_officer"
            no = len(item.texts) + 1
            item.texts.append(Text(no, content, no - 1, role, person, plain, self.now))
        if answering:
            item.status = "in_review"
            self._refit(item)
            back = 0.0
            if not changed:
                last = next(s for s in reversed(item.said) if s.verdict == "return")
                back = item.place(last.row)
            self._restart(item, back)
        elif changed and at is not None:
            self._refit(item)
            lost = self._lost(item, item.place(at))
            if lost is not None:
                self._restart(item, lost)
            if role != "unit_head":
                self._ask_unit_again(item)

    def _edits(self, person: str, item: Item) -> tuple[Row, str]:
        """Return the open step at which somebody may change the text, and as what (1.8)."""
        for row in item.open():
            if row.key in (UNIT, EDIT, SECOND):
                if self.standing(person, item, row) is None:
                    continue
                role = row.role
                kind, _ = self.capacity(person, item, row, row.only_for)
                if kind == "superior":
                    above = [r for r in self.above(row.role) if self.holds(person, r, item, row)]
                    role = above[0] if above else role
                return row, role
        raise Refused("no_edit_step")

    def _lost(self, item: Item, before: float) -> float | None:
        """Return the first place before an edit whose approval the new text has lost (A-15)."""
        for row in item.current():
            if item.place(row) >= before or row.state != "decided":
                continue
            if row.key in (UNIT, RECONFIRM):
                continue
            mine = [one for one in item.approvals() if one.row is row]
            if mine and not item.reaches(mine[0]):
                return item.place(row)
        return None

    def withdraw(self, person: str, item_id: str) -> None:
        item = self.item_for(person, item_id)
        if ("info_officer", item.unit) not in self.roles(person):
            raise Refused("not_allowed")
        if item.status not in ("in_review", "returned", "held", "authorised"):
            raise Refused("wrong_status")
        if any(item.out.values()):
            raise Refused("already_publishing")
        item.status = "withdrawn"
        self._close(item)
        self._revoke_leave(item)

    def _final_role(self, person: str, item: Item) -> None:
        if not any(
            role in FINALS and (role != "supervising_leader" or unit == item.unit)
            for role, unit in self.roles(person)
        ):
            raise Refused("not_allowed")

    def hold(self, person: str, item_id: str, reason: str) -> None:
        item = self.item_for(person, item_id)
        self._final_role(person, item)
        if not reason:
            raise Refused("malformed")
        if item.status not in RUNNING:
            raise Refused("wrong_status")
        if any(s.state in ("submitted", "accepted") for sent in item.out.values() for s in sent):
            raise Refused("already_publishing")
        item.held_from, item.status, item.held_at = item.status, "held", self.now

    def release(self, person: str, item_id: str) -> None:
        item = self.item_for(person, item_id)
        self._final_role(person, item)
        if item.status != "held":
            raise Refused("wrong_status")
        assert item.held_at is not None
        item.status = item.held_from
        for row in item.open():
            if row.due is None or row.due <= item.held_at:
                continue
            if item.route.works:
                left = worked(item.held_at, row.due) / timedelta(hours=1)
                row.due = later(self.now, left, True) if left else next(spans(self.now))[0]
            else:
                row.due += self.now - item.held_at
            self._line_up(item, row)

    def classify(self, person: str, item_id: str, category: str, level: str, reason: str) -> None:
        """Raise or lower the category (A-7)."""
        item = self.item_for(person, item_id)
        mine = {
            role for role, unit in self.roles(person)
            if role in MAY_CLASSIFY and (role != "supervising_leader" or unit == item.unit)
        }  # fmt: skip
        if not mine:
            raise Refused("not_allowed")
        if item.status not in ("in_review", "authorised", "returned"):
            raise Refused("wrong_status")
        level = (level or "unknown") if category == "emergency" else ""
        if (category, level) == (item.category, item.level):
            raise Refused("nothing_changed")
        if gravity(category, level) < gravity(item.category, item.level):
            if not mine & MAY_LOWER:
                raise Refused("not_allowed")
            if not reason:
                raise Refused("malformed")
            if any(r.key == FINAL and r.opened is not None for r in item.rows):
                raise Refused("final_review_began")
        item.category, item.level = category, level
        if category in ("emergency", "public_opinion") and item.anchor is None:
            item.anchor = item.submitted
        self._refit(item)
        if item.status == "authorised" and item.leave is None:
            item.status = "in_review"

    def hand_over(
        self, person: str, item_id: str, key: str, unit: str, to: str, by_superior: bool,
        reason: str,
    ) -> None:  # fmt: skip
        """转办 by whoever may decide the step, 改派 by a supervisor: within the role alone."""
        item = self.item_for(person, item_id)
        if by_superior and "supervisor" not in {role for role, _ in self.roles(person)}:
            raise Refused("not_allowed")
        if by_superior and not reason:
            raise Refused("malformed")
        if item.status not in RUNNING:
            raise Refused("wrong_status")
        rows = [r for r in item.open() if r.key == key and unit in ("", r.unit)]
        if not rows:
            raise Refused("step_not_open")
        row = rows[0]
        if not by_superior and self.standing(person, item, row) is None:
            raise Refused("not_your_step")
        if to in self.disabled or to not in self.unit_of:
            raise Refused("malformed")
        if to in item.apart(row):
            raise Refused("separation_of_duties")
        if self.capacity(to, item, row, "")[0] not in ("role", "backup"):
            raise Refused("not_same_role")
        row.only_for = to
        self._ask(item, row)

    def renew(self, person: str, item_id: str) -> None:
        """The final reviewer lets the authorisation run anew, for the same text alone (A-18)."""
        item = self.item_for(person, item_id)
        own = ("info_officer", "unit_head", "supervising_leader")
        if not any(
            role not in ADMINISTRATORS and (role not in own or unit == item.unit)
            for role, unit in self.roles(person)
        ):
            raise Refused("not_allowed")
        if item.status not in RUNNING | OUT:
            raise Refused("wrong_status")
        final = next((r for r in item.rows if r.key == FINAL and r.state == "decided"), None)
        if final is None or item.leave is None or item.leave.content != item.content:
            raise Refused("nothing_authorised")
        people = self.standing(person, item, final)
        if people is None:
            raise Refused("not_your_step")
        if people & item.apart(final):
            raise Refused("separation_of_duties")
        self._authorise(item)

    def delegate(
        self, person: str, item_id: str, to: str, until: datetime, categories: tuple[str, ...]
    ) -> None:
        self.item_for(person, item_id)
        if to in self.disabled or to not in self.unit_of:
            raise Refused("malformed")
        if to == person:
            raise Refused("separation_of_duties")
        both = [*self.roles(person), *self.roles(to)]
        if {role for role, _ in both} & ADMINISTRATORS:  # 三员分立
            raise Refused("roles_apart")
        if until <= self.now:
            raise Refused("malformed")
        self.trusts.append(Trust(person, to, self.now, until, categories))

    def retry(self, person: str, item_id: str, channel: str) -> None:
        item = self.item_for(person, item_id)
        sent = self._sent(person, item, channel, ("publisher", "channel_operator", "center_chief"))
        if sent.state == "unknown":
            raise Refused("publication_unknown")
        if sent.state != "failed":
            raise Refused("nothing_changed")
        leave = item.leave
        usable = leave is not None and leave.content == item.content and leave.until >= self.now
        if leave is None or not usable or channel not in leave.channels:
            raise Refused("nothing_authorised")
        item.out[channel].append(Sending(sent.generation + 1, leave.content, leave))
        item.status = "publishing"

    def resolve(self, person: str, item_id: str, channel: str, live: bool) -> None:
        item = self.item_for(person, item_id)
        sent = self._sent(person, item, channel, ("publisher", "channel_operator"))
        if sent.state != "unknown":
            raise Refused("nothing_changed")
        sent.state = "live" if live else "failed"

    def _sent(self, person: str, item: Item, channel: str, may: tuple[str, ...]) -> Sending:
        roles = self.roles(person)
        mine = [role for role in may if any(held == role for held, _ in roles)]
        if not mine:
            raise Refused("not_allowed")
        if item.status not in OUT:
            raise Refused("wrong_status")
        if not item.out.get(channel):
            raise Refused("malformed")
        unit = item.channels[channel]
        if mine[0] == "channel_operator" and ("channel_operator", unit) not in roles:
            raise Refused("not_allowed")
        return item.out[channel][-1]

    # --- what follows from an act ---------------------------------------------------------------

    def _add(self, item: Item, key: str, unit: str, role: str) -> None:
        hours = item.route.reconfirm if key == RECONFIRM else item.route.limits[key]
        item.rows.append(Row(key, unit, role, hours=hours, skips=item.skips(key)))

    def _lapse(self, item: Item, row: Row) -> None:
        row.state = "lapsed"
        for one in item.said:
            if one.row is row:
                one.counts = False

    def _close(self, item: Item) -> None:
        for row in item.open():
            self._lapse(item, row)

    def _revoke_leave(self, item: Item) -> None:
        if item.leave is not None:
            item.leave.over = True

    def _restart(self, item: Item, place: float) -> None:
        """Ask anew from a place on; what stood there no longer counts (A-15)."""
        for row in item.current():
            if item.place(row) >= place and row.state != "waiting":
                self._lapse(item, row)
        there = {(row.key, row.unit) for row in item.current()}
        for (key, unit), role in item.plan().items():
            if (key, unit) not in there:
                self._add(item, key, unit, role)
        self._ask_unit_again(item)
        self._revoke_leave(item)

    def _ask_unit_again(self, item: Item) -> None:
        waiting = [r for r in item.rows if r.key == RECONFIRM and r.state in ("waiting", "open")]
        if not item.unit_owes():
            for row in waiting:
                row.state = "lapsed"
        elif not waiting:
            self._add(item, RECONFIRM, "", "unit_head")

    def _refit(self, item: Item) -> None:
        """Fit the steps to the route, which follows from category, level and text (A-7, A-11)."""
        item.profile = profile_of(item.category, item.level, item.content)
        plan = item.plan()
        there = {(r.key, r.unit): r for r in item.current() if r.key != RECONFIRM}
        gone = [
            slot for slot, row in there.items()
            if plan.get(slot) != row.role or (row.state == "skipped" and not item.skips(row.key))
        ]  # fmt: skip
        missing = [slot for slot in plan if slot not in there or slot in gone]
        for slot in gone:
            self._lapse(item, there[slot])
        for row in item.rows:
            if row.state in ("open", "waiting"):
                limit = item.route.reconfirm if row.key == RECONFIRM else item.route.limits[row.key]
                if limit != row.hours:
                    row.hours, row.due = limit, None
                row.skips = item.skips(row.key)
        if not gone and not missing:
            return
        for key, unit in missing:
            self._add(item, key, unit, plan[key, unit])
        if missing:
            first = min(item.place(Row(key, unit, "")) for key, unit in missing)
            ahead = [
                item.place(r) for r in item.current()
                if r.key != RECONFIRM and r.state in ("open", "decided") and item.place(r) > first
            ]  # fmt: skip
            if ahead:
                self._restart(item, min(ahead))
        self._revoke_leave(item)

    def _authorise(self, item: Item) -> None:
        self._revoke_leave(item)
        until = later(self.now, item.route.authorised_for, item.route.works)
        item.leaves.append(Leave(item.content, dict(item.channels), until))

    # --- turns ----------------------------------------------------------------------------------

    def turn(self, item: Item) -> None:
        """Do what is due, open what comes next, let the status follow the channels."""
        if item.status == "held":
            return
        self._fire(item)
        if item.status in RUNNING:
            self._open(item)
        last = next((s for s in reversed(item.said) if s.verdict == "return"), None)
        if item.status == "returned" and item.close_for is not last:
            item.close_for, item.close_at = last, later(self.now, 10 * WORKDAY, True)
        self._settle(item)

    def moments(self, item: Item) -> list[datetime]:
        """Return when silence next has a consequence for an item, for a driver to go there."""
        due = [at for at, _, _ in self._pending(item)]
        return due + ([item.leave.until] if item.leave else [])

    def _pending(self, item: Item) -> list[tuple[datetime, int, Row | None]]:
        due: list[tuple[datetime, int, Row | None]] = []
        for row in item.open():
            if row.due is None:
                continue
            if row.skips:
                due.append((row.due, 1, row))
                continue
            if not row.backup_done:
                due.append((row.due, 2, row))
            if row.superior_at is not None and not row.superior_done:
                due.append((row.superior_at, 3, row))
        if item.status == "returned" and item.close_at:
            due.append((item.close_at, 4, None))
        leave = item.leave
        going = leave and any(
            s.content == leave.content for sent in item.out.values() for s in sent
        )
        if leave and not going and item.status not in OVER | {"returned"}:
            due.append((leave.until, 5, None))
        return due

    def _fire(self, item: Item) -> None:
        due = [one for one in self._pending(item) if one[0] <= self.now]
        for _, what, row in sorted(due, key=lambda one: (one[0], one[1])):
            if row is not None and row.state != "open":
                continue
            if what == 1 and row is not None:
                row.state = "skipped"
            elif what == 2 and row is not None:
                self._ask(item, row)
                row.backup_done = True
            elif what == 3 and row is not None:
                row.superior_done = True
                for role in targets(row.key, item.profile):
                    people = self.holders(role, item, row) - item.apart(row)
                    row.asked |= people
                    row.came_to |= people
            elif what == 4 and item.status == "returned":
                item.status = "withdrawn"  # never approved by silence
            elif what == 5:
                self._restart(item, PLACE[FINAL])
                item.status = "in_review"

    def _open(self, item: Item) -> None:
        waiting = [r for r in item.current() if r.state in ("waiting", "open")]
        if waiting:
            turn = min(item.place(r) for r in waiting)
            for row in waiting:
                if item.place(row) == turn and row.state == "waiting":
                    row.state, row.opened, row.due = "open", self.now, None
        for row in item.open():
            if row.due is None:
                row.due = self._due(item, row)
                self._line_up(item, row)
                self._ask(item, row)

    def _due(self, item: Item, row: Row) -> datetime:
        assert row.opened is not None
        route = item.route
        if not route.floor or item.anchor is None:
            return later(row.opened, row.hours, route.works)
        rest = {item.place(r): r.hours for r in item.current() if item.place(r) > item.place(row)}
        ends = item.anchor + timedelta(hours=route.whole)
        left = max(ends - row.opened, timedelta()) / timedelta(hours=1)
        share = left * row.hours / (row.hours + sum(rest.values()))
        return row.opened + timedelta(hours=min(row.hours, max(share, route.floor)))

    def _line_up(self, item: Item, row: Row) -> None:
        assert row.opened is not None and row.due is not None
        share = item.route.superior_at
        row.backup_done = row.superior_done = False
        if item.route.works:
            used = worked(row.opened, row.due) / timedelta(hours=1) * share
            row.superior_at = later(row.opened, used, True)
        else:
            row.superior_at = row.opened + (row.due - row.opened) * share

    # --- channels -------------------------------------------------------------------------------

    def executable(self, item: Item) -> list[str]:
        """Return the channels that the third proof let go (A-18)."""
        leave = item.leave
        if leave is None or leave.content != item.content:
            return []
        done = ("decided", "skipped")
        units = {
            one.row.unit
            for one in item.approvals()
            if one.proof == 3
            and all(r.state in done for r in item.current() if item.place(r) < PLACE[PROOF3])
        }
        return [c for c, unit in sorted(leave.channels.items()) if unit in units]

    def deeds(self, item: Item) -> list[tuple[str, int]]:
        """Return what is to be sent now: channel and generation."""
        if item.status in ("rejected", "withdrawn", "returned", "held"):
            return []
        leave = item.leave
        if leave is None or self.now > leave.until:
            return []
        found = []
        for channel in self.executable(item):
            sent = item.out.get(channel)
            if not sent:
                found.append((channel, 1))
            elif sent[-1].state in ("submitted", "accepted"):
                found.append((channel, sent[-1].generation))
        return found

    def gate(self, item: Item, channel: str, generation: int) -> bool:
        """Tell whether the gate is open for a channel: 先审后发, 授权发布."""
        leave = item.leave
        sent = item.out.get(channel, [])
        known = next((s for s in sent if s.generation == generation), None)
        in_turn = known is not None or (
            generation == len(sent) + 1 and (not sent or sent[-1].state == "failed")
        )
        return (
            item.status in RUNNING | {"published", "partly_published"}
            and leave is not None
            and self.now <= leave.until
            and channel in self.executable(item)
            and in_turn
            and (known is None or known.content == item.content)
            and not item.unit_owes()
        )

    def _settle(self, item: Item) -> None:
        if item.status in ("rejected", "withdrawn", "returned", "held"):
            return
        latest = {c: sent[-1] for c, sent in item.out.items() if sent}
        states = [latest[c].state if c in latest else "" for c in item.channels]
        settled = all(state in ("live", "failed") for state in states)
        undecided = any(r.state in ("open", "waiting") for r in item.rows)
        ready = bool(self.executable(item))
        if latest and settled and not undecided:
            live = states.count("live")
            item.status = "partly_published" if live else "publishing"
            if live == len(states):
                item.status = "published"
        elif ready:
            item.status = "publishing"
        elif item.status in ("authorised", "publishing") and not latest:
            item.status = "in_review"


def gravity(category: str, level: str) -> int:
    return 2 if category == "emergency" and level in LESSER else GRAVITY[category]


def profile_of(category: str, level: str, content: Content) -> str:
    """Return the route (A-9, A-11)."""
    if category == "emergency":
        return "incident_minor" if level in LESSER else "emergency"
    title, body, pairs = content
    source = dict(pairs)
    given = source.get("original_title", ""), source.get("original_body", "")
    same = ["".join(one.split()) for one in given] == [
        "".join(one.split()) for one in (title, body)
    ]
    repost = source.get("type") in ("repost", "unified_release") and source.get("name")
    if category == "work_news" and repost and given[0] and same:
        return "repost_fast"
    return category


def digits(text: str) -> list[str]:
    """Return the figures of a text (A-16: numbers are detected, not trusted)."""
    found, number = [], ""
    for sign in text + " ":
        if sign.isdigit():
            number += sign
        elif number:
            found.append(number)
            number = ""
    return sorted(found)
