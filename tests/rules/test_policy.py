"""What a pack may hold, what makes one illegal, and that the shipped ones are table 3.2."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from review.packs import BUILTIN, PackError, builtin_calendar, builtin_pack, digest_of, load_pack
from review.packs import load_calendar as load_calendar_file
from review.rules.policy import Length, Policy
from review.rules.values import Profile
from review.texts import catalogue

SHIPPED = builtin_pack("hebei-lcj-2022-35").read_text(encoding="utf-8")
TABLE = {  # requirements 3.2, column by column: steps in order, then the whole item's limit
    "work_news": "3.5wh 3wh 3wh 3.5wh 2wh | 2wd",
    "repost_fast": "2wh 2wh 2wh 1wh | 1wd",
    "important": "3.5wh 2wh 2wh 2wh 4wh 7wh 2wh | 3wd",
    "incident_minor": "1h 30m 30m 30m 30m 2h 30m | 12h",
    "emergency": "30m 20m 20m 20m 20m 60m 15m | 5h",
    "public_opinion": "2h 1h 1h 2h 2h 4h 30m | 24h",
}
FINAL = {
    "work_news": "center_chief",
    "repost_fast": "center_chief",
    "important": "supervising_leader",
    "incident_minor": "supervising_leader",
    "emergency": "bureau_chief",
    "public_opinion": "bureau_chief",
}
BEHAVIOUR = {  # marks, every, cap, then daily; backup and superior; alarms; floor; quiet
    "work_news": ((50, 100), "4wh", 5, True, 100, 150, "80 100", None, "21:00-07:30"),
    "repost_fast": ((50, 100), "4wh", 5, True, 100, 150, "80 100", None, "21:00-07:30"),
    "important": ((50, 100), "4wh", 5, True, 100, 150, "80 100", None, "21:00-07:30"),
    "emergency": ((50, 80, 100), "10m", None, False, 100, 120, "3h 4h 5h", "10m", None),
    "public_opinion": (
        (50, 80, 100), "30m", None, False, 100, 130, "12h 20h 24h", "20m", "23:00-07:00",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_pack(builtin_pack("hebei-lcj-2022-35"))


def mistakes(tmp_path: Path, *changes: tuple[str, str]) -> list[tuple[int, str, str]]:
    """Return line, key and code of every mistake of the shipped pack with changes."""
    content = SHIPPED
    for old, new in changes:
        assert old in content
        content = content.replace(old, new, 1)
    file = tmp_path / "pack.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(PackError) as caught:
        load_pack(file, "en")
    for one in caught.value.mistakes:
        assert one.message != f"policy.{one.code}" and "{" not in one.message, one
        assert str(one).startswith(f"{file}:{one.line}: ")
    return [(one.line, one.key, one.code) for one in caught.value.mistakes]


def line_of(text: str) -> int:
    return SHIPPED[: SHIPPED.index(text)].count("\n") + 1


@pytest.mark.parametrize("profile", TABLE)
def test_limits_are_table_3_2(policy, profile):
    steps, item = TABLE[profile].split(" | ")

    assert [str(rule.limit) for rule in policy.rules(profile)] == steps.split()
    assert str(policy.profiles[profile].item_limit) == item
    assert [r.role for r in policy.rules(profile) if r.tier == 3] == [FINAL[profile]]


def test_sums_are_those_of_3_2(policy):
    sums = {
        profile: sum(r.limit.amount for r in policy.rules(profile))
        for profile in ("work_news", "repost_fast", "important")
    }

    assert sums == {"work_news": 15, "repost_fast": 7, "important": 22.5}
    assert str(policy.profiles[Profile.PUBLIC_OPINION].outer_limit) == "48h"


@pytest.mark.parametrize("profile", BEHAVIOUR)
def test_behaviour_is_table_3_2(policy, profile):
    marks, every, cap, daily, backup, superior, alarms, floor, quiet = BEHAVIOUR[profile]
    reminders, escalation = policy.reminders[profile], policy.escalation[profile]
    compression, hours = policy.compression[profile], policy.quiet_hours[profile]

    assert (reminders.marks, str(reminders.every)) == (marks, every)
    assert (reminders.cap, reminders.then_daily) == (cap, daily)
    assert (escalation.backup_at, escalation.superior_at) == (backup, superior)
    assert " ".join(str(alarm.at) for alarm in policy.item_alarms[profile]) == alarms
    assert (str(compression.floor) if compression else None) == floor
    assert (f"{hours.from_}-{hours.until}" if hours else None) == quiet


def test_other_clocks_are_table_3_2(policy):
    assert [str(one) for one in policy.returned.remind] == ["1wd", "3wd", "5wd"]
    assert str(policy.returned.close_after) == "10wd"
    assert {str(policy.authorisation[p]) for p in ("work_news", "important")} == {"5wd"}
    assert {str(policy.authorisation[p]) for p in ("emergency", "public_opinion")} == {"24h"}
    assert (str(policy.late_opinion), str(policy.emergency_takedown)) == ("1wd", "15m")
    assert str(policy.reconfirm[Profile.WORK_NEWS].limit) == "2wh"
    assert str(policy.countersign[Profile.IMPORTANT].limit) == "4wh"


@pytest.mark.parametrize("profile", ["emergency", "public_opinion", "incident_minor"])
def test_office_and_center_are_asked_side_by_side_and_only_the_office_is_skipped(policy, profile):
    """A-1."""
    group = [rule for rule in policy.rules(profile) if rule.group]

    assert [(r.id, r.on_timeout) for r in group] == [
        ("center_sign", "escalate"),
        ("office_opinion", "skip_and_flag"),
    ]


def test_unknown_level_counts_as_the_gravest(policy):
    """A-9."""
    assert policy.levels["unknown"] == policy.levels["extreme"] == "emergency"
    assert policy.levels["minor"] == policy.levels["larger"] == "incident_minor"


def test_demo_has_the_same_routes_in_seconds(policy):
    demo = load_pack(builtin_pack("demo-seconds"))

    for profile in Profile:
        assert [r.id for r in demo.rules(profile)] == [r.id for r in policy.rules(profile)]
        assert [r.role for r in demo.rules(profile)] == [r.role for r in policy.rules(profile)]
        assert {r.limit.unit for r in demo.rules(profile)} == {"s"}
        assert (demo.profiles[profile].clock, demo.quiet_hours[profile]) == ("wall", None)
    assert demo.approve_with_changes == ("important",)


@pytest.mark.parametrize("name", BUILTIN)
def test_pack_survives_the_ledger(name):
    """R0-4: that JSON is what a submission is pinned to."""
    pack = load_pack(builtin_pack(name))

    again = Policy.model_validate_json(pack.model_dump_json(by_alias=True))

    assert again == pack
    assert digest_of(again) == digest_of(pack)


def test_digests_are_the_same_in_every_process():
    """A calendar holds sets of days; a digest of its own in each process would import it anew."""
    code = (
        "from review.packs import *; print(digest_of(load_calendar(builtin_calendar())),"
        "digest_of(load_pack(builtin_pack('hebei-lcj-2022-35'))))"
    )
    root = Path(__file__).parents[2]
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            cwd=root, capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip

    assert len(said) == 1


@pytest.mark.parametrize("text", ["3.5wh", "2wd", "20m", "5h", "8s", "0.5h"])
def test_length_gives_its_text_back(text):
    assert str(Length.model_validate(text)) == text


@pytest.mark.parametrize("text", ["", "0h", "-1h", "3", "3 x", "wh", "3,5wh", "1h30m", 3, None, []])
def test_what_is_no_length_is_refused(text):
    with pytest.raises(ValidationError):
        Length.model_validate(text)


def test_ten_years_are_enough():
    with pytest.raises(ValidationError):
        Length.model_validate("99999wd")


NEWS_T1 = "- {id: unit_review, role: unit_head, limit: 3.5wh, tier: 1, on_timeout: escalate}"
NEWS_T2 = "- {id: second_review, role: center_deputy, limit: 3wh, tier: 2, on_timeout: escalate}"
NEWS_P2 = "- {id: edit_proof2, role: center_editor, limit: 3wh, proof: 2, on_timeout: escalate}"
NEWS_P3 = "- {id: proof3_publish, role: publisher, limit: 2wh, proof: 3, on_timeout: escalate}"
SIGN_C = (
    "- {id: center_sign, role: center_chief, limit: 20m, group: opinions, on_timeout: escalate}"
)


@pytest.mark.parametrize(
    ("old", "new", "key", "code"),
    [
        (NEWS_T1, NEWS_T1.replace("escalate", "skip_and_flag"),
         "steps.work_news.unit_review.on_timeout", "tier_skipped"),
        (NEWS_P2, NEWS_P2.replace("escalate", "skip_and_flag"),
         "steps.work_news.edit_proof2.on_timeout", "proof_skipped"),
        (NEWS_T2, NEWS_T2.replace("tier: 2, ", ""), "steps.work_news", "tiers"),
        (NEWS_T2, NEWS_T2.replace("tier: 2", "tier: 1"), "steps.work_news", "tiers"),
        (NEWS_P2, NEWS_P2.replace("proof: 2, ", ""), "steps.work_news", "proofs"),
        (NEWS_P3, NEWS_P3 + "\n    - {id: more, role: publisher, limit: 1h}",
         "steps.work_news", "proof_last"),
        (NEWS_P2, NEWS_P2.replace("edit_proof2", "unit_review"),
         "steps.work_news.unit_review", "step_twice"),
        (NEWS_P2, NEWS_P2.replace("edit_proof2", "countersign"),
         "steps.work_news.countersign", "step_reserved"),
        (NEWS_T2, NEWS_T2.replace("tier: 2", "tier: 2, group: a"),
         "steps.work_news.second_review.group", "tier_grouped"),
        (NEWS_T1, NEWS_T1.replace("unit_head", "unit_haed"),
         "steps.work_news.0.role", "unknown_word_near"),
        (NEWS_T1, NEWS_T1.replace("3.5wh", "0wh"), "steps.work_news.0.limit", "not_a_length"),
        (NEWS_T1, NEWS_T1.replace("limit:", "limits:"),
         "steps.work_news.0.limits", "unknown_key_near"),
        ("emergency: {marks: [50, 80, 100]", "emergency: {marks: [50, 100, 80]",
         "reminders.emergency.marks", "marks_fall"),
        ("every: 10m}\n  public", "cap: 3}\n  public", "reminders.emergency", "repeat_missing"),
        ("superior_at: 130", "superior_at: 90",
         "escalation.public_opinion.superior_at", "superior_first"),
        ("outer_limit: 48h", "outer_limit: 12h",
         "profiles.public_opinion.outer_limit", "outer_shorter"),
        ("compression:  # 3.2: steps shrink when the item came late\n  work_news: null",
         "compression:\n  work_news: {floor: 10m}", "compression.work_news", "compression_working"),
        ("  - {at: 3h, code: red}", "  - {at: 3x, code: red}",
         "item_alarms.emergency.0.at", "not_a_length"),
        ("  minor: incident_minor", "  minor: work_news", "levels.minor", "emergency_form"),
        ("approve_with_changes: []", "approve_with_changes: [emergency]",
         "approve_with_changes", "changes_in_emergency"),
        ("  second_review: {default", "  second_reviews: {default",
         "targets.second_reviews", "step_unknown"),
        ("  unit_review: [pol", "  unit_revue: [pol", "checklist.unit_revue", "step_unknown"),
        ("fast_lane: true", "fast_lanes: true", "fast_lanes", "unknown_key_near"),
        ("timezone: Asia/Shanghai", "timezone: Asia/Shijiazhuang", "timezone", "zone_unknown"),
        ('["08:30-12:00", "13:30-17:30"]', '["08:30-12:00", "11:30-17:30"]',
         "working_hours", "hours_disorder"),
        ('["08:30-12:00", "13:30-17:30"]', '["08:30-12:00", "17:30-13:30"]',
         "working_hours.1", "not_a_span"),
        ('from: "23:00"', 'from: "25:00"', "quiet_hours.public_opinion.from", "not_a_time"),
    ],
)  # fmt: skip
def test_illegal_pack_is_refused_with_its_line(tmp_path, old, new, key, code):
    found = mistakes(tmp_path, (old, new))

    at = [line for line, where, what in found if (where, what) == (key, code)]
    assert at, found
    near = range(line_of(old) - 40, line_of(old) + 3)
    assert at[0] in near and at[0] > 1


def test_torn_group_is_refused(tmp_path):
    between = "    - {id: more, role: center_chief, limit: 20m}"
    found = mistakes(tmp_path, (SIGN_C, SIGN_C + "\n" + between))

    assert ("steps.emergency.office_opinion.group", "group_torn") in [m[1:] for m in found]


def test_superiors_in_a_circle_are_refused(tmp_path):
    found = mistakes(tmp_path, ("bureau_chief: null", "bureau_chief: center_chief"))

    assert ("superiors.center_chief", "superiors_circle") in [m[1:] for m in found]


def test_every_mistake_is_told_at_once(tmp_path):
    found = mistakes(
        tmp_path,
        (NEWS_T1, NEWS_T1.replace("escalate", "skip_and_flag")),
        ("superior_at: 130", "superior_at: 90"),
    )

    assert [m[2] for m in found] == ["tier_skipped", "superior_first"]
    assert found[0][0] == line_of(NEWS_T1)


def test_left_out_route_is_missed(tmp_path):
    old = "  public_opinion: {backup_at: 100, superior_at: 130}\n"
    found = mistakes(tmp_path, (old, ""))

    assert [m[1:] for m in found] == [("escalation", "no_entry")]


def test_each_key_of_a_pack_is_described():
    described = re.findall(
        r"`(\w+)`", (Path(__file__).parents[2] / "docs/policy.md").read_text(encoding="utf-8")
    )

    assert set(Policy.model_fields) <= set(described)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("- a\n- b\n", "not_a_mapping"),
        ("", "not_a_mapping"),
        ("id: a\nid: b\n", "not_yaml"),
        ("id: [a\n", "not_yaml"),
        ("id: \x07\n", "not_yaml"),
    ],
)
def test_file_that_is_no_pack_is_refused(tmp_path, content, code):
    file = tmp_path / "pack.yaml"
    file.write_text(content, encoding="utf-8")

    with pytest.raises(PackError) as caught:
        load_pack(file)

    assert [one.code for one in caught.value.mistakes] == [code]


def test_missing_and_foreign_files_are_refused(tmp_path):
    (tmp_path / "gbk.yaml").write_bytes("id: 河北".encode("gbk"))

    for name, code in (("none.yaml", "unreadable"), ("gbk.yaml", "not_utf8")):
        with pytest.raises(PackError) as caught:
            load_pack(tmp_path / name)
        assert [one.code for one in caught.value.mistakes] == [code]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("days_off:", "day_off:", "unknown_key_near"),
        ("official_until: 2026-12-31", "official_until: 2025-12-31", "ends_before"),
        ("worked_days: [2026-01-04", "worked_days: [2026-01-01", "day_twice"),
        ("2026-01-02", "2026-01-32", "wrong_value"),
        ("official_from: 2026-01-01\n", "", "missing"),
    ],
)
def test_wrong_calendar_is_refused(tmp_path, old, new, code):
    content = builtin_calendar().read_text(encoding="utf-8")
    assert old in content
    file = tmp_path / "calendar.yaml"
    file.write_text(content.replace(old, new, 1), encoding="utf-8")

    with pytest.raises(PackError) as caught:
        load_calendar_file(file)

    line = content[: content.index(old)].count("\n") + 1
    assert code in [one.code for one in caught.value.mistakes]
    assert all(code == "missing" or abs(one.line - line) <= 2 for one in caught.value.mistakes
               if one.code == code)  # fmt: skip


def test_alias_that_holds_itself_is_refused(tmp_path):
    file = tmp_path / "pack.yaml"
    file.write_text("id: &a [*a]\n", encoding="utf-8")

    with pytest.raises(PackError):
        load_pack(file)


@pytest.mark.parametrize("area", ["policy", "deadlines"])
def test_both_languages_have_the_same_texts_with_the_same_gaps(area):
    locales = Path(__file__).parents[2] / "review/locales"
    gaps = [
        {code: set(re.findall(r"{(\w+)}", said)) for code, said in texts.items()}
        for texts in (
            YAML(typ="safe").load(locales / language / f"{area}.yaml") for language in ("zh", "en")
        )
    ]

    assert gaps[0] == gaps[1]
    assert set(gaps[0]) <= set(catalogue("zh"))
