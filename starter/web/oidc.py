"""Sign in with the bureau's identity provider: OpenID Connect, code flow with PKCE (RFC 7636).

What must be remembered between leaving and coming back is sealed in a cookie, so nothing is written
before somebody is known. The provider's word names an account; it never makes one.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote_plus, urlsplit

import httpx
import structlog
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from review.records.kept import NONCE, Box, digest_of_secret
from review.rules.errors import NotSignedInError
from review.settings import Settings

COOKIE = "sanshen_oidc"
PATH = "/sign-in/oidc"
CALLBACK = f"{PATH}/callback"
LIVES = 600  # seconds from leaving for the provider until coming back
PATIENCE = 5.0  # seconds for an answer of the provider's
KEPT = 3600.0  # seconds its description and keys are believed
ASK_AGAIN = 30.0  # seconds between two looks for a key that wasn't there
LEEWAY = 60  # seconds the two clocks may differ
LONGEST_TOKEN = 100_000  # characters
# Signed with a key that only the provider has; never one that it shares with us, never `none`.
ALGORITHMS = ("RS256", "PS256", "ES256", "RS384", "PS384", "ES384", "RS512", "PS512", "ES512")

log = structlog.get_logger()


class Leaving(NamedTuple):
    """Where the browser is sent, and the cookie it takes along."""

    address: str
    cookie: str


class Known(NamedTuple):
    """Whom the provider knows: the account, and what no two sign-ins have in common."""

    account: str
    proof: str
    next: str


class Provider:
    """The bureau's identity provider, as the settings name it."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str,
        *,
        claim: str,
        field: str,
        public_url: str,
        secret: bytes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Describe it; nothing is asked yet.

        Args:
            claim: Which of its claims names the account.
            field: What that is of ours: `username` or `oa_account`.
            secret: SECRET_KEY; seals what is remembered in the cookie.
            clock: Seconds since 1970.
        """
        self.field = field
        self._issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._claim = claim
        self._redirect = public_url + CALLBACK
        self._box = Box(secret, "oidc")
        self._clock = clock
        self._metadata: dict[str, Any] = {}
        self._keys: dict[str, Any] = {}
        self._asked: dict[str, float] = {}
        self._lock = asyncio.Lock()

    async def leave(self, next_: str) -> Leaving:
        """Return where to send somebody who wants to sign in, and go on to `next_` then.

        Raises:
            NotSignedInError: The provider can't be asked now.
        """
        metadata = await self._described()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        address = prepare_grant_uri(
            metadata["authorization_endpoint"],
            self._client_id,
            "code",
            redirect_uri=self._redirect,
            scope="openid profile",
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
        kept = {
            "state": digest_of_secret(state),
            "nonce": nonce,
            "verifier": verifier,
            "next": next_,
            "until": self._clock() + LIVES,
        }
        sealed = self._box.seal(json.dumps(kept).encode(), COOKIE, secrets.token_bytes(NONCE))
        return Leaving(address, sealed)

    async def back(self, code: str, state: str, issuer: str, cookie: str) -> Known:
        """Return whom the provider knows, once its word is proved to be its own and meant for us.

        Args:
            issuer: The `iss` beside the code (RFC 9207); empty when the provider sends none.
            cookie: What `leave` gave the same browser.

        Raises:
            NotSignedInError: `oidc`: anything at all is not as it should be; the log says what.
        """
        kept = self._remembered(cookie)
        if kept is None or not secrets.compare_digest(kept["state"], digest_of_secret(state)):
            raise _refused("state")
        if issuer and issuer != self._issuer:
            raise _refused("issuer")
        answer = await self._redeemed(code, kept["verifier"])
        claims = await self._verified(
            str(answer.get("id_token", "")), kept["nonce"], str(answer.get("access_token", ""))
        )
        account = claims.get(self._claim)
        if not isinstance(account, str) or not account:
            raise _refused("claim")
        return Known(account, digest_of_secret(kept["nonce"]), kept["next"])

    def _remembered(self, cookie: str) -> dict[str, Any] | None:
        opened = self._box.open(cookie, COOKIE)
        kept: dict[str, Any] | None = json.loads(opened) if opened else None
        return kept if kept and kept["until"] > self._clock() else None

    async def _redeemed(self, code: str, verifier: str) -> dict[str, Any]:
        """Give the code for the tokens."""
        metadata = await self._described()
        sent = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "code_verifier": verifier,
        }
        auth = None
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if not self._client_secret:
            sent["client_id"] = self._client_id
        elif "client_secret_basic" in methods:
            # RFC 6749 2.3.1: each is form-encoded first
            auth = httpx.BasicAuth(quote_plus(self._client_id), quote_plus(self._client_secret))
        else:
            sent |= {"client_id": self._client_id, "client_secret": self._client_secret}
        return await self._asked_for("POST", metadata["token_endpoint"], data=sent, auth=auth)

    async def _verified(self, token: str, nonce: str, access_token: str) -> dict[str, Any]:
        """Return the claims of an id token after every check of OpenID Connect Core 3.1.3.7."""
        if len(token) > LONGEST_TOKEN:
            raise _refused("id_token")
        metadata = await self._described()
        offered = metadata.get("id_token_signing_alg_values_supported", ["RS256"])
        algorithms = [one for one in ALGORITHMS if one in offered]
        try:
            decoded = await self._decoded(token, algorithms)
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                options={
                    "iss": {"essential": True, "value": self._issuer},
                    "aud": {"essential": True, "value": self._client_id},
                    "nonce": {"essential": True, "value": nonce},
                },
                params={
                    "nonce": nonce,
                    "client_id": self._client_id,
                    "access_token": access_token,
                },
            )
            claims.validate(now=int(self._clock()), leeway=LEEWAY)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise _refused("id_token", type(error).__name__) from None
        return dict(claims)

    async def _decoded(self, token: str, algorithms: list[str]) -> jwt.Token:
        """Return a token whose signature is right; new keys of the provider's are looked for."""
        try:
            return jwt.decode(token, KeySet.import_key_set(await self._key_set()), algorithms)
        except (JoseError, ValueError):
            again = await self._key_set(anew=True)
            return jwt.decode(token, KeySet.import_key_set(again), algorithms)

    async def _described(self) -> dict[str, Any]:
        """Return what the provider says of itself, which must be itself."""
        async with self._lock:
            if not self._metadata or self._clock() - self._asked["metadata"] > KEPT:
                address = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
                found = await self._asked_for("GET", address)
                if found.get("issuer") != self._issuer:
                    raise _refused("issuer")
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    if not is_safe(str(found.get(name, ""))):
                        raise _refused(name)
                self._metadata, self._asked["metadata"] = found, self._clock()
            return self._metadata

    async def _key_set(self, *, anew: bool = False) -> Any:
        metadata = await self._described()
        async with self._lock:
            age = self._clock() - self._asked.get("keys", 0.0)
            if not self._keys or age > (ASK_AGAIN if anew else KEPT):
                self._keys = await self._asked_for("GET", metadata["jwks_uri"])
                self._asked["keys"] = self._clock()
            return self._keys

    async def _asked_for(self, method: str, address: str, **sent: Any) -> dict[str, Any]:
        """Return the provider's JSON answer."""
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
                answer = await client.request(method, address, **sent)
            found = answer.json() if answer.status_code == 200 else None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise _refused("provider", type(error).__name__) from None
        if not isinstance(found, dict):
            raise _refused("provider", str(answer.status_code))
        return found


def provider_of(settings: Settings) -> Provider | None:
    """Return the provider that the settings name, if any."""
    if settings.oidc_issuer is None:
        return None
    secret = settings.oidc_client_secret
    return Provider(
        settings.oidc_issuer,
        settings.oidc_client_id or "",
        secret.get_secret_value() if secret else "",
        claim=settings.oidc_claim,
        field=settings.oidc_account,
        public_url=settings.public_url,
        secret=settings.secret_key.get_secret_value().encode(),
    )


def is_safe(address: str) -> bool:
    """Tell whether nobody on the way can read or change what is sent there."""
    try:
        parts = urlsplit(address)
        loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and loopback)


def _refused(part: str, why: str = "") -> NotSignedInError:
    """Return the refusal, which tells the caller nothing, and log which part was wrong."""
    log.warning("oidc_refused", part=part, why=why)
    return NotSignedInError(why="oidc")
