"""`wrap()` one client, or `instrument()` all of them."""

from __future__ import annotations

from typing import Any, TypeVar, get_args

from ttc_middleware import Budget, Strategy, Verifier
from ttc_middleware.seam import Backend, OnReject, Site, ThinkingLike

from ._chat import Chat
from ._client import wrapped
from ._patches import Patches
from ._request import Request, hosted

C = TypeVar("C")


def wrap(
    client: C,
    strategy: Strategy | None = None,
    *,
    verifier: Verifier | None = None,
    budget: Budget | None = None,
    accept: float = 1.0,
    on_reject: OnReject | None = None,
    thinking: ThinkingLike | None = None,
    name: str = "openai",
    slots: int | None = None,
    backend: Backend | None = None,
    verifier_timeout: float = 60.0,
) -> C:
    """Give a client test-time compute: a copy of the same type, whose calls are scaled; the given one stays as it is.

    The copy uses the given one's connections: closing one closes both. A stream of `with_streaming_response` is read
    with `parse()`, since the lines of a sample that has been judged are gone.

    Args:
        client: `OpenAI`, `AsyncOpenAI`, or a subclass such as `AsyncAzureOpenAI`.
        strategy: how to search; None leaves it to a `ttc.policy()`.
        verifier: judges a completion: the object that the call returns, or its text if it is one of `ttc.verifiers`;
            by name, it gets the request's keywords.
        budget: limits of each call.
        accept: the score from which an answer is accepted, above 0 to 1.
        on_reject: "best" or "raise", where nothing is accepted.
        thinking: how much the model may think: a `ttc.Thinking`, or tokens or an effort for short; what the model
            cannot do becomes the nearest that it can.
        name: what spans and policies call it.
        slots: draws of one call that are sent at once; None: any number. What all calls of a process send at once is
            limited by `ttc.configure(concurrency=)`.
        backend: "vllm", "sglang" or "llama.cpp", where the server is your own and is one of these: thinking is then
            asked for in tokens, which such a server keeps to exactly (vLLM with `--reasoning-parser` or
            `--reasoning-config`, SGLang with `--enable-strict-thinking`). Others refuse or ignore those parameters.
        verifier_timeout: seconds after which a verification counts as failed.

    Raises:
        TypeError: `client` is no OpenAI client, or an argument is not what it should be.
        ValueError: a number is out of its range, or `backend` is none of its values.
    """
    openai = _openai()
    if backend not in (None, *get_args(Backend)):
        raise ValueError(f"backend= must be one of {', '.join(get_args(Backend))}; got {backend!r}")
    if not isinstance(client, (openai.OpenAI, openai.AsyncOpenAI)):
        raise TypeError(f"ttc_openai.wrap() takes an OpenAI or AsyncOpenAI client, got {client!r}")
    site = Site(
        name,
        strategy,
        verifier,
        budget,
        accept,
        on_reject,
        thinking,
        Chat(slots=slots, backend=backend, continues="no" if hosted(client) else "text"),
        verifier_timeout=verifier_timeout,
    )
    scaled: C = wrapped(client, site, asynchronous=isinstance(client, openai.AsyncOpenAI))
    return scaled


def instrument() -> None:
    """Let the model calls of all clients be seen and steered; see `ttc.instrument()`.

    Once more mends it, where another instrumentation has put back what it had found.
    """
    openai = _openai()
    bases = (openai._base_client.AsyncAPIClient, openai._base_client.SyncAPIClient)  # noqa: SLF001  # the choke point
    _patches.put(bases, leaves=(openai.AsyncOpenAI, openai.OpenAI))


def uninstrument() -> None:
    """Put the SDK back as it was; where somebody has wrapped what we put there, ours stays below and does nothing."""
    _patches.undo()


_patches = Patches(Request)


def _openai() -> Any:
    try:
        import openai  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise ImportError('ttc_openai needs openai >=2,<4: pip install "ttc-middleware[openai]"') from error
    return openai
