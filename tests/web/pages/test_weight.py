"""Pages on a bad line: little to fetch, nothing from elsewhere, and kept for ever once fetched."""

import re
from typing import Any

import httpx

FIRST_PAGE = 60_000  # bytes with styles and script, as they are sent
FETCHED = re.compile(r'<(?:link|script|img|iframe)\b[^>]*?\b(?:href|src)="([^"]*)"')
HASHED = re.compile(r"/static/[a-z0-9./-]+\.[0-9a-f]{12}\.(?:css|js|svg)")


async def sent(client: httpx.AsyncClient, path: str) -> tuple[int, str, httpx.Headers]:
    """Return how many bytes an answer's body has on the line, its text and its headers."""
    async with client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    again = await client.get(path)
    return len(raw), again.text, answer.headers


async def test_pages_are_light_and_fetch_nothing_from_elsewhere(browser: Any, course: Any) -> None:
    seen = {
        "": ("/sign-in", "/verify"),
        "afforest_head": ("/", f"/items/{course.id}"),
        "afforest_info": ("/write",),
        "supervisor_a": ("/board", "/items"),
    }
    for person, paths in seen.items():
        client = browser(person).client
        for path in paths:
            weight, page, headers = await sent(client, path)
            assert headers["content-encoding"] == "gzip"
            fetched = [one for one in FETCHED.findall(page) if not one.startswith("/items/")]
            for one in fetched:
                assert HASHED.fullmatch(one), (path, one)
                more, _, kept = await sent(client, one)
                assert "immutable" in kept["cache-control"]
                weight += more

            assert len(fetched) >= 2  # its style and its icon at least
            assert weight < FIRST_PAGE, (path, weight)


async def test_page_opened_from_another_site_is_not_packed_over_https(
    app: Any, browser: Any, course: Any
) -> None:
    """Its length would tell what it holds to whoever chose its address and watches the line."""
    client = browser("afforest_head").client
    packed = {"Accept-Encoding": "gzip", "Sec-Fetch-Site": "same-origin"}
    apart = packed | {"Sec-Fetch-Site": "cross-site"}

    assert (await client.get("/", headers=packed)).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in (await client.get("/", headers=apart)).headers
