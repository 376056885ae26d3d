"""Who may do which act, and in which statuses (requirements 1.8)."""

from dataclasses import dataclass

from review.acts.item import Item
from review.records.people import Person
from review.rules.plans import CERTIFY, RECONFIRM
from review.rules.values import Role, Status, StepState

UNIT_ROLES = (Role.INFO_OFFICER, Role.UNIT_HEAD)  # for their own unit's items
CENTER = (Role.CENTER_EDITOR, Role.CENTER_DEPUTY, Role.CENTER_CHIEF)
LEADERS = (Role.SUPERVISING_LEADER, Role.BUREAU_CHIEF)
FINAL_ROLES = (Role.CENTER_CHIEF, *LEADERS)  # every role that is a T3 somewhere
OFFICE = (Role.OFFICE_REVIEWER, Role.OFFICE_DIRECTOR)
RUNNING = (Status.IN_REVIEW, Status.AUTHORISED, Status.PUBLISHING)
UNPUBLISHED = (Status.IN_REVIEW, Status.RETURNED, Status.HELD, Status.AUTHORISED)
LIVE = (Status.PUBLISHED, Status.PARTLY_PUBLISHED, Status.PUBLISHING)


@dataclass(frozen=True)
class Terms:
    """Who may do an act (roles; unit roles for their own unit only), and in which statuses."""

    roles: tuple[Role, ...]
    when: tuple[Status, ...] = tuple(Status)
    reason: bool = False


EVERYBODY = (
    *UNIT_ROLES, *CENTER, *LEADERS, *OFFICE, Role.PUBLISHER, Role.CHANNEL_OPERATOR,
    Role.SUPERVISOR, Role.DUTY_OFFICER, Role.PUBLICITY_LEADER,
)  # fmt: skip
TERMS: dict[str, Terms] = {
    "withdraw": Terms((Role.INFO_OFFICER,), UNPUBLISHED),
    "urge": Terms((*UNIT_ROLES, *CENTER, *OFFICE, *LEADERS, Role.SUPERVISOR), RUNNING),
    "comment": Terms(EVERYBODY),
    "transfer": Terms(EVERYBODY, RUNNING),
    "reassign": Terms((Role.SUPERVISOR,), RUNNING, reason=True),
    "delegate": Terms(EVERYBODY),
    "set_category": Terms(
        (
            Role.CENTER_DEPUTY,
            Role.CENTER_CHIEF,
            *OFFICE,
            *LEADERS,
            Role.PUBLICITY_LEADER,
        ),
        (Status.IN_REVIEW, Status.AUTHORISED, Status.RETURNED),
    ),
    "set_deadline": Terms((Role.SUPERVISOR, *FINAL_ROLES), RUNNING, reason=True),
    "hold": Terms(FINAL_ROLES, RUNNING, reason=True),
    "release": Terms(FINAL_ROLES, (Status.HELD,)),
    "waive": Terms(
        (Role.CENTER_DEPUTY, Role.CENTER_CHIEF, *OFFICE, *LEADERS),
        (Status.IN_REVIEW, Status.RETURNED, Status.HELD, Status.AUTHORISED, Status.PUBLISHING),
        reason=True,
    ),
    "add_signer": Terms((Role.CENTER_DEPUTY, Role.CENTER_CHIEF), (Status.IN_REVIEW,)),
    "reconfirm": Terms(EVERYBODY, (Status.IN_REVIEW,)),
    "certify_changes": Terms(EVERYBODY, (Status.IN_REVIEW,)),
    "late_opinion": Terms(EVERYBODY),
    "external_opinion": Terms((*CENTER, *OFFICE, *LEADERS)),
    "renew_authorisation": Terms(EVERYBODY, (Status.IN_REVIEW, *LIVE, Status.AUTHORISED)),
    "retract": Terms(
        (
            Role.CENTER_DEPUTY,
            Role.CENTER_CHIEF,
            Role.PUBLISHER,
            Role.DUTY_OFFICER,
            Role.CHANNEL_OPERATOR,
        ),
        (*LIVE, Status.IN_REVIEW, Status.RETURNED),
        reason=True,
    ),
    "ratify_retraction": Terms(FINAL_ROLES),
    "correct": Terms(CENTER, (Status.PUBLISHED, Status.PARTLY_PUBLISHED), reason=True),
    "retry_channel": Terms((Role.PUBLISHER, Role.CHANNEL_OPERATOR, Role.CENTER_CHIEF), LIVE),
    "grade": Terms(CENTER, (Status.PUBLISHED, Status.PARTLY_PUBLISHED)),
    "resolve_unknown": Terms((Role.PUBLISHER, Role.CHANNEL_OPERATOR), LIVE),
}


def role_for(person: Person, item: Item, act: str) -> str | None:
    """Return the role by which a person may do an act on this item, None when there is none."""
    for role in TERMS[act].roles:
        for held in person.roles:
            if held.role != role:
                continue
            own = held.unit_id == item.row.unit_id
            if role in (*UNIT_ROLES, Role.SUPERVISING_LEADER) and not own:
                continue
            return role
    return None


def waiving_role(person: Person, item: Item, waiver: str) -> str | None:
    """Return the role by which a person may waive what is for this role to waive, or None."""
    roles = OFFICE if waiver in ("office", *OFFICE) else (waiver,)
    for held in person.roles:
        scoped = held.role == Role.SUPERVISING_LEADER
        if held.role in roles and (not scoped or held.unit_id == item.row.unit_id):
            return held.role
    return None


def allowed(person: Person, item: Item) -> list[str]:
    """Return the acts that this person could do now, for pages and programs to offer."""
    open_keys = {step.key for step in item.case.open_steps()}
    skipped = any(step.state == StepState.SKIPPED for step in item.steps)
    possible = {
        "reconfirm": RECONFIRM in open_keys,
        "certify_changes": CERTIFY in open_keys,
        "late_opinion": skipped,
        "transfer": bool(open_keys),
        "renew_authorisation": any(
            step.tier == 3 and step.state == StepState.DECIDED for step in item.steps
        ),
    }
    return [
        act
        for act, terms in TERMS.items()
        if item.row.status in terms.when
        and possible.get(act, True)
        and role_for(person, item, act) is not None
    ]
