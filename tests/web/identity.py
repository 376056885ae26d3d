"""Identity providers for tests: a real one as a process of its own, and one that tells lies."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

from starter.engine import free_port

STARTS_WITHIN = 20.0  # seconds


@contextmanager
def real_provider(*users: dict[str, Any]) -> Iterator[str]:
    """Run `oidc-provider-mock`, Authlib's provider over HTTP; yields its issuer."""
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "-p", str(port), "-n", "true"]
    for user in users:
        command += ["--user-claims", json.dumps(user)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + STARTS_WITHIN
        with httpx.Client(trust_env=False) as client:
            while True:
                assert process.poll() is None and time.monotonic() < deadline
                try:
                    found = client.get(f"{address}/.well-known/openid-configuration")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
        yield found.json()["issuer"]
    finally:
        process.terminate()
        process.wait()


class Liar:
    """A provider that answers as the test says; its id tokens are signed and else anything."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.published = [self.key]
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
        self.server.liar = self  # type: ignore[attr-defined]
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        self.metadata: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        }
        self.nonce = ""
        self.answer: dict[str, Any] | int = {}
        self.redeemed: list[dict[str, str]] = []

    def token(self, *, key: Any = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return an id token; a claim of None is left out."""
        now = int(time.time())
        said = {
            "iss": self.issuer, "aud": "sanshen", "sub": "chief", "nonce": self.nonce,
            "iat": now, "exp": now + 300,
        }  # fmt: skip
        kept = {name: value for name, value in (said | claims).items() if value is not None}
        return jwt.encode(
            header or {"alg": "RS256", "kid": "one"}, kept, key or self.key,
            algorithms=["RS256", "HS256", "none"],
        )  # fmt: skip

    @contextmanager
    def running(self) -> Iterator["Liar"]:
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()


class _Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        liar: Liar = self.server.liar  # type: ignore[attr-defined]
        if self.path.endswith("openid-configuration"):
            self._send(liar.metadata)
        else:
            self._send({"keys": [key.as_dict(private=False) for key in liar.published]})

    def do_POST(self) -> None:
        liar: Liar = self.server.liar  # type: ignore[attr-defined]
        sent = self.rfile.read(int(self.headers["content-length"])).decode()
        liar.redeemed.append({k: v[0] for k, v in parse_qs(sent).items()})
        if isinstance(liar.answer, int):
            self._send({"error": "invalid_grant"}, liar.answer)
        else:
            self._send(liar.answer)

    def _send(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def query_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
