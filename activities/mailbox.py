"""Where notices go as mail: a mail server over TLS, or a folder while none is named."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Sequence
from email.message import Message
from pathlib import Path
from typing import Literal, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

import aiosmtplib
import structlog

log = structlog.get_logger()

PATIENCE = 20.0  # seconds for each word of a mail server
HERE = ("localhost", "127.0.0.1", "::1")


class Outcome(NamedTuple):
    """What became of one letter.

    Attributes:
        state: `refused` is for good, such as an address that doesn't exist; `failed` may go later;
            `away` says it of the whole server.
        detail: The server's three digits, or the name of an error; never a text.
    """

    state: Literal["sent", "refused", "failed", "away"]
    detail: str = ""


class Mailbox(Protocol):
    """A way by which letters reach people.

    Attributes:
        batch: How many letters it takes at once.
        needs_address: Whether somebody without a mail address is left out.
    """

    batch: int
    needs_address: bool

    def send(self, letters: Sequence[Message]) -> AsyncIterator[list[Outcome]]:
        """Send letters in their order; yield what became of the next ones as soon as it is known.

        A repeat of a letter carries the same Message-ID. What is not told of did not go out.
        """


class FolderMailbox:
    """Writes each mail as a file named by its Message-ID, so that a repeat is the same file."""

    batch = 100
    needs_address = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def send(self, letters: Sequence[Message]) -> AsyncIterator[list[Outcome]]:
        yield await asyncio.to_thread(lambda: [self._write(letter) for letter in letters])

    def _write(self, letter: Message) -> Outcome:
        name = str(letter["Message-ID"]).strip("<>").split("@")[0]
        path = self._folder / f"{name}.eml"
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            temporary.write_bytes(bytes(letter))
            temporary.replace(path)
        except OSError as error:
            return Outcome("failed", type(error).__name__)
        log.info("notice_mailed", message_id=name)
        return Outcome("sent")


class SmtpMailbox:
    """Hands letters to a mail server, one connection a batch.

    Args:
        url: `smtps://USER:PASSWORD@HOST:PORT`, or `smtp://…`, which must offer STARTTLS unless the
            server is on this machine. Whom certificates are trusted by, `SSL_CERT_FILE` says.
    """

    batch = 20
    needs_address = True

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "localhost"
        self._tls = parts.scheme == "smtps"
        self._port = parts.port or (465 if self._tls else 25)
        self._user = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None

    async def send(self, letters: Sequence[Message]) -> AsyncIterator[list[Outcome]]:
        is_here = self._host in HERE
        server = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            username=self._user,
            password=self._password,
            use_tls=self._tls,
            start_tls=False if self._tls else (None if is_here else True),
            tls_context=ssl.create_default_context(),
            timeout=PATIENCE,
        )
        try:
            await server.connect()
        except (aiosmtplib.SMTPException, OSError, ssl.SSLError) as error:
            yield [Outcome("away", _name_of(error))]
            return
        try:
            for letter in letters:
                outcome = await self._hand_over(server, letter)
                yield [outcome]
                if not server.is_connected:
                    return
        finally:
            await _leave(server)

    async def _hand_over(self, server: aiosmtplib.SMTP, letter: Message) -> Outcome:
        try:
            await server.sendmail(_plain(letter["From"]), [_plain(letter["To"])], bytes(letter))
        except aiosmtplib.SMTPRecipientsRefused as error:
            return _judged(error.recipients[0].code)
        except aiosmtplib.SMTPResponseException as error:
            return _judged(error.code)
        except (aiosmtplib.SMTPException, OSError) as error:
            server.close()  # what this server says next would answer the last letter
            return Outcome("away", _name_of(error))
        log.info("notice_mailed", message_id=str(letter["Message-ID"]).strip("<>").split("@")[0])
        return Outcome("sent")


async def _leave(server: aiosmtplib.SMTP) -> None:
    if not server.is_connected:
        return
    try:
        await server.quit()
    except (aiosmtplib.SMTPException, OSError):
        server.close()


def _judged(code: int) -> Outcome:
    return Outcome("refused" if 500 <= code < 600 else "failed", str(code))


def _name_of(error: Exception) -> str:
    code = getattr(error, "code", "")
    return f"{type(error).__name__} {code}".strip()


def _plain(header: object) -> str:
    """Return the address in a header that is one."""
    return str(header).rpartition("<")[2].strip("<> ")
