"""Everything that ttc_middleware raises on its own account.

    TTCError
    ├── NotAccepted               nothing passed the verifier, and on_reject="raise"
    ├── BadResponse               a model answered, but not with an answer
    ├── VerifierFailed            the verifier broke; says nothing about the answer
    ├── BudgetError
    │   ├── BudgetExceeded        out of samples, tokens, money or time, with nothing to return
    │   ├── BudgetUnenforceable   a token or dollar limit on calls that nobody can see
    │   └── PriceUnknown          a dollar limit on a model without a price
    └── SandboxError
        ├── SandboxUnavailable    no isolating sandbox works here
        └── SandboxFailed         the sandbox broke; says nothing about the code in it

Wrong arguments are `ValueError` and `TypeError`, raised where they are given. What a wrapped function raises
reaches the caller as it is, never inside a group; `ttc.result_of(exc)` has what the search found and spent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._types import Fault


class TTCError(Exception):
    """The base of everything that ttc_middleware raises on its own account."""


class NotAccepted(TTCError):
    """Raised when no sample was accepted and `on_reject="raise"`; `ttc.result_of(exc)` has the best one."""


class BadResponse(TTCError):
    """Raised when every sample of a wrapped client came back without an answer: empty, malformed or cut."""

    def __init__(self, message: str, *, fault: Fault = "malformed") -> None:
        super().__init__(message)
        self.fault: Fault = fault
        """What was wrong, from the same closed set as `Sample.fault`."""


class VerifierFailed(TTCError):
    """Raised inside the engine when a verifier raises, hangs or returns nonsense; the verdict keeps its text."""


class BudgetError(TTCError):
    """The base of everything about budgets."""


class BudgetExceeded(BudgetError):
    """Raised when a limit leaves no room for a call and there is nothing found so far to return."""

    def __init__(self, resource: str, limit: float, spent: float, needed: float = 0, whose: str | None = None) -> None:
        super().__init__(resource, limit, spent, needed, whose)
        self.resource = resource
        """Which limit: "samples", "tokens", "usd" or "seconds"."""
        self.limit = limit
        self.spent = spent
        """Spent and reserved together, in the unit of the limit."""
        self.needed = needed
        self.whose = whose
        """Whose limit: "the process", or a key like "user 'ann'"; None for a call's or a block's own."""

    def __str__(self) -> str:
        if self.resource == "seconds":
            return f"the budget of {self.limit:,} seconds is over: {self.spent:,} have passed"
        needs = f"; the next call needs at least {self.needed:,}" if self.needed else ""
        whose = f" for {self.whose}" if self.whose else ""
        budget = f"the budget of {self.limit:,} {self.resource}{whose}"
        return f"{budget} leaves no room: {self.spent:,} are spent or reserved{needs}"


class BudgetUnenforceable(BudgetError):
    """Raised when a token or dollar budget covers a function whose model calls nobody can observe."""


class PriceUnknown(BudgetError):
    """Raised before a call is sent under a dollar budget when nobody knows what the model costs."""


class SandboxError(TTCError):
    """The base of everything about running untrusted code."""


class SandboxUnavailable(SandboxError):
    """Raised when no isolating sandbox works on this machine; the message says what to install."""


class SandboxFailed(SandboxError):
    """Raised when a sandbox could not be started or relayed; never the fault of the code inside."""
