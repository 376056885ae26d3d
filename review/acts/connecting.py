"""How each channel's platform is reached: registered by an administrator, the secret sealed."""

import secrets
from collections.abc import Mapping
from datetime import datetime

from sqlmodel import Session, col, select

from review.records.channels import ChannelConnection
from review.records.kept import NONCE, Box, note
from review.records.tables import Channel
from review.rules.errors import NotFoundError, RefusedError
from review.rules.publications import Connection

PURPOSE = "channel secrets"
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
