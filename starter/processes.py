"""A child process that does not outlive us: own group, own log file, tied to our life."""

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1  # prctl(2)
LOG_LIMIT = 20_000_000  # bytes; a fuller log is put aside at the next start, one is kept


class Child:
    """One program of the tree."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        keep_open: Sequence[int] = (),
    ) -> None:
        """Describe the program; nothing runs yet.

        Args:
            name: What the supervisor's own log calls it.
            command: Program and arguments.
            log: Takes its standard output and standard error.
            environment: The whole of it.
            keep_open: File descriptors it inherits, such as the lock's.
        """
        self.name = name
        self.log = log
        self._command = tuple(command)
        self._environment = dict(environment)
        self._keep_open = tuple(keep_open)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Return its process id while it runs."""
        return self._process.pid if self.running and self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it, on the main thread: the kernel ties a child to the thread that forks it.

        Raises:
            OSError: The program can't be run or its log can't be written.
        """
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > LOG_LIMIT:
                self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                pass_fds=self._keep_open,
                start_new_session=True,
                preexec_fn=_tied_to(os.getpid()),
            )

    async def ended(self) -> int:
        """Wait until it has ended; return its exit code, negative for a signal."""
        assert self._process is not None, "start() comes first"
        return await self._process.wait()

    async def stop(self, grace_seconds: float) -> None:
        """Ask it to end, and end it with its whole group when it does not in time."""
        if not self.running or self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), grace_seconds)
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()


def _tied_to(parent: int) -> Callable[[], None]:
    """Return what a child does before its program: ask to be killed when its parent dies."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)

    def tie() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return tie


def identity(pid: int) -> str | None:
    """Return what tells this process from every other that has or had its id; None: it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()  # proc(5): from the third field on
    return None if state == "Z" else f"{boot}/{pid}/{fields[18]}"  # 22nd: ticks from boot to start


def end_stale(left: Mapping[str, tuple[int, str]], grace_seconds: float = 3) -> tuple[str, ...]:
    """Kill what a dead supervisor left behind, and only that.

    Args:
        left: By name, the process id and the identity that was noted with it; a process that took
            the same id later has another identity and is left alone.
        grace_seconds: How long to wait until they are gone.

    Returns:
        The names of those that were still there.
    """
    ours = {name: pid for name, (pid, noted) in left.items() if identity(pid) == noted}
    for pid in ours.values():
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # each leads a group of its own
    deadline = time.monotonic() + grace_seconds
    while any(identity(pid) == left[name][1] for name, pid in ours.items()):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return tuple(ours)
