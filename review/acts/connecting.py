"""How each channel's platform is reached: registered by an administrator, the secret sealed."""

import secrets
import string
from collections.abc import Mapping
from datetime import datetime

from sqlmodel import Session, col, select

from review.envelopes import Envelope
from review.records.channels import ChannelConnection
from review.records.kept import NONCE, Box, derived, note
from review.records.tables import Channel
from review.rendering import WECHAT
from review.rules.errors import NotFoundError, RefusedError
from review.rules.publications import Connection

PURPOSE = "channel secrets"
LETTERS = string.ascii_letters + string.digits
TOKEN, AES_KEY = 32, 43  # characters, as 公众号 wants them
ONE_ACCOUNT = frozenset({"wechat"})  # platforms where a second channel of an account is a mistake


def connect_channel(
    session: Session,
    channel_id: str,
    connection: Connection,
    box: Box,
    now: datetime,
    *,
    by: str = "",
    way_in: str = "",
) -> None:
    """Register how a channel is reached; an empty secret keeps the one that was given before.

    Args:
        by: The person; empty is whoever has the machine's console.

    Raises:
        NotFoundError: There is no such channel.
        RefusedError: `channel_account_taken`: another channel publishes with this account.
    """
    place = session.get(Channel, channel_id, with_for_update=True)
    if place is None:
        raise NotFoundError
    if place.platform in ONE_ACCOUNT and connection.account:
        others = session.exec(
            select(ChannelConnection.channel_id)
            .join(Channel, col(Channel.id) == col(ChannelConnection.channel_id))
            .where(Channel.platform == place.platform)
            .where(ChannelConnection.account == connection.account)
            .where(ChannelConnection.channel_id != channel_id)
        ).first()
        if others is not None:
            raise RefusedError("channel_account_taken", channel=others)
    row = session.get(ChannelConnection, channel_id) or ChannelConnection(
        channel_id=channel_id, set_at=now
    )
    row.address, row.account = connection.address.rstrip("/"), connection.account
    row.options = dict(connection.options)
    if connection.secret:
        row.secret = box.seal(connection.secret.encode(), channel_id, secrets.token_bytes(NONCE))
    row.set_at, row.set_by = now, by
    session.add(row)
    note(
        session, "channel_connected", now, by, way_in, channel=channel_id, address=row.address,
        account=row.account, secret_changed=bool(connection.secret),
    )  # fmt: skip


def connection_of(
    session: Session, channel_id: str, box: Box, given: Mapping[str, str]
) -> Connection | None:
    """Return how a channel is reached, its secret opened; None when nobody registered it.

    Args:
        given: Secrets from the settings by channel; they beat the ledger's.
    """
    row = session.get(ChannelConnection, channel_id)
    if row is None:
        return None
    secret = given.get(channel_id, "")
    if not secret and row.secret:
        opened = box.open(row.secret, channel_id)
        secret = opened.decode() if opened is not None else ""
    return Connection(
        address=row.address,
        account=row.account,
        secret=secret,
        options={name: str(value) for name, value in row.options.items()},
    )


def callback_keys(secret: bytes, channel_id: str) -> tuple[str, str]:
    """Return Token and EncodingAESKey of a channel's callbacks.

    They are made from SECRET_KEY each time they are needed and kept nowhere.
    """
    raw = derived(secret, f"callbacks of {channel_id}", TOKEN + AES_KEY)
    letters = "".join(LETTERS[one % len(LETTERS)] for one in raw)
    return letters[:TOKEN], letters[TOKEN:]


def envelope_of(session: Session, channel_id: str, secret: bytes) -> Envelope:
    """Return with what a channel's callbacks are signed and sealed.

    Raises:
        NotFoundError: No such channel, or none that calls back, or nobody connected it.
    """
    place = session.get(Channel, channel_id)
    row = session.get(ChannelConnection, channel_id)
    if place is None or place.platform != WECHAT or row is None or not row.account:
        raise NotFoundError
    return Envelope(*callback_keys(secret, channel_id), row.account)


def show_callback(
    session: Session, channel_id: str, secret: bytes, now: datetime
) -> tuple[str, str]:
    """Return a channel's callback keys to whoever has the machine's console, and trace it.

    Raises:
        NotFoundError: As `envelope_of`.
    """
    envelope_of(session, channel_id, secret)
    note(session, "channel_callback_shown", now, "", channel=channel_id)
    return callback_keys(secret, channel_id)
