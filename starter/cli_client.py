"""The command line's way to the interface: HTTP as the person of a token."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starter.cli_output import EXIT_OF_STATUS, OUTSIDE, CommandError, fail, language

AGENT = "sanshen-cli"
WAIT_SECONDS = 30.0
TRIES = 2  # a repeat carries the same key and so is harmless


class Client:
    """Asks the web process; every refusal becomes one line and an exit code."""

    def __init__(self, token: str | None, url: str | None, data: Path | None) -> None:
        """Find out where to ask and as whom.

        Args:
            token: The person's.
            url: The web's address; unless told, the one that `sanshen up` noted.
            data: Where `run.json` lies; unless told, the setting's.
        """
        if not token:
            fail("token_missing", EXIT_OF_STATUS[401])
        if not token.isascii() or not token.isprintable() or " " in token:
            fail("token_odd", EXIT_OF_STATUS[401])
        self._token = token
        self._url = (url or noted_url(data)).rstrip("/")
        if not self._url.startswith(("http://", "https://")):
            fail("url_odd", url=self._url)

    def get(self, path: str, **query: Any) -> Any:
        return self._ask("GET", path, query=query)

    def download(self, path: str) -> bytes:
        """Return a file."""
        return bytes(self._answer("GET", path).content)

    def post(self, path: str, body: Mapping[str, Any], key: str | None = None) -> Any:
        return self._ask("POST", path, body=body, key=_new_key(key))

    def delete(self, path: str) -> Any:
        return self._ask("DELETE", path)

    def upload(self, name: str, content: bytes, key: str | None = None) -> Any:
        """Upload one file."""
        return self._ask("POST", "/attachments", file=(name, content), key=_new_key(key))

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        file: tuple[str, bytes] | None = None,
        key: str | None = None,
    ) -> Any:
        return result_of(self._answer(method, path, query=query, body=body, file=file, key=key))

    def _answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        file: tuple[str, bytes] | None = None,
        key: str | None = None,
    ) -> Any:
        """Return the response; a refusal or an answer that never comes ends the command."""
        import httpx

        headers = {
            "Authorization": f"Bearer {self._token}",
            "Accept-Language": language(),
            "User-Agent": AGENT,
        }
        if key is not None:
            if not (key.isascii() and key.isprintable() and 1 <= len(key) <= 200):
                fail("key_odd")
            headers["Idempotency-Key"] = key
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body, ensure_ascii=False, default=str).encode("utf-8", "replace")
        given = {name: value for name, value in (query or {}).items() if value is not None}
        for tries_left in reversed(range(TRIES)):
            try:
                answer = httpx.request(
                    method,
                    f"{self._url}/api/v1{path}",
                    params=given,
                    headers=headers,
                    content=content,
                    files={"file": file} if file else None,
                    timeout=WAIT_SECONDS,
                    trust_env=False,
                )
            except (httpx.TransportError, httpx.DecodingError):
                if not tries_left:
                    fail("web_down", OUTSIDE, url=self._url)
            except (httpx.InvalidURL, ValueError):
                fail("url_odd", url=self._url)
            else:
                if not answer.is_success:
                    result_of(answer)
                return answer
        raise AssertionError("the last try returns or fails")


def _new_key(key: str | None) -> str:
    return key or secrets.token_hex(16)


def result_of(answer: Any) -> Any:
    """Return what was answered, or raise the refusal as one line."""
    try:
        found = answer.json()
    except ValueError:
        found = None
    if answer.is_success and found is not None:
        return found
    exit_code = EXIT_OF_STATUS.get(answer.status_code, OUTSIDE)
    if not isinstance(found, Mapping) or "detail" not in found:
        fail("answer_odd", OUTSIDE, status=answer.status_code)
    line = f"{found['detail']} [{found.get('code')}]"
    for error in found.get("errors") or ():
        line += f"; {error.get('field')}: {error.get('message')}"
    for finding in found.get("findings") or ():
        line += f"; {finding.get('id', '')} {finding.get('rule')}: {finding.get('advice', '')}"
    raise CommandError(line, exit_code)


def noted_url(data: Path | None) -> str:
    """Return the address that `sanshen up` noted in `run.json`."""
    from review.settings import SettingsError, load

    if data is None:
        try:
            data = load(secret_key="-" * 64).data  # only DATA matters here
        except SettingsError as error:
            raise CommandError(str(error)) from None
    try:
        return str(json.loads((data / "run.json").read_text(encoding="utf-8"))["url"])
    except (OSError, ValueError, KeyError, TypeError):
        fail("not_running", OUTSIDE, data=data)
