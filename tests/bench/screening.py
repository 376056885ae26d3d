"""How long a long text takes against long lists, beside one plain scan of the same text."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

from review.lists import builtin_sources, builtin_words, load_sources, load_words
from review.rules.screening import Lists, Screener, Text
from tests.bench.figures import Figure, ms

ENTRIES = 100_000
CHARACTERS = 10_000
AIM = "screening: p99 under 10 ms"
NEWS = (
    "11月18日，全省秋冬季造林绿化现场推进会召开。会议通报了今年以来国土绿化任务完成情况，"
    "3个市、2个国有林场作了交流发言。\n会议要求，抓住封冻前有利时机，落实地块、苗木和管护责任，"
    "增强“四个意识”、坚定“四个自信”，确保年度任务按期完成。详见 https://www.gov.cn/lm 。\n"
)


def long_lists(entries: int = ENTRIES) -> Lists:
    """Return the shipped lists with made-up typing errors up to a number of entries."""
    chance = random.Random(7)
    words = load_words(builtin_words())
    typos = dict(words.typos)
    while len(typos) < entries:
        wrong = "".join(chr(chance.randint(0x4E00, 0x9FA5)) for _ in range(chance.randint(2, 6)))
        typos.setdefault(wrong, wrong[::-1])
    return Lists(
        words=words.model_copy(update={"typos": typos}), sources=load_sources(builtin_sources())
    )


def long_texts(characters: int = CHARACTERS) -> dict[str, str]:
    """Return usual text, with and without invisible characters in it, and random characters."""
    chance = random.Random(8)
    usual = (NEWS * (characters // len(NEWS) + 1))[:characters]
    return {
        "usual": usual,
        "with invisible characters": usual[: characters - 1] + "\u200b",
        "random": "".join(chr(chance.randint(0x4E00, 0x9FA5)) for _ in range(characters)),
    }


def bench(rounds: int = 200) -> list[Figure]:
    lists = long_lists()
    began = time.perf_counter()
    screener = Screener(lists)
    figures = [Figure(f"build for {ENTRIES:,} entries", f"{time.perf_counter() - began:.2f} s")]
    now = datetime.now(UTC)
    for what, body in long_texts().items():
        text = Text(fields={"title": "全省秋冬季造林绿化现场推进会召开", "body": body})
        taken = _timed(lambda text=text: screener.screen(text, now), rounds)
        plain = _timed(lambda body=body: "秸杆" in body, rounds)
        figures.append(
            Figure(f"screen {CHARACTERS:,} characters, {what}", ms(taken), f"scan {ms(plain)}", AIM)
        )
    return figures


def _timed(work: Callable[[], object], rounds: int) -> list[float]:
    work()
    taken = []
    for _ in range(rounds):
        began = time.thread_time()  # what else the machine does is not counted
        work()
        taken.append(time.thread_time() - began)
    return taken
