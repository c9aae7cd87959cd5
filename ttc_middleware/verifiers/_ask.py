"""Asking a model for a verdict, and reading what it says: one JSON object of a closed form, or nothing."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, TypeVar, Union, cast

import anyio
import anyio.to_thread

from ttc_middleware._errors import VerifierFailed

T = TypeVar("T")

Message: TypeAlias = dict[str, str]
"""{"role": "system" or "user", "content": …}"""

Ask: TypeAlias = Callable[[list[Message]], Union[str, Awaitable[str]]]
"""Asks a model and returns what it says: a plain or an async function of the messages."""

_LONGEST = 1 << 15  # characters of a reply; a verdict takes some hundred


class Unreadable(ValueError):
    """Raised when a reply is no verdict. Its text goes back to the model, so it says nothing that the reply says."""


async def called(function: Callable[..., Any], *args: Any) -> Any:
    """What a function of the user's returns, async or not; one that is not may block, so it runs in a thread."""
    if _is_async(function):
        return await function(*args)
    said: list[Any] = []
    left = threading.Event()

    def call() -> None:
        said.append(function(*args))
        if left.is_set():
            _close(said[0])

    try:
        # A limiter of its own: in a full pool, draws would wait for each other.
        await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    except anyio.get_cancelled_exc_class():
        left.set()
        for each in said:
            _close(each)
        raise
    return await said[0] if inspect.isawaitable(said[0]) else said[0]


def _is_async(function: Callable[..., Any]) -> bool:
    target = inspect.unwrap(function)
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(type(target).__call__)


def _close(said: Any) -> None:
    """A coroutine that nobody will await any more would complain when it is thrown away."""
    if inspect.iscoroutine(said):
        said.close()


async def asked(ask: Ask, messages: Sequence[Message], read: Callable[[str], T]) -> T:
    """Ask, and once more where the reply is no verdict.

    Raises:
        VerifierFailed: neither reply is one.
    """
    problem = ""
    for _ in range(2):
        tail = f"\n\nYour last reply could not be used: {problem}. Reply with the JSON object alone." if problem else ""
        last = {**messages[-1], "content": messages[-1]["content"] + tail}
        said = await called(ask, [*(dict(each) for each in messages[:-1]), last])
        if not isinstance(said, str):
            raise VerifierFailed(f"ask must return the model's text, got a {type(said).__name__}")
        try:
            return read(said)
        except Unreadable as error:
            problem = str(error)
    raise VerifierFailed(f"the model gave no verdict when asked twice: {problem}")


async def together(work: Callable[[], Awaitable[T]], times: int) -> list[T]:
    """Do the same several times: once alone, then the rest side by side.

    The first one alone, so that the others find the prompt in the provider's cache, and are not paid for if it fails.
    """
    results = [await work()]
    errors: list[Exception] = []
    if times > 1:
        async with anyio.create_task_group() as group:

            async def one() -> None:
                try:
                    results.append(await work())
                except Exception as error:  # noqa: BLE001  # raised below, outside the group
                    errors.append(error)
                    group.cancel_scope.cancel()

            for _ in range(times - 1):
                group.start_soon(one)
    if errors:
        raise errors[0]
    return results


def object_in(reply: str, keys: frozenset[str]) -> dict[str, Any]:
    """The JSON object that a reply consists of, in a Markdown fence or bare.

    Raises:
        Unreadable: it is anything else, or has other keys.
    """
    text = reply.strip()
    if len(text) > _LONGEST:
        raise Unreadable("it is too long")
    if text.startswith("```") and text.endswith("\n```"):
        text = text[text.index("\n") : -3]
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except Unreadable:
        raise
    except (ValueError, RecursionError):
        raise Unreadable("it is not one JSON object") from None
    if not isinstance(found, dict):
        raise Unreadable("it is not one JSON object")
    verdict = cast("dict[str, Any]", found)
    if verdict.keys() != keys:
        raise Unreadable(f"its keys must be {' and '.join(sorted(keys))}")
    return verdict


def whole_number(value: Any, low: int, high: int) -> int:
    """An integer of a scale.

    Raises:
        Unreadable: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Unreadable(f"a score must be an integer from {low} to {high}")
    return value


def words(value: Any) -> str:
    """A reason.

    Raises:
        Unreadable: it is no text.
    """
    if not isinstance(value, str):
        raise Unreadable("the reason must be a string")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("a key comes twice")
    return found


def _no_number(name: str) -> Any:
    raise Unreadable(f"{name} is no JSON")
