"""Where notices are put: for now a folder of mails and a log line; mail servers come later."""

import os
from email.message import Message
from pathlib import Path
from typing import Protocol

import structlog

log = structlog.get_logger()


class Mailbox(Protocol):
    """A way by which a message reaches a person."""

    def send(self, message: Message) -> None:
        """Send one message; a repeat carries the same Message-ID."""


class FolderMailbox:
    """Writes each mail as a file named by its Message-ID, so that a repeat is the same file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def send(self, message: Message) -> None:
        name = str(message["Message-ID"]).strip("<>").split("@")[0]
        path = self._folder / f"{name}.eml"
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(bytes(message))
        temporary.replace(path)
        log.info("notice_mailed", message_id=name)
