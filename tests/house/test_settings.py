"""Settings: one place, one line that names what is wrong, and no secret in sight."""

import base64
import re
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload

from review.payloads import ENCODING, Cipher
from review.settings import PREFIX, Settings, SettingsError, load

KEY = "k" * 40
SECRET = base64.b64encode(b"s" * 32).decode()
DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(PREFIX + field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch):
    def set_all(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(PREFIX + name, value)

    return set_all


def test_defaults_need_only_the_secret_key(given, tmp_path):
    given(SECRET_KEY=KEY)

    settings = load()

    assert settings.ledger_url == f"sqlite:///{tmp_path}/data/ledger.db"
    assert settings.temporal_address == "127.0.0.1:7233"
    assert not settings.uses_tls


def test_missing_secret_key_is_named():
    with pytest.raises(SettingsError, match=r"^SANSHEN_SECRET_KEY: is missing$"):
        load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "hunter2"),
        ("DATABASE_URL", "mysql://root:hunter2@db/x"),
        ("TEMPORAL_ADDRESS", "hunter2"),
        ("TEMPORAL_ADDRESS", "host:99999"),
        ("TEMPORAL_TLS", "perhaps"),
        ("PAYLOAD_KEYS", "k1:hunter2"),
        ("PUBLIC_URL", "hunter2"),
        ("WEB_PORT", "0"),
        ("OA_WEBHOOK_KEYS", "oa:hunter2"),
        ("OA_WEBHOOK_KEYS", f"whsec_{SECRET}"),
        ("SMTP_URL", "http://root:hunter2@mail"),
        ("MAIL_FROM", "hunter2"),
        ("NOTIFY_URLS", "https://chat.example/x, ftp://hunter2"),
        ("NOTIFY_URLS", '["https://hunter2'),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "LOUD"),
        ("LANGUAGE", "fr"),
    ],
)
def test_wrong_setting_is_named_in_one_line_without_its_value(given, name, value):
    given(**{"SECRET_KEY": KEY, name: value})

    with pytest.raises(SettingsError) as refused:
        load()

    line = str(refused.value)
    assert line.startswith(f"SANSHEN_{name}") and "\n" not in line
    assert "hunter2" not in line and SECRET not in line


def test_certificate_goes_with_its_key(given):
    given(SECRET_KEY=KEY, TEMPORAL_TLS_CERT="/etc/sanshen/client.pem")

    with pytest.raises(SettingsError, match="SANSHEN_TEMPORAL_TLS_KEY"):
        load()


def test_lists_are_taken_with_commas_and_as_json(given):
    given(
        SECRET_KEY=KEY,
        OA_WEBHOOK_KEYS=f"oa:whsec_{SECRET}, oa:{SECRET}:traffic+office",
        NOTIFY_URLS='["https://chat.example/a?key=1,2", "https://chat.example/b"]',
        PAYLOAD_KEYS=f"k2:{SECRET}",
    )

    settings = load()

    assert [key.units for key in settings.oa_webhook_keys] == [
        frozenset(),
        frozenset({"traffic", "office"}),
    ]
    assert len(settings.notify_urls) == 2
    assert settings.payload_keys[0].id == "k2"
    assert SECRET not in repr(settings) and KEY not in repr(settings)


def test_empty_variable_counts_as_unset_and_hides_the_file(given, tmp_path):
    (tmp_path / ".env").write_text(
        f"SANSHEN_SECRET_KEY={KEY}\nSANSHEN_DATABASE_URL=postgresql://db/x\nOTHER=1\n"
    )
    assert load().ledger_url == "postgresql+psycopg://db/x"

    given(DATABASE_URL="")

    assert load().ledger_url.startswith("sqlite:///")


def test_kept_secret_key_is_found_and_a_given_one_beats_it(given, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "secrets.json").write_text('{"secret_key": "%s"}' % ("x" * 64))

    assert load(data=tmp_path / "kept").secret_key.get_secret_value() == "x" * 64

    given(SECRET_KEY=KEY, DATA=str(tmp_path / "kept"))

    assert load().secret_key.get_secret_value() == KEY


def test_every_setting_is_documented_and_no_other():
    documented = re.findall(rf"^\| `{PREFIX}(\w+)`", DOCS.read_text(encoding="utf-8"), re.M)

    assert sorted(documented) == sorted(field.upper() for field in Settings.model_fields)


async def test_payloads_are_unreadable_and_old_keys_still_open_them():
    old, new = Cipher({"k1": b"1" * 32}), Cipher({"k2": b"2" * 32, "k1": b"1" * 32})
    plain = Payload(metadata={"encoding": b"json/plain"}, data=b'"approve"')

    (sealed,) = await old.encode([plain])

    assert sealed.metadata["encoding"] == ENCODING and b"approve" not in sealed.data
    assert await new.decode([sealed, plain]) == [plain, plain]
