"""The frame of all pages: assets, languages, sign-in, and how refusals look."""

import re

import pytest

from starter.web.pages.assets import address, assets
from starter.web.pages.shape import left, length, moment
from starter.web.pages.visitors import inside


async def test_assets_are_kept_for_ever_under_their_hash(browser):
    found = await browser().client.get(address("site.css"))

    assert "immutable" in found.headers["cache-control"]
    assert found.headers["content-type"].startswith("text/css")
    assert found.headers["content-encoding"] == "gzip"
    assert (await browser().client.get("/static/site.css")).status_code == 404


def test_first_page_is_small_on_a_bad_line():
    """Issue 4: under 60 kB compressed with styles and script."""
    assert sum(len(asset.packed) for asset in assets().values()) < 45_000


def test_vendored_script_comes_with_its_licence():
    assert b"Permission to use" in assets()["vendor/htmx-2.0.11.LICENSE.txt"].content


async def test_pages_hold_no_inline_script_or_style_and_nothing_from_elsewhere(browser, course):
    head = browser("afforest_head")
    for path in ("/", f"/items/{course.id}", f"/items/{course.id}/acts/comment", "/nowhere"):
        answer = await head.client.get(path)

        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|://", answer.text), path
        for script in re.findall(r"<script[^>]*>[^<]*", answer.text):
            assert re.fullmatch(r'<script src="/static/[^"]+" defer>', script)
        assert "unsafe" not in answer.headers["content-security-policy"]


async def test_language_switch_is_kept_and_leads_back(browser):
    visitor = browser()

    chinese = await visitor.see("/sign-in")
    switched = await visitor.send("/language", language="en", next="/sign-in?next=/x")

    assert "用户名" in chinese and 'lang="zh-CN"' in chinese
    assert (switched.status_code, switched.headers["location"]) == (303, "/sign-in?next=/x")
    assert "User name" in await visitor.see("/sign-in")


async def test_page_leads_to_sign_in_and_back(browser, course):
    answer = await browser().client.get(f"/items/{course.id}?step=unit_review")

    assert answer.status_code == 303
    assert answer.headers["location"] == f"/sign-in?next=/items/{course.id}%3Fstep%3Dunit_review"


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "", "/a\nb", "/a\\b"],
)
def test_no_redirect_leads_off_the_site(path):
    assert inside(path) == "/"


async def test_wrong_password_keeps_the_name_and_opens_nothing(browser):
    visitor = browser()

    answer = await visitor.send("/sign-in", username="afforest_head", password="no", next="/")

    assert answer.status_code == 401
    assert 'value="afforest_head"' in answer.text and "密码不正确" in answer.text
    assert "sanshen_session" not in visitor.client.cookies


async def test_signing_out_ends_the_session(browser, course):
    head = browser("afforest_head")

    await head.send("/sign-out")

    head.client.cookies.set("sanshen_session", head.client.cookies.get("sanshen_session") or "x")
    assert (await head.client.get(f"/items/{course.id}")).status_code == 303


async def test_unknown_page_is_a_page_and_a_program_still_gets_a_problem(browser):
    page = await browser().client.get("/nowhere")
    problem = await browser().client.get("/nowhere", headers={"Accept": "application/json"})

    assert page.status_code == problem.status_code == 404
    assert "<h1>找不到</h1>" in page.text
    assert problem.json()["code"] == "not_found"


async def test_another_sites_form_is_refused(browser, course):
    head = browser("afforest_head")
    head.csrf = "guessed"

    answer = await head.send(f"/items/{course.id}/acts/comment", reason="评论")

    assert answer.status_code == 403
    assert not course.item(lambda item: item.decisions)


async def test_form_of_an_earlier_session_learns_the_new_token_only_with_script(browser, course):
    head = browser("afforest_head")
    token, head.csrf = head.csrf, "earlier"

    scripted = await head.send(f"/items/{course.id}/decisions", script=True, verdict="approve")
    plain = await head.send(f"/items/{course.id}/decisions", verdict="approve")

    assert (scripted.status_code, scripted.headers["x-csrf-token"]) == (403, token)
    assert scripted.headers["hx-retarget"] == "#notice"
    assert plain.status_code == 403


def test_moments_and_lengths_are_said_in_the_bureaus_way():
    assert moment("2026-11-22T01:30:00+00:00") == "2026年11月22日 09:30"
    assert length(4_800) == "1 小时 20 分"
    assert left({"clock": "work", "seconds": 4_800, "total": 9_000}) == (
        "剩 1 小时 20 分（工作时间）"
    )
    assert left({"clock": "wall", "seconds": -93_600, "total": 1}) == "超时 1 天 2 小时"
