"""The channel register, as the person of a token; and connections, by whoever runs the machine."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from starter.cli_output import NOT_FOUND, fail, say, show, t

if TYPE_CHECKING:
    from sqlmodel import Session

channel = typer.Typer(help="The channel register (账号台账).", no_args_is_help=True)
GROUPS = {"channel": channel}

TokenOption = Annotated[
    str | None, typer.Option("--token", envvar="SANSHEN_TOKEN", help="Who acts.", show_envvar=True)
]
UrlOption = Annotated[
    str | None, typer.Option("--url", help="The web's address; else the one in DATA/run.json.")
]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="The data folder; else SANSHEN_DATA, else `data`.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]
ChannelArgument = Annotated[str, typer.Argument(metavar="CHANNEL", help="A channel's id.")]
Deed = Literal["open", "change", "suspend", "resume", "close"]

CHANNELS = "/channels"
COLUMNS = (
    *("id", "name", "platform", "operator_unit", "state", "filing_number", "days_silent"),
    "silence",
)
CHANGES = ("id", "channel", "deed", "fields", "reason", "proposed_by", "proposed_at")


def _client(token: str | None, url: str | None, data: Path | None) -> Any:
    from starter.cli_client import Client

    return Client(token, url, data)


@channel.command("list")
def channel_list(
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the channels: who operates them, what the register lacks, days without a post.

    Example: sanshen channel list
    """
    show(_client(token, url, data).get(CHANNELS), as_json, COLUMNS)


@channel.command("changes")
def channel_changes(
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the proposals about channels that wait for a second person.

    Example: sanshen channel changes
    """
    show(_client(token, url, data).get(f"{CHANNELS}/changes"), as_json, CHANGES)


@channel.command("propose")
def channel_propose(
    deed: Annotated[Deed, typer.Argument(help="What is to be done.")],
    channel_id: ChannelArgument,
    reason: Annotated[str, typer.Argument(help="Why.")],
    name: Annotated[str | None, typer.Option(help="What it is called.")] = None,
    platform: Annotated[str | None, typer.Option(help="website, wechat, push …")] = None,
    operator_unit: Annotated[str | None, typer.Option(help="The unit that operates it.")] = None,
    owner_entity: Annotated[str | None, typer.Option(help="In whose name it is.")] = None,
    certified_on: Annotated[str | None, typer.Option(help="The day of its 认证.")] = None,
    filing_number: Annotated[str | None, typer.Option(help="Its 备案编号.")] = None,
    applied_by_unit: Annotated[str | None, typer.Option(help="The unit that applied.")] = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propose to open, change, suspend, resume or close a channel; another person confirms it.

    Example: sanshen channel propose close oldblog 两年未更新
    """
    given = {
        "channel": channel_id, "deed": deed, "reason": reason, "name": name, "platform": platform,
        "operator_unit": operator_unit, "owner_entity": owner_entity,
        "certified_on": certified_on, "filing_number": filing_number,
        "applied_by_unit": applied_by_unit,
    }  # fmt: skip
    body = {field: value for field, value in given.items() if value is not None}
    show(_client(token, url, data).post(f"{CHANNELS}/changes", body, None), as_json)


@channel.command("decide")
def channel_decide(
    change: Annotated[str, typer.Argument(metavar="ID", help="An id of `channel changes`.")],
    verdict: Annotated[Literal["confirm", "reject"], typer.Argument(help="What you say.")],
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Confirm or reject a proposal; another than its proposer does it.

    Example: sanshen channel decide 01jd3v confirm
    """
    if not change or not all(c.isascii() and (c.isalnum() or c in "_-") for c in change):
        fail("not_found", NOT_FOUND, id=change)
    client = _client(token, url, data)
    show(client.post(f"{CHANNELS}/changes/{change}", {"verdict": verdict}, None), as_json)


@channel.command("connect")
def channel_connect(
    channel_id: ChannelArgument,
    address: Annotated[str, typer.Option(help="Where the platform is spoken to; https.")] = "",
    account: Annotated[str, typer.Option(help="The account there, such as an AppID.")] = "",
    option: Annotated[
        list[str] | None, typer.Option(help="name=value, as the kind of channel asks for.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register how a channel's platform is reached; the secret comes by standard input.

    An empty secret keeps the one that is there. See docs/channels.md.

    Example: sanshen channel connect wx --account wx0123 --option cover=MEDIA_ID < secret.txt
    """
    from review.acts.connecting import PURPOSE, connect_channel
    from review.addresses import wrong_with_url
    from review.records.kept import Box
    from review.rules.publications import Connection
    from review.settings import SettingsError, load
    from starter.cli_admin import in_ledger
    from starter.cli_output import CommandError

    given: dict[str, Any] = {} if data is None else {"data": data.expanduser().absolute()}
    try:
        settings = load(**given)  # the secret is sealed with SECRET_KEY, so it must be the real one
    except SettingsError as error:
        raise CommandError(str(error)) from None
    if address and wrong_with_url(address):
        fail("channel_address")
    pairs = [one.partition("=") for one in option or []]
    if not all(name and equals for name, equals, _ in pairs):
        fail("channel_option")
    if sys.stdin.isatty():
        secret = typer.prompt(t("channel_secret"), hide_input=True, err=True, default="")
    else:
        secret = sys.stdin.readline().strip()
    connection = Connection(
        address=address,
        account=account,
        secret=secret,
        options={name: value for name, _, value in pairs},
    )
    box = Box(settings.secret_key.get_secret_value().encode(), PURPOSE)

    def act(session: "Session") -> None:
        connect_channel(session, channel_id, connection, box, datetime.now(UTC))

    in_ledger(settings, act, write=True)
    if as_json:
        show({"channel": channel_id, "address": address, "account": account}, as_json=True)
    else:
        say(t("channel_connected", channel=channel_id))


@channel.command("callback")
def channel_callback(
    channel_id: ChannelArgument, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Show what a channel's platform needs to call back: address, Token, EncodingAESKey (公众号).

    They follow from SECRET_KEY and are shown at the machine's console alone; see docs/channels.md.

    Example: sanshen channel callback wx
    """
    from review.acts.connecting import show_callback
    from review.settings import SettingsError, load
    from starter.cli_admin import in_ledger
    from starter.cli_output import CommandError

    given: dict[str, Any] = {} if data is None else {"data": data.expanduser().absolute()}
    try:
        settings = load(**given)
    except SettingsError as error:
        raise CommandError(str(error)) from None
    secret = settings.secret_key.get_secret_value().encode()

    def act(session: "Session") -> tuple[str, str]:
        return show_callback(session, channel_id, secret, datetime.now(UTC))

    token, aes_key = in_ledger(settings, act, write=True)
    address = f"{settings.public_url.rstrip('/')}/hooks/wechat/{channel_id}"
    shown = {"address": address, "token": token, "aes_key": aes_key}
    if as_json:
        show(shown, as_json=True)
    else:
        say(t("channel_callback", **shown))
