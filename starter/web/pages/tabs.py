"""The administrators' pages beside each other, and who finds which."""

from review.acts.retention import READERS as KEEPERS
from review.acts.upkeep import READERS, TENDERS
from review.rules.values import Role
from starter.web.pages.frame import Place
from starter.web.pages.visitors import Visitor
from starter.web.pages.words import N_
from starter.web.rehearsals import WHO as REHEARSE

ROSTER = (Role.SECURITY_ADMIN, Role.SYSADMIN, Role.AUDITOR)
TABS = (
    Place("/admin/people", N_("人员与岗位"), ROSTER),
    Place("/admin/hooks", N_("外部系统"), ROSTER),
    Place("/delegations", N_("委托")),
    Place("/rules", N_("规则")),
    Place("/rules/changes", N_("规则变更")),
    Place("/rules/rehearsal", N_("规则演练"), tuple(sorted(REHEARSE))),
    Place("/admin/lists", N_("词表与日历")),
    Place("/admin/audit", N_("审计"), tuple(sorted(READERS))),
    Place("/admin/retention", N_("保留期限"), tuple(sorted(KEEPERS))),
    Place("/admin/health", N_("运行情况"), tuple(sorted(TENDERS))),
)


def tabs_of(visitor: Visitor) -> list[Place]:
    """Return the pages that a visitor's roles may read."""
    return [tab for tab in TABS if not tab.roles or visitor.has(*tab.roles)]
