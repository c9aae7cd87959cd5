"""What went wrong with a model call, read from its exception without importing any SDK."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, cast

from ._errors import BadResponse, BudgetError
from ._types import Fault

ATTEMPTS = 3
LONGEST_WAIT = 60.0
"""Seconds that a provider may ask to wait where no deadline says how long is too long."""
_RETRYABLE: frozenset[Fault] = frozenset({"rate limited", "server error", "connection", "timeout", "malformed"})


@dataclass(frozen=True)
class Failure:
    """One failed attempt."""

    fault: Fault
    billed: bool
    """The provider may charge for it: it was sent, and nobody knows how far it got."""
    retry: bool
    after: float | None = None
    """Seconds that the provider asks to wait."""
    text: str = ""


_UNCONNECTED = frozenset({
    "APIConnectionError", "ConnectError", "ConnectionError", "TransportError", "ClientConnectionError",
})  # fmt: skip
_BROKEN = frozenset({"APIConnectionError", "RemoteProtocolError", "ReadError", "WriteError", "ConnectionResetError"})
_REFUSED = frozenset({
    "ConnectionRefusedError", "ConnectError", "ClientConnectorError", "PoolTimeout", "ConnectTimeout",
})  # fmt: skip
_MALFORMED = frozenset({"JSONDecodeError", "APIResponseValidationError"})


def classify(error: BaseException) -> Failure:
    """Say what an exception of an SDK means; what is not recognised is the wrapped function's own "error"."""
    if not isinstance(error, Exception):
        return Failure("cancelled", billed=True, retry=False)
    try:
        return _classified(error)
    except Exception:  # noqa: BLE001  # even str() of somebody's exception can raise
        return Failure("error", billed=True, retry=False)


def _classified(error: Exception) -> Failure:
    names = {kind.__name__ for kind in type(error).__mro__}
    if "ModelAPIError" in names and isinstance(error.__cause__, Exception):  # Pydantic AI's, around an SDK's own
        return _classified(error.__cause__)
    large = _bad(error)
    if large is not None:  # it came from a server that may go on for ever, and answer so again
        return Failure(large.fault, billed=True, retry=False, text=str(large))
    status = _status(error)
    text = str(error)[:2_000]
    if isinstance(error, BudgetError):
        return Failure("budget", billed=False, retry=False, text=text)
    # Before the status: litellm gives its own errors one, 408 and 500, where no server has answered.
    if names & {"APITimeoutError", "Timeout", "TimeoutException", "TimeoutError"}:
        return Failure("timeout", billed=True, retry=True, text=text)
    unanswered = status is None or status >= 500  # noqa: PLR2004  # HTTP
    if names & _MALFORMED or ("APIError" in names and unanswered and _below(error, _MALFORMED)):
        return Failure("malformed", billed=True, retry=True, text=text)
    if unanswered and (names & _UNCONNECTED or ("APIError" in names and _below(error, _BROKEN | _REFUSED))):
        return Failure("connection", billed=not _never_sent(error), retry=True, text=text)
    if status is not None:
        return _by_status(error, status, text)
    if "APIError" in names:  # an error event inside a stream
        return Failure("server error", billed=True, retry=False, text=text)
    return Failure("error", billed=True, retry=False, text=text)


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None)
    if status is None:
        status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) and status >= 400 else None  # noqa: PLR2004  # HTTP


def _by_status(error: BaseException, status: int, text: str) -> Failure:
    if status == 429:  # noqa: PLR2004  # HTTP: too many requests
        hopeless = getattr(error, "code", None) == "insufficient_quota" or "insufficient_quota" in text
        return Failure("rate limited", billed=False, retry=not hopeless, after=_retry_after(error), text=text)
    if status >= 500:  # noqa: PLR2004  # HTTP: the server's fault
        return Failure("server error", billed=True, retry=True, after=_retry_after(error), text=text)
    if status in (408, 409):
        return Failure("server error", billed=False, retry=True, after=_retry_after(error), text=text)
    return Failure("rejected", billed=False, retry=False, text=text)


def _retry_after(error: BaseException) -> float | None:
    response = getattr(error, "response", None)
    # litellm makes up a response without headers, and keeps those that came beside it.
    for headers in (getattr(response, "headers", None), getattr(error, "litellm_response_headers", None)):
        if not isinstance(headers, Mapping):
            continue
        given = cast("Mapping[str, Any]", headers)
        for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
            seconds = _seconds(given.get(name), given.get("date")) * unit
            if 0 <= seconds < math.inf:
                return seconds
    return None


def _seconds(said: object, sent: object) -> float:
    """A number, or the time until a date (RFC 9110, 10.2.3); NaN for anything else."""
    try:
        return float(str(said))
    except ValueError:
        until = _date(said)
    if until is None:
        return math.nan
    # By the server's clock, where it tells the time: ours may be another.
    return max(0.0, (until - (_date(sent) or datetime.now(timezone.utc))).total_seconds())


def _date(said: object) -> datetime | None:
    try:
        date = parsedate_to_datetime(str(said))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)


def _never_sent(error: BaseException) -> bool:
    """Whether the connection was never made, so that nothing can have been charged."""
    return _below(error, _REFUSED)


def _below(error: BaseException, names: frozenset[str]) -> bool:
    """Whether an error of one of these names is this one, or what it was raised from."""
    return any(type(each).__name__ in names for each in _causes(error))


def _bad(error: BaseException) -> BadResponse | None:
    """What we ourselves have said of the response, however an SDK has wrapped it."""
    return next((each for each in _causes(error) if isinstance(each, BadResponse)), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it was raised from."""
    seen: BaseException | None = error
    for _ in range(8):  # causes can form a ring
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


class RetryBudget:
    """Retries allowed against one server.

    A fixed number of attempts multiplies an outage by that number, at the worst moment; a shared allowance bounds it
    (as in Envoy and the AWS SDKs). Two rules, and both must allow a retry:

    - Always: one in five calls, and a few to start with; up to ten are saved for bad times.
    - While the server answers nothing at all: one, then one in five of the calls that have failed since it last did.
      So an outage sees 1.2 requests a call from the fifth call on, whatever was saved before it.
    """

    __slots__ = ("_failed", "_left", "_retried")

    def __init__(self) -> None:
        self._left = 3.0
        self._failed = 0
        self._retried = 0

    def called(self) -> None:
        """Count a first attempt."""
        self._left = min(10.0, self._left + 0.2)

    def answered(self) -> None:
        """Note that the server works."""
        self._failed = self._retried = 0

    def take(self, *, first: bool) -> bool:
        """Whether one more retry is allowed, after a call's first attempt or a later one; counts it."""
        self._failed += first
        if self._left < 1 or (self._retried and 5 * (self._retried + 1) > self._failed):
            return False
        self._left -= 1
        self._retried += 1
        return True


def pause(attempt: int, failure: Failure) -> float:
    """Seconds to wait before the next attempt: what the provider asks, else full jitter over a doubling window."""
    if failure.after is not None:
        return failure.after
    return random.uniform(0, min(8.0, 0.5 * 2**attempt))  # noqa: S311  # spreads load, guards nothing


_MOST_SERVERS = 1_024
_budgets: dict[tuple[str, str | None], RetryBudget] = {}


def retry_budget(provider: str, server: str | None) -> RetryBudget:
    """The budget that all calls of this server share.

    Of the servers, which can be one a tenant, those that were met first are forgotten first.
    """
    found = _budgets.get((provider, server))
    if found is None:
        for oldest in list(_budgets)[: max(0, len(_budgets) + 1 - _MOST_SERVERS)]:
            _budgets.pop(oldest, None)
        found = _budgets.setdefault((provider, server), RetryBudget())
    return found


def retryable(fault: Fault | None) -> bool:
    """Whether an attempt that ended so may be tried again."""
    return fault in _RETRYABLE
