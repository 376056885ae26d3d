"""What may not even be stored (requirements 7: CLASSIFIED_MARK, ID_NUMBER, BANK_CARD)."""

import pytest

from review.rules.screening import screen, texts_of

ID = "130100190001010011"  # a synthetic number: its area code is not issued to persons
CARD = "6222020000000000000"


def rules(text: str) -> list[str]:
    return [finding.rule for finding in screen({"body": text})]


@pytest.mark.parametrize(
    "text",
    [
        "秘密★1年",
        "绝密 ★",
        "机\u200b密★",
        "密级：秘密\n现将有关情况报告如下。",
        "密　级:机密",
    ],
)
def test_classified_marking_stops(text):
    """R1.3-4."""
    assert rules(text) == ["CLASSIFIED_MARK"]


def test_running_text_about_secrets_passes():
    assert rules("保守国家秘密是公民的义务，商业秘密受法律保护。") == []


@pytest.mark.parametrize(
    "text",
    [
        f"身份证号{ID}，",
        "身份证号１３０１００１９０００１０１００１１",
        "130100 19000101 0011",
        "1301001900\u200b01010011",
    ],
)
def test_unmasked_identity_number_stops_in_every_disguise(text):
    """R1.3-5."""
    assert rules(text) == ["ID_NUMBER"]


def test_finding_names_its_place_and_hides_the_number():
    [finding] = screen({"body": f"李某，身份证号{ID}。"})

    assert (finding.start, finding.end) == (7, 25)
    assert finding.quote == "13*************011"
    assert ID not in finding.model_dump_json()


@pytest.mark.parametrize(
    "text",
    ["13*************011", "130100190001010012", "130100190013010011", f"1{ID}", "编号20261122"],
)
def test_what_is_no_identity_number_passes(text):
    assert "ID_NUMBER" not in rules(text)


def test_unmasked_card_number_stops():
    assert rules(f"开户账号{CARD}，金额1260元") == ["BANK_CARD"]


def test_card_number_with_a_wrong_check_digit_passes():
    assert rules("6222020000000000001") == []


def test_every_text_of_a_request_is_found():
    request = {"title": "a", "source": {"name": "b"}, "attachments": [{"caption": "c"}], "n": 1}

    assert dict(texts_of(request)) == {
        "title": "a",
        "source.name": "b",
        "attachments.0.caption": "c",
    }
