"""A submission's plain course in every category, and what its ledger then holds."""

import pytest

from review.records import audit
from tests.acting import Course

EVENT = "2026-11-23T08:30:00+08:00"
CATEGORIES = {
    "work_news": {},
    "important": {"category": "important", "kind": "interpretation"},
    "incident_minor": {"category": "emergency", "level": "larger", "event_time": EVENT},
    "emergency": {"category": "emergency", "event_time": EVENT},
    "public_opinion": {"category": "public_opinion", "found_time": EVENT},
    "repost_fast": {
        "source": {
            "type": "repost", "name": "新华社", "url": "https://www.news.cn/demo",
            "original_title": "全省秋冬季造林绿化现场推进会召开",
            "original_body": "11月18日，全省秋冬季造林绿化现场推进会召开。\n3个市作了交流发言。",
        }
    },
}  # fmt: skip


@pytest.mark.parametrize("profile", CATEGORIES)
def test_each_category_passes_its_tiers_and_is_published(ledger, profile):
    """R4.1-8..11, R4.2."""
    course = Course(ledger, "fire_info", **CATEGORIES[profile])

    assert course.answer["profile"] == profile
    position = course.publish(course.run())

    assert position.status == "published"
    assert position.done
    assert ledger.write(audit.verify)["ok"]
