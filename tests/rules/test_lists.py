"""Words files and source lists: what ships can be read, mistakes are told with their line."""

import pytest

from review.lists import builtin_sources, builtin_words, load_sources, load_words
from review.packs import PackError
from review.rules.screening import Lists


def test_shipped_lists_are_read():
    words, sources = load_words(builtin_words()), load_sources(builtin_sources())

    assert words.typos["秸杆"] == "秸秆"
    assert any(one.name == "新华社" for one in sources.sources)


def test_digest_follows_what_the_lists_say():
    lists = Lists(words=load_words(builtin_words()), sources=load_sources(builtin_sources()))
    longer = lists.words.model_copy(update={"hearsay": (*lists.words.hearsay, "有人说")})

    assert Lists(words=lists.words, sources=lists.sources).digest == lists.digest
    assert Lists(words=longer, sources=lists.sources).digest != lists.digest
    assert lists.version == "2026/2026"


@pytest.mark.parametrize(
    ("body", "line", "key"),
    [
        ("hearsay: [网传]\n", 1, "version"),
        ('version: "1"\nhearsey: [网传]\n', 2, "hearsey"),
        ('version: "1"\ntypos:\n  攻府: 政府\n  杆: 秆\n', 4, "typos.杆"),
        (
            'version: "1"\nleaders:\n  - {name: 王小明, title: 局长}\n  - {name: 王}\n',
            4,
            "leaders.1",
        ),
        ('version: "1"\nhosts:\n  short:\n    - https://t.cn\n', 4, "hosts.short.0"),
        ("- 1\n", 1, ""),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path, body, line, key):
    file = tmp_path / "words.yaml"
    file.write_text(body, encoding="utf-8")

    with pytest.raises(PackError) as refused:
        load_words(file)

    mistake = refused.value.mistakes[0]
    assert (mistake.path, mistake.line) == (str(file), line)
    assert mistake.key.startswith(key)
