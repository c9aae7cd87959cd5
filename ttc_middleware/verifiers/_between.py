"""Between code and its tests: both run in sandboxes, and every use that one makes of the other goes through here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ttc_middleware.sandbox import Reply, Returned, Session, Unfit, Use
from ttc_middleware.sandbox._wire import Handle

from ._cases import CANDIDATE, Made, Suite

_REMEMBERED = 1_000
_COMPARING = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})


@dataclass
class Between:
    """Passes on what tests ask of code, and the code of tests, and remembers what feedback and trust need."""

    code: Session
    entry: str
    """What `candidate` means."""
    open_tester: Callable[[Suite], Awaitable[Session]]
    last: Made | None = None
    """The last call of the code."""
    unfit: Made | None = None
    """The first whose result could not cross."""
    used: bool = False
    """The tests have asked for something of the code's."""
    own_word: bool = False
    """Objects of the code's were compared with each other: equal is what the code says is equal."""
    _tester: Session = field(init=False)
    _words: dict[int, str] = field(default_factory=dict[int, str])
    """What a handle stands for, in words."""

    async def run(self, suite: Suite) -> Reply:
        """Run tests, and forget what was noted of those before."""
        self.last = self.unfit = None
        self.own_word = self.used = False
        self._tester = await self.open_tester(suite)
        return await self._tester.check(suite.tests, self.ask_code)

    async def ask_code(self, use: Use) -> Reply:
        """Have the code's process do what a test asks."""
        on = self.entry if use.on == CANDIDATE else use.on
        if use.operation == "name" and isinstance(on, str) and "." in on:
            return Unfit("a method is looked up anew for each call, on an instance of its own")
        reply = await self.code.use(Use(use.operation, on, use.args, use.kwargs), self.ask_tests)
        if use.operation == "name":  # a question of ours, not of a test
            value: Any = reply.value if isinstance(reply, Returned) else None
            if isinstance(value, list):
                found = cast("list[object]", value)
                self._said(found[:1], str(on))
                self.used |= not any(isinstance(each, Handle) for each in found)  # a constant, told by value
            return reply
        self.used = True
        what = self._words.get(on, "<object>") if isinstance(on, int) else on
        if isinstance(reply, Returned) and isinstance(reply.value, Handle):
            attribute = use.operation == "get" and use.args and isinstance(use.args[0], str)
            self._said([reply.value], f"{what}.{use.args[0]}" if attribute else repr(reply.value))
        if use.operation == "call" or self.last is None or not isinstance(reply, Returned):
            words = what if use.operation == "call" else f"{use.operation} of {what}"
            self.last = Made(words, use.args, use.kwargs, reply)
        if isinstance(reply, Unfit):
            self.unfit = self.unfit or self.last
        self.own_word |= use.operation in _COMPARING
        return reply

    def _said(self, handles: Sequence[object], words: str) -> None:
        """Remember what handles stand for, as far as feedback has a use for it."""
        if len(self._words) > _REMEMBERED:
            self._words.clear()
        objects = [each for each in handles if isinstance(each, Handle)]
        self._words.update({each.on: words[-200:] for each in objects if isinstance(each.on, int)})

    async def ask_tests(self, use: Use) -> Reply:
        """Have the tests' process call one of its functions, which the code was given."""
        return await self._tester.use(use, self.ask_code)
