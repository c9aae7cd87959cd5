"""`wrap()` one client, or `instrument()` all of them."""

from __future__ import annotations

import importlib
import re
from typing import Any, TypeVar

from ttc_middleware import Budget, Strategy, Verifier
from ttc_middleware.seam import OnReject, Site, ThinkingLike
from ttc_openai.stainless import Patches, wrapped

from ._messages import Messages
from ._request import Request

C = TypeVar("C")
_OLDEST = (0, 80)


def wrap(
    client: C,
    strategy: Strategy | None = None,
    *,
    verifier: Verifier | None = None,
    budget: Budget | None = None,
    accept: float = 1.0,
    on_reject: OnReject | None = None,
    thinking: ThinkingLike | None = None,
    name: str = "anthropic",
    slots: int | None = None,
    verifier_timeout: float = 60.0,
) -> C:
    """Give a client test-time compute: a copy of the same type, whose calls are scaled; the given one stays as it is.

    The copy uses the given one's connections: closing one closes both. A stream of `with_streaming_response` is read
    with `parse()`, since the lines of a sample that has been judged are gone. Counting tokens and batches pass
    through, and a request that names a container or MCP servers is sent once.

    Args:
        client: `Anthropic`, `AsyncAnthropic`, or the client of another platform, such as `AsyncAnthropicBedrock`.
        strategy: how to search; None leaves it to a `ttc.policy()`.
        verifier: judges a message: the object that the call returns, or its text if it is one of `ttc.verifiers`;
            by name, it gets the request's keywords.
        budget: limits of each call.
        accept: the score from which an answer is accepted, above 0 to 1.
        on_reject: "best" or "raise", where nothing is accepted.
        thinking: how much the model may think, within its `max_tokens`: `thinking.budget_tokens`, or for Claude 4.6
            and later an effort with adaptive thinking.
        name: what spans and policies call it.
        slots: draws of one call that are sent at once; None: any number. What all calls of a process send at once is
            limited by `ttc.configure(concurrency=)`.
        verifier_timeout: seconds after which a verification counts as failed.

    Raises:
        TypeError: `client` is no Anthropic client, or an argument is not what it should be.
        ValueError: a number is out of its range.
        ImportError: anthropic is not installed, or too old.
    """
    bases = sdk()._base_client  # noqa: SLF001  # the classes that clients of all platforms share
    if not isinstance(client, (bases.SyncAPIClient, bases.AsyncAPIClient)):
        raise TypeError(f"ttc_anthropic.wrap() takes an Anthropic client, got {client!r}")
    site = Site(
        name,
        strategy,
        verifier,
        budget,
        accept,
        on_reject,
        thinking,
        Messages(slots=slots),
        verifier_timeout=verifier_timeout,
    )
    scaled: C = wrapped(client, site, Request, asynchronous=isinstance(client, bases.AsyncAPIClient))
    return scaled


def instrument() -> None:
    """Let the model calls of all clients be seen and steered; see `ttc.instrument()`.

    Once more mends it, where another instrumentation has put back what it had found.

    Raises:
        ImportError: anthropic is not installed, or too old.
    """
    anthropic = sdk()
    bases = (anthropic._base_client.AsyncAPIClient, anthropic._base_client.SyncAPIClient)  # noqa: SLF001  # the choke point
    _patches.put(bases, leaves=(anthropic.AsyncAnthropic, anthropic.Anthropic))


def uninstrument() -> None:
    """Put the SDK back as it was; where somebody has wrapped what we put there, ours stays below and does nothing."""
    _patches.undo()


_patches = Patches(Request)


def sdk() -> Any:
    """The SDK.

    Raises:
        ImportError: it is not installed, or too old.
    """
    wants = f'ttc_anthropic needs anthropic >={".".join(map(str, _OLDEST))},<3: pip install "ttc-middleware[anthropic]"'
    try:
        anthropic = importlib.import_module("anthropic")
    except ImportError as error:
        raise ImportError(wants) from error
    version = str(getattr(anthropic, "__version__", ""))
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers and numbers < _OLDEST:
        raise ImportError(f"{wants} (installed is {version})")
    return anthropic
