"""The environment, read once: every `SANSHEN_*` variable, checked before anything starts.

`docs/settings.md` lists them for operators; a test holds that page and this class together.
"""

import base64
import binascii
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUseDefault
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

PREFIX = "SANSHEN_"
KEYS = "keys"  # in DATA; each file readable by its owner alone
PAYLOAD_KEYS_FILE = "payload.json"  # in KEYS; made by `sanshen up`
SECRETS_FILE = "secrets.json"  # in DATA; made by `sanshen up`, which keeps its own secret key
# What people may add of their own: platforms at one known host each.
OWN_WAYS = ("wecombot", "dingtalk", "feishu", "lark")
SECRET_KEY_LENGTH = 32  # characters at least: 256 bits where each is worth eight


# Claims by which two people can be the same (OpenID Connect Core 5.1 and 5.7).
NAMES = frozenset({"name", "given_name", "family_name", "middle_name", "nickname", "email"})


class SettingsError(Exception):
    """A setting is missing or wrong; the message is one line that names it."""


class WebhookKey(BaseModel):
    """A key with which another system signs decisions; two with one id overlap while rotating."""

    model_config = ConfigDict(frozen=True)

    id: str
    secret: SecretStr
    units: frozenset[str] = frozenset()  # for whose people it may speak; empty: for everybody's


class ChannelSecret(BaseModel):
    """A channel's secret that is kept outside the ledger."""

    model_config = ConfigDict(frozen=True)

    id: str
    secret: SecretStr


class PayloadKey(BaseModel):
    """A key that encrypts what the engine stores (AES-256-GCM)."""

    model_config = ConfigDict(frozen=True)

    id: str
    key: SecretStr


def _listed(value: Any) -> Any:
    """Take a list written as `a, b` or as JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            raise ValueError("is not a list, neither `a, b` nor JSON") from None
    return [item.strip() for item in value.split(",") if item.strip()]


def _webhook_key(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    key_id, _, rest = value.partition(":")
    secret, _, units = rest.partition(":")
    if not key_id or _bytes_in(secret.removeprefix("whsec_")) < 24:
        raise ValueError("needs id:secret, the secret at least 24 bytes in base64")
    return {"id": key_id, "secret": secret, "units": [u for u in units.split("+") if u]}


def _channel_secret(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    channel, _, secret = value.partition(":")
    if not channel or not secret:
        raise ValueError("needs channel:secret")
    return {"id": channel, "secret": secret}


def _payload_key(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    key_id, _, key = value.partition(":")
    if not key_id or _bytes_in(key) != 32:
        raise ValueError("needs id:key, the key 32 bytes in base64")
    return {"id": key_id, "key": key}


def _bytes_in(text: str) -> int:
    try:
        return len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return 0


def _with_scheme(*schemes: str) -> AfterValidator:
    def check(value: SecretStr | str | None) -> SecretStr | str | None:
        url = value.get_secret_value() if isinstance(value, SecretStr) else value
        if url is not None and (urlsplit(url).scheme not in schemes or not urlsplit(url).netloc):
            raise ValueError(f"must be a URL that starts with {'://… or '.join(schemes)}://…")
        return value

    return AfterValidator(check)


def _database(value: SecretStr | None) -> SecretStr | None:
    if value is None:
        return None
    url = value.get_secret_value()
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            return SecretStr(f"postgresql+psycopg://{url.removeprefix(plain)}")
    if not url.startswith(("postgresql+psycopg://", "sqlite:///")):
        raise ValueError("must start with sqlite:/// or postgresql://")
    return value


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or "/" in value or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("must be host:port")
    return value


def _long_enough(value: SecretStr) -> SecretStr:
    if len(value) < SECRET_KEY_LENGTH:
        raise ValueError(f"needs at least {SECRET_KEY_LENGTH} characters")
    return value


def origin_of(url: str | None) -> str | None:
    """Return what a browser sends as `Origin` from there: scheme, host and port."""
    if url is None:
        return None
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _issuer(value: str | None) -> str | None:
    """Keep what an id token must say, to the letter; plain HTTP only on this machine."""
    if value is not None:
        parts = urlsplit(value)
        loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
        if not parts.netloc or (
            parts.scheme != "https" and not (parts.scheme == "http" and loopback)
        ):
            raise ValueError("must be a URL that starts with https://…")
    return value


def _claim(value: str) -> str:
    if value in NAMES:
        raise ValueError("names a person by what others may share; take one that is an account")
    return value


def _seed(value: SecretStr) -> SecretStr:
    if _bytes_in(value.get_secret_value()) != 32:
        raise ValueError("needs 32 bytes in base64")
    return value


def _mail_address(value: str) -> str:
    name, _, host = value.partition("@")
    if not name or not host or any(character.isspace() for character in value):
        raise ValueError("must be a mail address")
    return value


def _log_level(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


WORDS_OF_EXAMPLES = ("change", "example", "secret", "password", "default", "sanshen", "test")
DISTINCT = 12  # characters at least; 32 random ones of base64 have fewer once in a million


def _is_guessable(secret: str) -> bool:
    """Tell whether a key is one of an example, or too even to be random."""
    plain = secret.removeprefix("whsec_")
    try:
        raw = base64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    few = len(set(plain)) < DISTINCT or (len(raw) >= 24 and len(set(raw)) < DISTINCT)
    return few or any(word in plain.lower() for word in WORDS_OF_EXAMPLES if len(word) > 4)


def _is_weak_password(password: str) -> bool:
    known = {"postgres", "temporal", "sanshen", "password", "admin", "root", "123456"}
    return len(password) < 12 or password.lower() in known or "change" in password.lower()


SecretUrl = Annotated[SecretStr, _with_scheme("http", "https")]


class Settings(BaseSettings):
    """All settings; an empty variable counts as one that is not set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    data: Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())] = Path("data")
    database_url: Annotated[SecretStr | None, AfterValidator(_database)] = None

    temporal_address: Annotated[str, AfterValidator(_address)] = "127.0.0.1:7233"
    temporal_namespace: Annotated[str, Field(min_length=1)] = "default"
    temporal_tls: bool = False
    temporal_tls_ca: Path | None = None
    temporal_tls_cert: Path | None = None
    temporal_tls_key: Path | None = None
    temporal_tls_server_name: str | None = None
    temporal_api_key: SecretStr | None = None
    payload_keys: Annotated[
        tuple[Annotated[PayloadKey, BeforeValidator(_payload_key)], ...],
        NoDecode,
        BeforeValidator(_listed),
    ] = ()

    temporal_ui_url: Annotated[
        str | None, _with_scheme("http", "https"), AfterValidator(origin_of)
    ] = None

    digests: Literal["sha256", "sm3"] = "sha256"
    audit_keys: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(_seed)], ...],
        NoDecode,
        BeforeValidator(_listed),
    ] = ()
    checkpoint_dir: Annotated[
        Path | None, AfterValidator(lambda path: path and path.expanduser().absolute())
    ] = None

    policy: Annotated[str, Field(min_length=1)] = "hebei-lcj-2022-35"
    secret_key: Annotated[SecretStr, AfterValidator(_long_enough)]
    language: Literal["zh", "en"] = "zh"

    public_url: Annotated[
        str, _with_scheme("http", "https"), AfterValidator(lambda url: url.rstrip("/"))
    ] = "http://127.0.0.1:8080"
    web_host: str = "127.0.0.1"
    web_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    proxies: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = ()
    oa_webhook_keys: Annotated[
        tuple[Annotated[WebhookKey, BeforeValidator(_webhook_key)], ...],
        NoDecode,
        BeforeValidator(_listed),
    ] = ()

    oidc_issuer: Annotated[str | None, AfterValidator(_issuer)] = None
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    oidc_claim: Annotated[str, AfterValidator(_claim)] = "sub"
    oidc_account: Literal["oa_account", "username"] = "oa_account"

    channel_secrets: Annotated[
        tuple[Annotated[ChannelSecret, BeforeValidator(_channel_secret)], ...],
        NoDecode,
        BeforeValidator(_listed),
    ] = ()
    internal_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = ()

    smtp_url: Annotated[SecretStr | None, _with_scheme("smtp", "smtps")] = None
    mail_from: Annotated[str, AfterValidator(_mail_address)] = "sanshen@localhost"
    decision_link_hours: Annotated[int, Field(ge=0, le=72)] = 72
    notify_urls: Annotated[tuple[SecretUrl, ...], NoDecode, BeforeValidator(_listed)] = ()
    notice_ways: Annotated[
        Path | None, AfterValidator(lambda path: path and path.expanduser().absolute())
    ] = None
    own_ways: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = OWN_WAYS

    production: bool = False
    metrics_address: Annotated[str | None, AfterValidator(lambda v: v and _address(v))] = None
    replay_gate: Annotated[int, Field(ge=0, le=1000)] = 20
    otlp_url: Annotated[str | None, _with_scheme("http", "https")] = None

    log_format: Literal["json", "console"] = "json"
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_log_level)
    ] = "INFO"

    @property
    def ledger_url(self) -> str:
        """Return where the ledger is: the database named, else a file under DATA."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data / 'ledger.db'}"

    @property
    def channel_secrets_by_id(self) -> dict[str, str]:
        """Return the secrets of channels that are not kept in the ledger."""
        return {one.id: one.secret.get_secret_value() for one in self.channel_secrets}

    @property
    def keys(self) -> Path:
        """Return the folder of keys that were made here."""
        return self.data / KEYS

    @property
    def payload_keys_by_id(self) -> dict[str, str]:
        """Return the keys that encrypt what the engine stores, base64, the current one first."""
        return {key.id: key.key.get_secret_value() for key in self.payload_keys}

    @property
    def checkpoints(self) -> Path:
        """Return where signed states of the trace are kept, outside the ledger."""
        return self.checkpoint_dir or self.data / "checkpoints"

    @property
    def uses_tls(self) -> bool:
        """Return whether the engine is spoken to over TLS: any TLS setting or an API key."""
        return self.temporal_tls or any(
            (
                self.temporal_tls_ca,
                self.temporal_tls_cert,
                self.temporal_tls_server_name,
                self.temporal_api_key,
            )
        )

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        if value == "":
            raise PydanticUseDefault
        return value

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if bool(self.temporal_tls_cert) != bool(self.temporal_tls_key):
            raise ValueError(f"{PREFIX}TEMPORAL_TLS_CERT and {PREFIX}TEMPORAL_TLS_KEY go together")
        return self

    @model_validator(mode="after")
    def _production_has_secrets_of_its_own(self) -> Self:
        """Nothing that stands in an example, or that anybody could guess, guards real content."""
        if not self.production:
            return self
        given = {
            "SECRET_KEY": self.secret_key.get_secret_value(),
            **{f"PAYLOAD_KEYS {name}": key for name, key in self.payload_keys_by_id.items()},
            **{f"AUDIT_KEYS {n}": key.get_secret_value() for n, key in enumerate(self.audit_keys)},
            **{f"OA_WEBHOOK_KEYS {one.id}": one.secret.get_secret_value()
               for one in self.oa_webhook_keys},
        }  # fmt: skip
        for name, secret in given.items():
            if _is_guessable(secret):
                raise ValueError(f"{PREFIX}{name}: is an example's or can be guessed")
        if not self.payload_keys:
            raise ValueError(f"{PREFIX}PAYLOAD_KEYS: is missing; the engine would store plain ids")
        if self.database_url is not None:
            url = urlsplit(self.database_url.get_secret_value())
            if url.scheme != "sqlite" and url.password and _is_weak_password(url.password):
                raise ValueError(f"{PREFIX}DATABASE_URL: its password is a default one")
        if urlsplit(self.public_url).scheme != "https":
            raise ValueError(f"{PREFIX}PUBLIC_URL: must be https:// in production")
        return self

    @model_validator(mode="after")
    def _provider_has_its_client(self) -> Self:
        if self.oidc_issuer is not None and not self.oidc_client_id:
            raise ValueError(f"{PREFIX}OIDC_ISSUER and {PREFIX}OIDC_CLIENT_ID go together")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, dotenv_settings, _KeptSecrets(settings_cls)


class _KeptSecrets(PydanticBaseSettingsSource):
    """The secrets that `sanshen up` made for this DATA; whatever is set beats them."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        data = Path(self.current_state.get("data") or "data").expanduser()
        found = _kept(data / SECRETS_FILE, "secret_key")
        return found | _kept(data / KEYS / PAYLOAD_KEYS_FILE, "payload_keys")


def _kept(file: Path, name: str) -> dict[str, Any]:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise SettingsError(f"{file} can't be read") from None
    return {name: kept[name]} if isinstance(kept, dict) and name in kept else {}


def load(**given: Any) -> Settings:
    """Read the settings from the environment and `.env`.

    Args:
        given: Fields that beat the environment, such as `data` from `--data`.

    Raises:
        SettingsError: Something is missing or wrong; one line, and never a secret's value.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(map(_line, error.errors(include_input=False)))) from None


def _line(error: Any) -> str:
    problem = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return str(problem)
    name, *inside = error["loc"]
    place = f" (entry {inside[0] + 1})" if inside and isinstance(inside[0], int) else ""
    if error["type"] == "missing":
        problem = "is missing"
    return f"{PREFIX}{str(name).upper()}{place}: {problem}"
