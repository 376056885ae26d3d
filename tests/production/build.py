"""Build Go programs from their modules into a cache outside the repository.

`python -m tests.production.build [temporal] [promtool] [kustomize]`; without a name, all of them.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.test_files import DEPLOY, documents


@dataclass(frozen=True)
class Source:
    """A module and the programs in it, by the names that they have in its own releases.

    Attributes:
        is_main: It has directives that count only in a module's own folder, where it is built then.
    """

    module: str
    programs: dict[str, str]
    is_main: bool = False


SOURCES = {
    "temporal": Source(
        "go.temporal.io/server",
        {"temporal-server": "/cmd/server", "temporal-sql-tool": "/cmd/tools/sql"},
    ),
    "promtool": Source(
        "github.com/prometheus/prometheus", {"promtool": "/cmd/promtool"}, is_main=True
    ),
    "kustomize": Source("sigs.k8s.io/kustomize/kustomize/v5", {"kustomize": ""}),
}
KUSTOMIZE = "v5.8.1"


class BuildError(Exception):
    """A program can't be built; the message says what was tried and what was answered."""


def version(name: str) -> str:
    """Return the version that compose.yaml names, as its module is tagged."""
    if name == "kustomize":
        return KUSTOMIZE
    images = [one["image"] for one in documents(DEPLOY / "compose.yaml")[0]["services"].values()]
    if name == "temporal":
        (found,) = (i.split(":")[1] for i in images if i.startswith("temporalio/server:"))
        return f"v{found}"
    # As a module Prometheus 3.7.3 is 0.307.3.
    (found,) = (i.split(":")[1] for i in images if i.startswith("prom/prometheus:"))
    numbers = re.fullmatch(r"v3\.(\d+)\.(\d+)", found)
    assert numbers, found
    return f"v0.{300 + int(numbers[1])}.{numbers[2]}"


def cache() -> Path:
    """Return where programs are kept unless told: the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "sanshen" / "production"


def built(name: str, folder: Path | None = None, wanted: str = "") -> Path | None:
    """Return the folder with a source's programs; None when they are not built yet."""
    programs = (folder or cache()) / f"{name}-{wanted or version(name)}"
    is_there = all((programs / program).exists() for program in SOURCES[name].programs)
    return programs if is_there else None


def build(name: str, folder: Path | None = None, wanted: str = "") -> Path:
    """Return the folder with a source's programs, built there unless they are there.

    Args:
        name: One of `SOURCES`.
        folder: The cache; a folder of each source and version lies in it.
        wanted: A version as the module is tagged, such as `v1.32.0`.

    Raises:
        BuildError: There is no Go, or it refuses.
    """
    if found := built(name, folder, wanted):
        return found
    go = shutil.which("go", path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/go/bin")
    if go is None:
        raise BuildError("there is no `go`, neither in PATH nor in /usr/local/go/bin")
    wanted, source = wanted or version(name), SOURCES[name]
    programs = (folder or cache()) / f"{name}-{wanted}"
    made = programs.with_name(f"{programs.name}.new")
    made.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GOBIN": str(made), "GOFLAGS": ""}
    # Two at a time and behind everything else: it is minutes of compiling.
    command = ["nice", "-n", "10", go, "install", "-p=2", "-trimpath"]
    if source.is_main:
        fetched = _run([go, "mod", "download", "-json", f"{source.module}@{wanted}"], environment)
        command[5:5] = ["-C", json.loads(fetched)["Dir"]]
        command += [f".{package}" for package in source.programs.values()]
    else:
        command += [f"{source.module}{package}@{wanted}" for package in source.programs.values()]
    _run(command, environment)
    for program, package in source.programs.items():
        (made / (Path(package).name or program)).rename(made / program)
    shutil.rmtree(programs, ignore_errors=True)
    made.rename(programs)
    return programs


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", choices=[*SOURCES, []])
    parser.add_argument("--cache", type=Path, default=cache(), help="where programs are kept")
    given = parser.parse_args()
    for name in given.only or SOURCES:
        print(f"{name} {version(name)} … ", end="", flush=True)
        try:
            print(build(name, given.cache), flush=True)
        except BuildError as error:
            print(error, file=sys.stderr)
            return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
