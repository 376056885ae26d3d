"""A real mail server with TLS in this process, that refuses, fails and loses as it is told."""

import asyncio
import email
import email.policy
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlmodel import select

from review.records.engine import Ledger
from review.records.letters import LetterTry
from review.records.tables import Notice, PersonRow

USER, PASSWORD = "sanshen", "p@ss word"


def certificate(folder: Path, name: str = "127.0.0.1") -> tuple[Path, Path]:
    """Make a key and a certificate that stands for an address; return both files."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    public, private = folder / "server.pem", folder / "server.key"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )  # fmt: skip
    return public, private


class Post:
    """What came to the server, and what it is to do with the next.

    Attributes:
        unknown: Addresses it answers 550.
        busy: How many letters it answers 451 after their text.
        lost: How many letters it takes and then breaks off without an answer.
    """

    def __init__(self) -> None:
        self.letters: list[tuple[str, EmailMessage]] = []
        self.unknown: set[str] = set()
        self.busy = 0
        self.lost = 0
        self.was_private: set[bool] = set()

    def to(self, address: str) -> list[EmailMessage]:
        return [letter for whom, letter in self.letters if whom == address]

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, to: str, _: Any) -> str:
        if to in self.unknown:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        if self.busy:
            self.busy -= 1
            return "451 try again later"
        is_tls = server.transport.get_extra_info("ssl_object") is not None
        self.was_private.add(is_tls and session.authenticated)
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.letters += [(to, letter) for to in envelope.rcpt_tos]
        if self.lost:
            self.lost -= 1
            server.transport.abort()
            await asyncio.sleep(0)
        return "250 OK"


@contextmanager
def serving(post: Post, folder: Path, *, port: int = 0, tls: str = "smtps") -> Iterator[str]:
    """Serve until the end; yield the URL with user and password.

    Args:
        tls: `smtps`, `starttls` or `` for none.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")

    def known(_server: Any, _session: Any, _envelope: Any, _way: str, data: Any) -> AuthResult:
        right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=right)

    options: dict[str, Any] = {"authenticator": known}
    if tls == "smtps":
        options |= {"ssl_context": context, "auth_require_tls": False}
    elif tls == "starttls":
        options |= {"tls_context": context, "require_starttls": True, "auth_required": True}
    controller = Controller(post, hostname="127.0.0.1", port=port or _free(), **options)
    controller.start()
    try:
        user = "sanshen:p%40ss%20word@" if tls else ""
        scheme = "smtps" if tls == "smtps" else "smtp"
        yield f"{scheme}://{user}127.0.0.1:{controller.port}"
    finally:
        controller.stop()


def _free() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def told_once(ledger: Ledger, post: Post) -> int:
    """Assert that each notice reached its person by one letter and nobody else; return how many.

    What was over before it could be sent, or stood in a newer reminder, is in the inbox alone.
    """
    with ledger.reading() as session:
        notices = session.exec(select(Notice)).all()
        addresses = {row.id: row.email for row in session.exec(select(PersonRow))}
        tries = session.exec(select(LetterTry)).all()
    assert {one.error for one in notices} <= {"", "over", "coalesced"}
    sent = [one for one in tries if one.state == "sent"]
    names = {
        id_: one.notices[0] if len(one.notices) == 1 else f"digest-{one.notices[0]}"
        for one in sent
        for id_ in one.notices
    }
    assert Counter(id_ for one in sent for id_ in one.notices) == Counter(
        one.id for one in notices if not one.error
    )
    expected = {
        (addresses[one.person_id], f"<{names[one.id]}@sanshen>") for one in notices if not one.error
    }
    arrived = Counter((to, str(letter["Message-ID"])) for to, letter in post.letters)
    assert arrived == Counter(expected)
    return len(names)
