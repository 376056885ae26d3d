"""On the gravest routes a browser's session must have been opened with a second factor."""

from review.acts.item import Item
from review.records.people import Person
from review.rules.errors import NotAllowedError
from review.rules.values import Profile


def require_second_factor(person: Person, item: Item) -> None:
    """Refuse who would act in a session without one on a route whose pack asks for it.

    Raises:
        NotAllowedError: `second_factor_needed`.
    """
    if person.second_factor:
        return
    if Profile(item.row.profile) in item.policy.second_factor.profiles:
        raise NotAllowedError("second_factor_needed", why="route")
