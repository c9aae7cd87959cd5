"""The `max_tokens` that a budget puts on calls that have none, and models that do not take one so high."""

from __future__ import annotations

import re

from ._faults import Failure
from ._types import Request

_SMALLEST = 256  # no model's limit is lower; a message's smaller numbers are about something else
_NAMED = re.compile(r"max_?(completion_?|output_?)?tokens", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])\d{1,3}(?:,\d{3})+(?!\w)|(?<![\w.])\d{3,9}(?!\w)")
_TOO_LOW = re.compile(r"at least|minimum|too (small|low)|must be (greater|larger|more)", re.IGNORECASE)
_STATUS = (400, 413, 422)

_most: dict[tuple[str, str | None, str], int] = {}
"""What models have said is the most that they take: nobody publishes it in a form to rely on."""


def known_limit(request: Request) -> int | None:
    """The most output tokens of a model, as far as it has said so; None: nobody knows."""
    return _most.get((request.provider, request.server, request.model))


class CapOfOurs:
    """The cap of one model call.

    Args:
        request: as the caller sends it.
    """

    __slots__ = ("_free", "_key", "_sent")

    def __init__(self, request: Request) -> None:
        self._key = (request.provider, request.server, request.model)
        self._free = request.max_tokens is None
        """The caller leaves it open, so it is ours to lower or to leave out."""
        self._sent: int | None = None

    def under(self, granted: int) -> int | None:
        """What to send, with so many tokens held; None: nothing, since the model's own limit is known to be lower."""
        if not self._free:
            return granted
        if self._sent == 0:
            return None
        self._sent = min(granted, _most.get(self._key, granted))
        return self._sent

    def under_own(self, asked: int | None) -> int | None:
        """What to send of a cap that thinking came with, and no budget; None: as it is."""
        return self.under(asked) if asked is not None and self._free else None

    def too_high(self, failure: Failure) -> bool:
        """Whether a call failed because the cap is above the model's own limit, and may be tried with a lower one."""
        sent = self._sent
        if failure.fault != "rejected" or not sent or not _NAMED.search(failure.text):
            return False
        numbers = {int(number.replace(",", "")) for number in _NUMBER.findall(failure.text)}
        lower = [number for number in numbers if _SMALLEST <= number < sent and number not in _STATUS]
        if (not lower and sent not in numbers) or _TOO_LOW.search(failure.text):
            return False  # about the name, or about something else
        if lower:
            _most[self._key] = max(lower)
        else:
            # The limit depends on the prompt: without a cap the model stops at it, below what is held.
            self._sent = 0
        return True
