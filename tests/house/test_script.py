"""The shell script that makes the environment, and what it installs."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def names_in(lines: str) -> set[str]:
    """Return the distributions a requirements file asks for, by their normal names."""
    found = re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)", lines, re.M)
    return {re.sub(r"[._]", "-", name).lower() for name in found}


@pytest.mark.parametrize(("shell", "script"), [("sh", "sanshen"), ("bash", ".ci/run")])
def test_script_is_sound_and_can_be_run(shell: str, script: str) -> None:
    checked = subprocess.run([shell, "-n", ROOT / script], capture_output=True, text=True)

    assert checked.returncode == 0, checked.stderr
    assert (ROOT / script).stat().st_mode & 0o111
    assert (ROOT / script).read_text().startswith(f"#!/bin/{shell}\n")


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_lock_is_hashed_and_names_no_source(lock: str) -> None:
    text = (ROOT / lock).read_text()
    pins = re.findall(
        r"^[a-z0-9][^\n]*==(?:[^\n]*\\\n)(?:    --hash=sha256:\w{64}[^\n]*\n)+", text, re.M
    )

    assert len(pins) == len(re.findall("==[0-9]", text)) > 50
    assert not re.search(r"https?://|--(?:extra-)?index|find-links|trusted-host", text)


def test_every_requirement_is_pinned_and_the_two_locks_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    run, dev = ((ROOT / f"requirements{kind}.lock").read_text() for kind in ("", "-dev"))
    asked = {kind: (ROOT / f"requirements{kind}.in").read_text() for kind in ("", "-dev")}

    assert names_in("\n".join(project["dependencies"])) | {"setuptools"} == names_in(asked[""])
    assert names_in("\n".join(project["optional-dependencies"]["dev"])) == names_in(asked["-dev"])
    assert names_in(asked[""]) <= names_in(run)
    assert names_in(asked["-dev"]) <= names_in(dev)
    pinned = re.findall(r"^[a-z0-9].*==\S+", run, re.M)
    assert set(pinned) <= set(re.findall(r"^[a-z0-9].*==\S+", dev, re.M))
