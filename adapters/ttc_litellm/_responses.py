"""litellm's responses API: how to change a call's keywords, and what a response says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ttc_middleware import Call, Draw, Reading, Request
from ttc_openai.protocol import Responses as _Protocol

from ._providers import target

_RESPONSES = _Protocol()


@dataclass(frozen=True)
class Responses:
    """The adapter of `litellm.responses()` and `aresponses()`. It has no seed, no stop and no `n`.

    Args:
        slots: requests that the server works on at once; None: any number.
    """

    slots: int | None = None

    can = _RESPONSES.can

    def apply(self, call: Call, draw: Draw, /) -> Call:
        """The call with the draw's changes."""
        return _RESPONSES.apply(call, draw)

    def merge(self, call: Call, n: int, /) -> Call:
        """The API has no `n`."""
        return _RESPONSES.merge(call, n)

    def split(self, output: Any, /) -> Sequence[Any]:
        """The API has no `n`."""
        return _RESPONSES.split(output)

    def describe(self, call: Call, /) -> Request:
        """What the call asks for."""
        where = target(call.arguments)
        known = {"provider": where.name, "model": where.model, "server": where.server, "port": where.port}
        return replace(_RESPONSES.describe(call), **known)

    def bound(self, call: Call, /) -> int:
        """Bytes of the prompt; what the server remembers of earlier turns it alone knows."""
        return _RESPONSES.bound(call)

    def read(self, output: Any, /) -> Reading:
        """What a response says."""
        reading = _RESPONSES.read(output)
        usage = reading.usage
        if usage is None:
            return reading
        # A cost in here is litellm's estimate, and no usage at all comes as zeros.
        return replace(reading, usage=replace(usage, usd=None) if usage.tokens else None)
