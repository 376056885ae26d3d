"""Numbers that are somebody's: identity cards, bank cards, mobile phones (R1.3-5)."""

import re
from collections.abc import Iterator
from datetime import date

from review.rules.screening.findings import Finding, found
from review.rules.screening.folding import Folded
from review.rules.screening.matching import Spans

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643, check digit
CHECKS = "10X98765432"
PROVINCES = re.compile(r"1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[12]")
CONTEXT = 20  # characters before a number in which a word says what it is

_JOINT = r"[ \t\-.·_*~`\n]{1,3}"  # what stands between the groups of one number
_RUN = re.compile(rf"\d(?:\d|{_JOINT}(?=\d)){{13,}}\d(?:{_JOINT}[Xx](?![A-Za-z]))?|\d{{17}}[Xx]")
_LONG = re.compile(r"[0-9][0-9 \t\-.·_*~`\n]{13,}[0-9]")  # quick: no run without one
_GROUP = re.compile(r"\d+[Xx]?|[Xx]")
_CARD_WORDS = re.compile(r"卡号|银行|账号|帐号|账户|帐户|开户|储蓄|借记")
_MOBILE = re.compile(
    r"1(?<![\d*]1)(?<!\d[.,]1)[3-9]\d(?P<joint>[ \-]?)\d{4}(?P=joint)\d{4}(?![\d*])(?![.,]\d)"
    r"(?!\s*(?:多|余)?(?:[万亿千百]|元|亩|公顷|株|棵|吨|千克|公斤|平方|立方|米|人次|尾|只))"
)


def numbers(field: str, text: Folded) -> Iterator[Finding]:
    """Yield unmasked identity and card numbers; those of 15 digits warn only."""
    if not _LONG.search(text.plain):
        return
    for run in _RUN.finditer(text.plain):
        before = text.plain[max(0, run.start() - CONTEXT) : run.start()]
        yield from _in_run(field, text, run.start(), run[0], before)


def _in_run(field: str, text: Folded, at: int, run: str, before: str) -> Iterator[Finding]:
    """Yield the numbers in digits that stand close together, each digit in one at most."""
    groups = [(at + one.start(), at + one.end(), one[0]) for one in _GROUP.finditer(run)]
    following = text.plain[at + len(run) : at + len(run) + 1]
    if len(groups) == 1 and groups[0][2].isdecimal() and following in ("X", "x"):
        start, end, digits = groups[0]
        groups = [(start, end + 1, digits + following)]
    first = 0
    while first < len(groups):
        number = ""
        for last in range(first, len(groups)):
            number += groups[last][2].upper()
            if len(number) > 19:
                break
            span = (groups[first][0], groups[last][1])
            apart = last > first
            if is_identity_number(number):
                yield found(
                    "ID_NUMBER", "stop", field, text, span, quote=masked(number, 2, 3)
                )  # fmt: skip
            elif is_card_number(number) and _plain_card(text, span, number, before, apart=apart):
                yield found("BANK_CARD", "stop", field, text, span, quote=masked(number, 0, 4))
            elif not apart and is_old_identity_number(number) and not _lettered(text, span):
                yield found(
                    "ID_NUMBER", "warn", field, text, span, case="old", quote=masked(number, 2, 3)
                )
            else:
                continue
            first = last
            break
        first += 1


def _plain_card(
    text: Folded, span: tuple[int, int], number: str, before: str, *, apart: bool
) -> bool:
    """Tell whether digits that pass the check are a card: one in ten of any digits does.

    Digits in one piece are; groups only if they begin as UnionPay's do, or a word says so.
    """
    if _lettered(text, span):
        return False
    return not apart or number.startswith("62") or bool(_CARD_WORDS.search(before))


def _lettered(text: Folded, span: tuple[int, int]) -> bool:
    """Tell whether letters touch a number: a part of a code."""
    around = text.plain[max(0, span[0] - 1) : span[0]] + text.plain[span[1] : span[1] + 1]
    return any(one.isascii() and one.isalnum() for one in around)


def mobiles(field: str, text: Folded, taken: Spans, *, listed: bool) -> Iterator[Finding]:
    """Yield unmasked mobile numbers; in a list of names they block (R1.3-5).

    Args:
        taken: Places of links, whose digits are no phones.
    """
    for phone in _MOBILE.finditer(text.plain):
        if taken.touch(*phone.span()):
            continue
        digits = re.sub(r"\D", "", phone[0])
        yield found(
            "MOBILE", "block" if listed else "warn", field, text, phone.span(),
            case="listed" if listed else "", quote=masked(digits, 3, 4), waiver="center_deputy",
        )  # fmt: skip


def is_identity_number(number: str) -> bool:
    """Tell whether 18 characters are an identity number: a real day and the right check digit."""
    if len(number) != 18 or not (number[:17].isascii() and number[:17].isdecimal()):
        return False
    try:
        date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number, WEIGHTS, strict=False))
    return number[17] == CHECKS[total % 11]


def is_old_identity_number(number: str) -> bool:
    """Tell whether 15 digits may be an identity number of before 1999: a province, a real day."""
    if len(number) != 15 or not number.isdecimal() or not PROVINCES.match(number):
        return False
    try:
        date(1900 + int(number[6:8]), int(number[8:10]), int(number[10:12]))
    except ValueError:
        return False
    return True


def is_card_number(number: str) -> bool:
    """Tell whether 16 to 19 digits pass the Luhn check of bank cards."""
    if not 16 <= len(number) <= 19 or not number.isdecimal() or len(set(number)) == 1:
        return False
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def masked(number: str, keep_first: int, keep_last: int) -> str:
    """Return a number with its middle hidden, as it may be shown and stored."""
    hidden = len(number) - keep_first - keep_last
    return number[:keep_first] + "*" * hidden + number[-keep_last:]
