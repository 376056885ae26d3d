"""Every sentence of the pages is there in both languages."""

import re

import pytest

from review.texts import LANGUAGES, catalogue
from starter.web.pages.words import say
from tests.tools.messages import found, kept

PLACEHOLDER = re.compile(r"%\(\w+\)s")


def said(message):
    return message if isinstance(message, str) else message[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_has_its_words(language):
    kept_here = kept(language)

    for message in found():
        if message.id:
            entry = kept_here.get(message.id)
            assert entry is not None and all(
                [entry.string] if isinstance(entry.string, str) else entry.string
            ), f"{language} lacks {message.id}: python -m tests.tools.messages"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_catalogue_keeps_what_nobody_says(language):
    spoken = {said(message.id) for message in found() if message.id}

    assert {said(m.id) for m in kept(language) if m.id} == spoken


def test_translations_keep_their_placeholders():
    for message in kept("en"):
        if message.id and isinstance(message.id, str):
            assert set(PLACEHOLDER.findall(message.id)) == set(PLACEHOLDER.findall(message.string))


def test_english_is_english():
    assert say("待我审", "en") == "For me to review"
    assert say("剩 %(time)s", "zh", time="2 小时") == "剩 2 小时"


def test_both_languages_have_the_same_codes():
    assert catalogue("zh").keys() == catalogue("en").keys()
