"""Retention (A-29), as the person of a token."""

from typing import Any

import typer

from starter.cli_matters import DataOption, JsonOption, KeyOption, TokenOption, UrlOption, _client
from starter.cli_output import show

retention = typer.Typer(help="How long what is no record is kept (A-29).", no_args_is_help=True)
GROUPS = {"retention": retention}


@retention.command("report")
def retention_report(
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what would go and from when, and what became of earlier reports.

    Example: sanshen retention report
    """
    found: dict[str, Any] = _client(token, url, data).get("/retention")
    if as_json:
        show(found, as_json)
        return
    show(
        {**found["rules"], **{f"{name} now": n for name, n in found["forgettable"].items()}}, False
    )
    lines = [
        {"report": one["at"], "from": one["remove_from"], **entry}
        for one in found["items"]
        for entry in one["entries"]
    ]
    show(
        {"items": lines, "next": None},
        False,
        ("report", "from", "kind", "person", "as_of", "state"),
    )


@retention.command("run")
def retention_run(
    key: KeyOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove what was reported long enough ago, as the system administrator; report anew.

    Example: sanshen retention run
    """
    show(_client(token, url, data).post("/retention/runs", {}, key), as_json)
