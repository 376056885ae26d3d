"""What Prometheus and Kustomize themselves say of `deploy/`.

Outside CI: `python -m tests.production.build promtool kustomize`, then
`python -m pytest tests/production/files.py`.
"""

from pathlib import Path

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from tests.deploy.test_files import CRDS, DEPLOY, RELEASE, run
from tests.deploy.test_watching import rules
from tests.production.build import built

RULE_TESTS = Path(__file__).parent / "alerts.test.yaml"


def tool(name: str) -> str:
    found = built(name)
    assert found is not None, f"python -m tests.production.build {name}"
    return str(found / name)


def test_prometheus_takes_its_settings_and_the_alerts():
    done = run(tool("promtool"), "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))

    assert done.returncode == 0 and f"SUCCESS: {len(rules())} rules found" in done.stdout, (
        done.stderr
    )


def test_alerts_wake_somebody_when_they_should_and_only_then():
    done = run(tool("promtool"), "test", "rules", str(RULE_TESTS))

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["base", "cloud"])
def test_what_kustomize_renders_is_what_kubernetes_takes(name: str):
    done = run(tool("kustomize"), "build", str(DEPLOY / "kubernetes" / name))

    assert done.returncode == 0, done.stderr
    found = [dict(one) for one in YAML(typ="safe").load_all(done.stdout)]
    assert len(found) > 15
    for one in found:
        if one["kind"] not in CRDS:
            kubernetes_validate.validate(one, RELEASE, strict=True)
        if one["kind"] != "Namespace":
            assert one["metadata"]["namespace"] == "sanshen", one["metadata"]
    images = {
        container["image"]
        for one in found
        if one["kind"] in ("Deployment", "Job")
        for container in one["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"sanshen:0.1.0"}
