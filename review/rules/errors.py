"""Every way in which a rule says no.

    RuleError ── NotSignedInError      401  nobody is signed in
              ├─ NotAllowedError       403  not this person's to do
              │  └─ NotYourStepError   403  the step waits for somebody else
              ├─ NotFoundError         404  not there, or not visible to this person
              ├─ RefusedError          409  a rule refuses; `code` says which
              ├─ MalformedError        422  the request is not of the right shape
              │  └─ KeyReusedError     422  the same key came with another body
              ├─ TooLargeError         413  more than is taken
              ├─ UnsupportedMediaError 415  a kind of content that is not taken
              ├─ TooManyError          429  too many attempts
              └─ LedgerUnavailableError 503 the ledger can't be written now; nothing was taken

Each carries a stable `code` and `params`; what a person reads stands in the catalogues under
`error.CODE`.
"""

from typing import Any


class RuleError(Exception):
    """A refusal. `status` is the HTTP status, `exit_code` the command line's."""

    status = 409
    exit_code = 1
    default_code = "refused"
    remembered = False  # whether the trace has it already

    def __init__(self, code: str | None = None, **params: Any) -> None:
        self.code = code or self.default_code
        self.params = params
        super().__init__(self.code)


class NotSignedInError(RuleError):
    status, exit_code, default_code = 401, 5, "not_signed_in"


class NotAllowedError(RuleError):
    status, exit_code, default_code = 403, 5, "not_allowed"


class NotYourStepError(NotAllowedError):
    default_code = "not_your_step"


class NotFoundError(RuleError):
    status, exit_code, default_code = 404, 4, "not_found"


class RefusedError(RuleError):
    """A rule of the review refuses (stale_version, separation_of_duties, wrong_status …)."""


class MalformedError(RuleError):
    """`params["errors"]`: a list of `{field, message}`."""

    status, exit_code, default_code = 422, 2, "malformed"


class KeyReusedError(MalformedError):
    default_code = "key_reused"


class TooLargeError(RuleError):
    status, exit_code, default_code = 413, 2, "too_large"


class UnsupportedMediaError(RuleError):
    status, exit_code, default_code = 415, 2, "unsupported_media"


class TooManyError(RuleError):
    status, exit_code, default_code = 429, 3, "too_many"


class LedgerUnavailableError(RuleError):
    status, exit_code, default_code = 503, 3, "ledger_unavailable"
