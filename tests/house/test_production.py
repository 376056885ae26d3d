"""What production refuses to start with, and which engines it won't work on."""

import base64
import secrets

import pytest
from temporalio.client import Client

from review.engine import is_new_enough, require_version
from review.settings import SettingsError, load

GOOD = {
    "SECRET_KEY": secrets.token_urlsafe(48),
    "PAYLOAD_KEYS": "k:" + base64.b64encode(secrets.token_bytes(32)).decode(),
    "PUBLIC_URL": "https://sanshen.example.gov.cn",
    "DATABASE_URL": f"postgresql://sanshen:{secrets.token_urlsafe(18)}@db/sanshen",
}
EVEN = base64.b64encode(bytes(32)).decode()


@pytest.fixture
def given(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def load_with(**changes: str) -> None:
        for name, value in {"PRODUCTION": "true", **GOOD, **changes}.items():
            monkeypatch.setenv(f"SANSHEN_{name}", value)
        load()

    return load_with


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SECRET_KEY", "please-change-me-please-change-me", "SECRET_KEY"),
        ("SECRET_KEY", "a" * 64, "SECRET_KEY"),
        ("SECRET_KEY", "0123456789" * 5, "SECRET_KEY"),
        ("PAYLOAD_KEYS", f"k:{EVEN}", "PAYLOAD_KEYS k"),
        ("PAYLOAD_KEYS", "", "PAYLOAD_KEYS"),
        ("AUDIT_KEYS", EVEN, "AUDIT_KEYS"),
        ("OA_WEBHOOK_KEYS", f"oa:{EVEN}", "OA_WEBHOOK_KEYS oa"),
        ("DATABASE_URL", "postgresql://sanshen:sanshen@db/sanshen", "DATABASE_URL"),
        ("DATABASE_URL", "postgresql://sanshen:please-change-me@db/sanshen", "DATABASE_URL"),
        ("PUBLIC_URL", "http://sanshen.example.gov.cn", "PUBLIC_URL"),
    ],
)
def test_production_refuses_what_can_be_guessed_and_never_shows_it(given, name, value, told):
    with pytest.raises(SettingsError) as refusal:
        given(**{name: value})

    assert told in str(refusal.value) and "\n" not in str(refusal.value)
    assert not value or value.rpartition(":")[2] not in str(refusal.value)


def test_production_starts_with_keys_of_its_own_and_elsewhere_any_will_do(given):
    given()
    given(PRODUCTION="false", SECRET_KEY="a" * 64, PUBLIC_URL="http://x")


@pytest.mark.parametrize(
    ("version", "is_good"),
    [
        ("1.30.6", False), ("1.30.7", True), ("1.30.10", True), ("1.31.2", False),
        ("1.31.3", True), ("1.32.0", True), ("1.32.0-154.2", True), ("v1.33.1", True),
        ("2.0.0", True), ("1.29.9", False), ("1.9.99", False), ("", False), ("1.32", False),
        ("none", False), ("1.32.0.1", False),
    ],
)  # fmt: skip
def test_engines_with_known_holes_are_told_from_others(version, is_good):
    assert is_new_enough(version) is is_good


async def test_our_engine_is_new_enough_and_a_namespace_it_lacks_is_named(tmp_path, monkeypatch):
    from starter.cli_admin import _prepare_engine
    from starter.cli_output import CommandError
    from starter.engine import EmbeddedEngine

    async with EmbeddedEngine(tmp_path, port=0) as engine:
        assert is_new_enough(await require_version(await Client.connect(engine.address)))

        monkeypatch.setenv("SANSHEN_SECRET_KEY", GOOD["SECRET_KEY"])
        monkeypatch.setenv("SANSHEN_TEMPORAL_ADDRESS", engine.address)
        monkeypatch.setenv("SANSHEN_TEMPORAL_NAMESPACE", "nobody-made-it")
        with pytest.raises(CommandError, match="temporal operator namespace create -n nobody-made"):
            await _prepare_engine(load())
