"""The SDK's one method through which every request goes, replaced in its classes, and put back."""

from __future__ import annotations

from collections.abc import Iterable
from functools import wraps
from typing import Any, NamedTuple, cast

from ._client import passing, passing_sync
from ._request import Request


class _Patch(NamedTuple):
    owner: Any
    original: Any
    ours: Any


class Patches:
    """What is replaced in the classes of one SDK.

    Args:
        kind: how its requests are read and changed.
    """

    def __init__(self, kind: type[Request]) -> None:
        self._kind = kind
        self._put: list[_Patch] = []

    def put(self, bases: Iterable[Any], leaves: Iterable[Any]) -> None:
        """Replace `request` in the classes that have it; once more mends what others have put back.

        Another instrumentation may have put its own on the leaves, which would pass the bases by.
        """
        for owner in (*bases, *(leaf for leaf in leaves if _own(leaf) is not None)):
            if not any(patched.owner is owner and _own(owner) is patched.ours for patched in self._put):
                self._put.append(self._patch(owner))

    def undo(self) -> None:
        """Put everything back; where somebody has wrapped what we put there, ours stays below and does nothing."""
        while self._put:
            patched = self._put.pop()
            if _own(patched.owner) is patched.ours:
                patched.owner.request = patched.original

    def _patch(self, owner: Any) -> _Patch:
        original, kind, put = _own(owner), self._kind, self._put

        @wraps(original)
        async def request(
            self: Any, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None
        ) -> Any:
            made = kind(self, original.__get__(self, type(self)), cast_to, options, stream, stream_cls)
            return await (passing(made) if put else made.untouched())

        @wraps(original)
        def request_sync(self: Any, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
            made = kind(self, original.__get__(self, type(self)), cast_to, options, stream, stream_cls)
            return passing_sync(made) if put else made.untouched()

        owner.request = request if owner.__name__.startswith("Async") else request_sync
        return _Patch(owner, original, owner.request)


def _own(owner: Any) -> Any:
    """What a class itself has for `request`, not what it inherits."""
    return cast("dict[str, Any]", vars(owner)).get("request")
