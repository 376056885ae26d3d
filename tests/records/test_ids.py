"""Ids."""

import re

from review.ids import new_id


def test_ids_are_sortable_and_safe_in_a_url():
    ids = [new_id() for _ in range(2000)]

    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-v]{26}", one) for one in ids)
    assert [one[:10] for one in ids] == sorted(one[:10] for one in ids)
