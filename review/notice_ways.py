"""Destinations of notices beside mail: chat robots and phone services, as Apprise's addresses.

    ways:
      - {id: fire-duty, name: 防火值班群, url: "wecombot://KEY"}
      - {id: sms, name: 短信, url: "twilio://…/{oa_account}", people: [zhaoqiang]}

An administrator names them in the file of `SANSHEN_NOTICE_WAYS`; `{username}` and `{oa_account}`
stand for the person. A person may add their own, of the schemes in `SANSHEN_OWN_WAYS`.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from review.addresses import is_public
from review.settings import Settings, SettingsError

LONGEST = 2_000  # characters of an address
LARGEST = 256 * 1024  # bytes of the file
PLACEHOLDERS = ("{username}", "{oa_account}")
SCHEME = re.compile(r"[a-z][a-z0-9+.-]{1,30}")
# Robots whose platform Apprise knows, but not by the address that the platform shows.
NATIVE = (
    (re.compile(r"https://oapi\.dingtalk\.com/robot/send\?access_token=(\w+)"), "dingtalk://{}"),
    (re.compile(r"https://open\.feishu\.cn/open-apis/bot/v2/hook/([\w-]+)"), "feishu://{}"),
    (re.compile(r"https://qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?key=([\w-]+)"),
     "wecombot://{}"),
)  # fmt: skip


class NamedWay(BaseModel):
    """A destination that an administrator named.

    Attributes:
        people: The user names that may choose it; none: everybody.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,39}$")]
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    url: Annotated[SecretStr, Field(max_length=LONGEST)]
    people: tuple[str, ...] = ()

    @property
    def is_shared(self) -> bool:
        """Whether everybody's messages go to one place, such as a group's robot."""
        return not any(one in self.url.get_secret_value() for one in PLACEHOLDERS)

    def address(self, username: str, oa_account: str) -> str:
        """Return where a person's message goes."""
        url = self.url.get_secret_value()
        for placeholder, value in zip(PLACEHOLDERS, (username, oa_account), strict=True):
            url = url.replace(placeholder, quote(value, safe=""))
        return url

    def is_for(self, username: str) -> bool:
        return not self.people or username in self.people


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    ways: tuple[NamedWay, ...] = ()


def named_ways(settings: Settings) -> dict[str, NamedWay]:
    """Return the destinations that the settings name, by id.

    Raises:
        SettingsError: The file can't be read or is wrong; one line without an address.
    """
    found = list(_read(settings.notice_ways)) if settings.notice_ways else []
    for number, url in enumerate(settings.notify_urls, start=1):
        address = SecretStr(_native(url.get_secret_value()))
        found.append(NamedWay(id=f"robot-{number}", name=f"群机器人 {number}", url=address))
    ways = {one.id: one for one in found}
    if len(ways) != len(found):
        raise SettingsError("SANSHEN_NOTICE_WAYS: two ways have one id")
    return ways


def _read(file: Path) -> tuple[NamedWay, ...]:
    try:
        raw = file.read_bytes()
        if len(raw) > LARGEST:
            raise SettingsError("SANSHEN_NOTICE_WAYS: the file is too large")
        found = _File.model_validate(YAML(typ="safe", pure=True).load(raw.decode()) or {})
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"SANSHEN_NOTICE_WAYS: {type(error).__name__}") from None
    except YAMLError:
        raise SettingsError("SANSHEN_NOTICE_WAYS: is no YAML") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise SettingsError(f"SANSHEN_NOTICE_WAYS: {place}: {first['type']}") from None
    for one in found.ways:
        scheme, found_one, _ = one.url.get_secret_value().partition("://")
        if not found_one or SCHEME.fullmatch(scheme.lower()) is None:
            raise SettingsError(f"SANSHEN_NOTICE_WAYS: {one.id}: url: no scheme")
    return found.ways


def _native(url: str) -> str:
    """Return a robot's web address as Apprise's; what it doesn't know is a web hook."""
    for known, address in NATIVE:
        if match := known.fullmatch(url):
            return address.format(match[1])
    scheme, _, rest = url.partition("://")
    return f"{'jsons' if scheme == 'https' else 'json'}://{rest}"


def scheme_of(url: str) -> str:
    """Return the scheme under which Apprise knows a destination, also of a robot's web address."""
    return _scheme(_native(url) if url.startswith(("http://", "https://")) else url)


def own_address(url: str) -> str:
    """Return what a person typed as an address for Apprise."""
    return _native(url) if url.startswith(("http://", "https://")) else url


def wrong_with_own(url: str, allowed: Collection[str]) -> str | None:
    """Return why a person may not be told at an address, as a code; None when they may.

    What the name in it stands for is judged anew before each message (activities/outgoing.py).
    """
    if len(url) > LONGEST or not url.isascii() or not url.isprintable() or " " in url:
        return "way_malformed"
    address = own_address(url)
    if "://" not in address or "\\" in address or any(one in address for one in "{}"):
        return "way_malformed"
    if _scheme(address) not in allowed:
        return "way_scheme"
    try:
        host = urlsplit(address).hostname or ""
        port = urlsplit(address).port
    except ValueError:
        return "way_malformed"
    if not host or port == 0:
        return "way_malformed"
    if ":" in host or re.fullmatch(r"[0-9.]+", host):  # somewhere by number
        return None if is_public(host) else "way_inside"
    return "way_inside" if host == "localhost" or host.endswith((".localhost", ".local")) else None


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()
