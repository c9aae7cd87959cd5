"""LangGraph's own signals, such as an interrupt: they are no failures, and pass through a search to the graph."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any

from langgraph.errors import GraphBubbleUp

from ttc_middleware import Sample


class Signal(BaseException):
    """A signal on its way through a search; not an `Exception`, so it ends the search and is no failed sample."""

    def __init__(self, signal: GraphBubbleUp) -> None:
        super().__init__(signal)
        self.signal = signal


@contextlib.contextmanager
def lifted() -> Generator[None, None, None]:
    """Inside a draw or a verifier: let a signal end the search."""
    try:
        yield
    except GraphBubbleUp as signal:
        raise Signal(signal) from signal


@contextlib.contextmanager
def landed() -> Generator[None, None, None]:
    """Around a search: give the graph its signal back."""
    try:
        yield
    except Signal as passing:
        signal = passing.signal
    else:
        return
    raise signal


def through(verifier: Any, *, unanswered: Callable[[Any], bool]) -> Any:
    """The same verifier, through which signals pass.

    Args:
        verifier: as a site takes it; what is no verifier is left for the site to refuse.
        unanswered: of what a verifier with `check()` would judge: whether it is a turn that calls tools, and has no
            answer yet. Such a turn passes.
    """
    check = callable(getattr(verifier, "check", None))
    if isinstance(verifier, type) or not (check or callable(verifier)):
        return verifier
    if not check:
        return _function(verifier)
    composed = callable(getattr(verifier, "check_sample", None))
    return (_Composition if composed else _Checking)(verifier, unanswered)


def no_text(subject: Any) -> bool:
    """Whether a message says nothing that a verifier of texts could judge."""
    return not isinstance(subject, str)


def _function(verifier: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(verifier)
    def judge(*args: Any, **arguments: Any) -> Any:
        with lifted():
            return _awaited(verifier(*args, **arguments))

    if not hasattr(verifier, "__qualname__"):  # an object that can be called
        judge.__qualname__ = type(verifier).__name__
    return judge


def _awaited(said: Any) -> Any:
    return _waited(said) if inspect.isawaitable(said) else said


async def _waited(said: Awaitable[Any]) -> Any:
    with lifted():
        return await said


class _Checking:
    """A verifier with `check()`."""

    def __init__(self, verifier: Any, unanswered: Callable[[Any], bool]) -> None:
        self._verifier = verifier
        self._unanswered = unanswered
        self.__qualname__: str = getattr(verifier, "__qualname__", None) or type(verifier).__name__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_verifier":  # a copy that is still empty
            raise AttributeError(name)
        return getattr(self._verifier, name)

    def check(self, output: Any, *, arguments: Mapping[str, Any]) -> Any:
        """The verdict on an answer: a text, or what the call returned."""
        if self._unanswered(output):
            return True
        with lifted():
            return _awaited(self._verifier.check(output, arguments=arguments))


class _Composition(_Checking):
    """A verifier made of others, which asks for the sample: its members may judge outputs or texts."""

    def check_sample(self, sample: Sample[Any], *, arguments: Mapping[str, Any]) -> Any:
        """The verdict on a sample."""
        if self._unanswered(sample.output if sample.text is None else sample.text):
            return True
        with lifted():
            return _awaited(self._verifier.check_sample(sample, arguments=arguments))
