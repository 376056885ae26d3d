"""What `deploy/` holds is what its tools take, as those tools say; no container is started."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from compose_spec import PyOptions
from ruamel.yaml import YAML

from review.settings import Settings, SettingsError, load
from tests.conftest import missing

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = sorted((DEPLOY / "kubernetes" / "base").glob("*.yaml"))
CRDS = {"ScaledObject"}  # KEDA's own; no schema of it comes with Kubernetes
RELEASE = "1.34"


def documents(file: Path) -> list[dict[str, Any]]:
    return [dict(one) for one in YAML(typ="safe").load_all(file) if one]


def program(name: str) -> str:
    """Return a program that came with the development packages."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    if found is None:
        missing(name)
    return str(found)


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=60
    )


def test_the_image_is_built_as_hadolint_wants():
    done = run(program("hadolint"), "--no-color", str(DEPLOY / "Dockerfile"))

    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_nobody_special_and_asks_after_its_health():
    text = (DEPLOY / "Dockerfile").read_text()

    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert "HEALTHCHECK" in last and "SANSHEN_PRODUCTION=true" in last
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[0] == "*" and not {"!tests", "!.env", "!data"} & set(ignored)


def test_compose_is_what_the_specification_says_and_nothing_of_ours_may_write_its_root():
    text = (DEPLOY / "compose.yaml").read_text()
    as_specified = PyOptions()
    as_specified.apply_merge = True
    as_specified.from_yaml(text).validate()
    with pytest.raises(ValueError, match="healthchek"):
        as_specified.from_yaml(text.replace("healthcheck:", "healthchek:", 1))

    services = documents(DEPLOY / "compose.yaml")[0]["services"]
    for name in ("web", "worker", "prepare"):
        assert services[name]["read_only"] and services[name]["cap_drop"] == ["ALL"], name
    assert services["web"]["deploy"]["replicas"] == services["worker"]["deploy"]["replicas"] == 2
    assert set(services) >= {"postgres", "temporal", "caddy", "prometheus", "grafana"}
    open_to_all = {
        name: [port for port in one.get("ports", ()) if not port.startswith("127.0.0.1:")]
        for name, one in services.items()
    }
    assert {name: ports for name, ports in open_to_all.items() if ports} == {
        "caddy": ["80:80", "443:443"]
    }
    for mount in re.findall(r"- (\./[^:]+):", text):
        assert (DEPLOY / mount).exists(), mount


def test_caddy_takes_its_file():
    done = run(
        program("caddy"), "validate", "--adapter", "caddyfile",
        "--config", str(DEPLOY / "caddy" / "Caddyfile"),
        SITE_NAME="sanshen.example.gov.cn", UPSTREAMS="127.0.0.1:8081 127.0.0.1:8082",
    )  # fmt: skip

    assert done.returncode == 0 and "Valid configuration" in done.stdout, done.stderr


@pytest.mark.parametrize("file", KUBERNETES, ids=lambda file: file.name)
def test_kubernetes_takes_the_manifests(file: Path):
    found = documents(file)

    assert found
    for one in found:
        if one["kind"] not in {*CRDS, "Kustomization"}:
            kubernetes_validate.validate(one, RELEASE, strict=True)


def test_a_manifest_with_a_slip_is_noticed():
    """What the test above rests on."""
    service = next(one for one in documents(KUBERNETES[-1].parent / "web.yaml")
                   if one["kind"] == "Service")  # fmt: skip
    service["spec"]["port"] = service["spec"].pop("ports")

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, RELEASE, strict=True)


def test_kustomize_names_every_file_and_no_other():
    named = documents(DEPLOY / "kubernetes" / "base" / "kustomization.yaml")[0]["resources"]

    assert sorted(named) == [one.name for one in KUBERNETES if one.name != "kustomization.yaml"]


def test_pods_are_restricted_and_every_policy_finds_its_pods():
    pods, wanted = {}, []
    for one in (one for file in KUBERNETES for one in documents(file)):
        match one["kind"]:
            case "Deployment" | "Job":
                pods[one["metadata"]["name"]] = one["spec"]["template"]
            case "CronJob":
                pods[one["metadata"]["name"]] = one["spec"]["jobTemplate"]["spec"]["template"]
            case "NetworkPolicy":
                wanted.append(one["spec"]["podSelector"].get("matchLabels", {}))
            case "PodDisruptionBudget":
                wanted.append(one["spec"]["selector"]["matchLabels"])

    assert set(pods) == {"web", "worker", "prepare", "backup"}
    for name, pod in pods.items():
        assert pod["spec"]["securityContext"]["runAsNonRoot"], name
        for container in pod["spec"]["containers"]:
            inside = container["securityContext"]
            assert inside["readOnlyRootFilesystem"] and not inside["allowPrivilegeEscalation"]
            assert inside["capabilities"] == {"drop": ["ALL"]}, name
    for labels in wanted:
        assert any(labels.items() <= pod["metadata"]["labels"].items() for pod in pods.values())


def test_systemd_takes_the_units(tmp_path: Path):
    verify = program("systemd-analyze")
    for file in (DEPLOY / "systemd").iterdir():
        # The program itself is not installed here; the rest is verified as it is.
        text = file.read_text().replace("/opt/sanshen/bin/sanshen", "/bin/true")
        (tmp_path / file.name.replace("@.", "@8081.")).write_text(text)

    done = run(verify, "verify", "--man=no", *map(str, sorted(tmp_path.iterdir())))

    assert (done.returncode, done.stderr) == (0, "")


def variables() -> dict[str, set[str]]:
    """Return each SANSHEN_ variable that a file of deploy/ sets."""
    found: dict[str, set[str]] = {}
    for file in DEPLOY.rglob("*"):
        if file.is_file():
            for name in re.findall(r"\bSANSHEN_([A-Z_]+)\b", file.read_text()):
                found.setdefault(name, set()).add(file.name)
    return found


def test_every_variable_is_a_setting():
    known = {name.upper() for name in Settings.model_fields}

    assert {name: files for name, files in variables().items() if name not in known} == {}


def test_the_example_of_settings_does_not_start(monkeypatch: pytest.MonkeyPatch):
    for line in (DEPLOY / "settings.env.example").read_text().splitlines():
        name, is_set, value = line.partition("=")
        if is_set and name.startswith("SANSHEN_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("SANSHEN_PRODUCTION", "true")

    with pytest.raises(SettingsError):
        load()
