"""Files by their SHA-256, under DATA/blobs: written whole or not at all, never changed.

Nothing comes here before it has been cleaned and screened (R1.3-4).
"""

import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

DIGEST = re.compile("[0-9a-f]{64}")
CHUNK = 1024 * 1024  # bytes
NEW = ".new-"  # how a file is called while it is written
ASIDE = ".old-"  # and before its name while it is decided whether it goes
LATELY = 24 * 3600  # seconds; an upload's row follows its bytes much sooner
MISSING, ALTERED = "missing", "altered"


def digest_of(content: bytes) -> str:
    """Return the name under which these bytes are kept: their SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


class Blobs:
    """The folder of kept files.

    Args:
        root: Made when the first file comes, private to its owner.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, digest: str) -> Path:
        """Return where a file is kept.

        Raises:
            ValueError: That is no digest.
        """
        name = digest.removeprefix("sha256:")
        if not DIGEST.fullmatch(name):
            raise ValueError("not a SHA-256 in hex")
        return self._root / name[:2] / name

    def put(self, content: bytes) -> str:
        """Keep bytes durably and return their digest; a sound copy that is there is left alone."""
        digest = digest_of(content)
        path = self.path(digest)
        if self.problem(digest) is None:
            with suppress(FileNotFoundError):  # set aside this moment: kept anew below
                os.utime(path)  # somebody needs it: see `drop_aside`
                return digest
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f"{NEW}{secrets.token_hex(8)}")
        try:
            with new.open("xb") as file:
                os.chmod(file.fileno(), 0o600)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        for folder in (path.parent, self._root):
            _sync(folder)
        return digest

    def set_aside(self, digest: str) -> bool:
        """Take a file out of the way, for `drop_aside` or `put_back`; False when there is none."""
        path = self.path(digest)
        with suppress(FileNotFoundError):
            path.replace(_aside(path))
        return _aside(path).exists()

    def put_back(self, digest: str) -> None:
        """Have a file that was set aside where it was, unless the same bytes came anew."""
        path = self.path(digest)
        with suppress(FileNotFoundError):  # nothing was set aside, or another was quicker
            if path.exists():
                _aside(path).unlink()
            else:
                _aside(path).replace(path)

    def drop_aside(self, digest: str) -> bool:
        """Remove a file that was set aside; False, and it is back, if somebody kept it lately."""
        aside = _aside(self.path(digest))
        try:
            if time.time() - aside.stat().st_mtime < LATELY:
                self.put_back(digest)
                return False
            aside.unlink()
        except FileNotFoundError:  # another was quicker
            return False
        return True

    def read(self, digest: str) -> bytes | None:
        """Return a file's bytes; None when they are not there or not those that were kept."""
        try:
            content = self.path(digest).read_bytes()
        except OSError:
            return None
        return content if digest_of(content) == digest.removeprefix("sha256:") else None

    def problem(self, digest: str) -> str | None:
        """Return `missing` or `altered`, None when every byte on the disk is as it was kept."""
        found = hashlib.sha256()
        try:
            with self.path(digest).open("rb") as file:
                while chunk := file.read(CHUNK):
                    found.update(chunk)
        except OSError:
            return MISSING
        return None if found.hexdigest() == digest.removeprefix("sha256:") else ALTERED

    def problems(self, digests: Iterable[str]) -> dict[str, str]:
        """Return what is wrong, by digest."""
        return {one: what for one in digests if (what := self.problem(one)) is not None}


def _aside(path: Path) -> Path:
    return path.with_name(f"{ASIDE}{path.name}")


def _sync(folder: Path) -> None:
    """Make a rename durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
