"""Bulletins (通报), as the person of a token."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from starter.cli_matters import DataOption, JsonOption, KeyOption, TokenOption, UrlOption, _client
from starter.cli_output import NOT_FOUND, fail, show

bulletin = typer.Typer(help="Bulletins (通报) and monthly tables.", no_args_is_help=True)
GROUPS = {"bulletin": bulletin}
PERIOD = re.compile(r"\d{4}-(\d\d|Q[1-4])")
PeriodArgument = Annotated[
    str, typer.Argument(metavar="PERIOD", help="A month or a quarter: 2026-09, 2026-Q3.")
]


def _path(period: str, side: str = "") -> str:
    """Return a bulletin's address; what can't be a period is not found, here as there."""
    if not PERIOD.fullmatch(period):
        fail("not_found", NOT_FOUND, id=period)
    return f"/bulletins/{period}{side}"


@bulletin.command("list")
def bulletin_list(
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List bulletins, the latest first.

    Example: sanshen bulletin list
    """
    found = _client(token, url, data).get("/bulletins")
    show(found, as_json, ("period", "state", "prepared_at", "signed_by", "issued_by", "digest"))


@bulletin.command("show")
def bulletin_show(
    period: PeriodArgument,
    word: Annotated[Path | None, typer.Option("--word", help="Write a .docx instead.")] = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one bulletin, or write it as a Word file.

    Example: sanshen bulletin show 2026-Q3 --word 通报.docx
    """
    web = _client(token, url, data)
    if word is not None:
        from starter.cli_forms import write_file

        write_file(word, web.download(_path(period, "/bulletin.docx")))
        print(word)
        return
    found: dict[str, Any] = web.get(_path(period))
    if not as_json:
        tables = found.pop("tables")
        found = {**found, "units": tables["units"], "nothing": tables["nothing"]}
    show(found, as_json)


@bulletin.command("act")
def bulletin_act(
    period: PeriodArgument,
    deed: Annotated[str, typer.Argument(metavar="ACT", help="revise, sign or issue.")],
    digest: Annotated[str, typer.Option("--digest", help="Of what you read, as `show` tells it.")],
    text: Annotated[
        Path | None, typer.Option("--text", help="A file with the new text, for `revise`.")
    ] = None,
    key: KeyOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revise, sign (centre chief) or issue (supervising leader) what you have read.

    Example: sanshen bulletin act 2026-Q3 sign --digest sha256:…
    """
    body = {"act": deed, "digest": digest}
    if text is not None:
        body["text"] = text.read_text(encoding="utf-8")
    show(_client(token, url, data).post(_path(period, "/acts"), body, key), as_json)


@bulletin.command("submit")
def bulletin_submit(
    period: PeriodArgument,
    channels: Annotated[str, typer.Option("--channels", help="With commas between.")],
    pledge: Annotated[
        bool, typer.Option("--pledge", help="It holds no secret and was proofread.")
    ] = False,
    key: KeyOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Submit an issued bulletin for publication; it passes the reviews of any item.

    Example: sanshen bulletin submit 2026-Q3 --channels site --pledge
    """
    body = {"channels": channels.split(","), "secrecy_pledge": pledge, "proofread": pledge}
    show(_client(token, url, data).post(_path(period, "/submission"), body, key), as_json)
