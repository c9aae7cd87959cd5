"""LiteLLM's proxy: the requests to some of its models, scaled by a hook that its `config.yaml` names."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import wraps
from hashlib import sha256
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from litellm.integrations.custom_logger import CustomLogger

from ttc_middleware import Bill, Budget, BudgetError, NotAccepted, Strategy, Verifier, tags, tracking
from ttc_middleware.seam import OnReject, Site, ThinkingLike, disabled, warn_once

from ._completion import Completion
from ._patch import checked
from ._responses import Responses
from ._wrap import drawn

# What a request of the proxy calls on its router, by the names that hooks get.
_CALLS: dict[str, type[Completion | Responses]] = {"acompletion": Completion, "aresponses": Responses}
_HASH = re.compile("[0-9a-f]{64}")
_WHO = {"key": "token", "user": "user_id", "team": "team_id"}
_REFUSED = ((BudgetError, 429), (NotAccepted, 422))
_COPIED = ("metadata", "litellm_metadata")  # a router writes into these which deployment it has chosen


@dataclass
class _Request:
    """One request of a client's, from the hook to its answer."""

    client: Any
    draws: int = 0
    bill: Bill | None = None

    @property
    def who(self) -> dict[str, str]:
        """Whose request it is, as the proxy has found out; nothing that the body claims."""
        found = {tag: getattr(self.client, name, None) for tag, name in _WHO.items()}
        if isinstance(found["key"], str) and not _HASH.fullmatch(found["key"]):
            found["key"] = sha256(found["key"].encode()).hexdigest()  # as LiteLLM does: a custom auth may not
        return {tag: value for tag, value in found.items() if isinstance(value, str) and value}


@dataclass(eq=False)
class _Routed:
    """The calls of one router, scaled."""

    site: Callable[[Any], Site]
    slots: int | None
    requests: WeakKeyDictionary[Any, _Request] = field(default_factory=WeakKeyDictionary[Any, _Request])

    def over(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The function of a router, scaled for the requests that the hook has let in."""
        whole = drawn(self._told_apart(function), _CALLS[name](slots=self.slots), self.site, asynchronous=True)

        @wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            request = self._of(kwargs)
            # Not a client's, but what the proxy itself asks: a guardrail, a fallback. Or a draw's own.
            if request is None or request.draws or disabled():
                return await function(*args, **kwargs)
            # A router would give each of them one.
            kwargs.setdefault("litellm_trace_id", kwargs["litellm_logging_obj"].litellm_trace_id)
            try:
                with tags(**request.who), tracking() as bill:
                    response = await whole(*args, **kwargs)
                request.bill = bill.bill
            except (BudgetError, NotAccepted) as error:
                with suppress(AttributeError):  # what the client gets in place of a 500
                    error.status_code = next(code for kind, code in _REFUSED if isinstance(error, kind))  # type: ignore[union-attr]
                raise
            finally:
                await _release(request)
            return response

        return call

    def _told_apart(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, each draw a call of its own in litellm's logs: only so each is counted, and counted once."""

        @wraps(function)
        async def draw(*args: Any, **kwargs: Any) -> Any:
            request = self._of(kwargs)
            if request is not None:
                request.draws += 1
                if request.draws > 1:
                    kwargs = _own_log(kwargs)
            return await function(*args, **kwargs)

        return draw

    def _of(self, kwargs: Mapping[str, Any]) -> _Request | None:
        log = kwargs.get("litellm_logging_obj")
        return None if log is None else self.requests.get(log)


class ProxyHook(CustomLogger):
    """Gives LiteLLM's proxy test-time compute: clients get the winner, and LiteLLM logs and charges every sample.

    In a module beside the proxy's `config.yaml`, `my_hooks.py`:

        scaled = ttc_litellm.ProxyHook(ttc.SelfConsistency(5), models=["careful"], budget=ttc.Budget(tokens=20_000))

    and in `config.yaml`:

        litellm_settings:
          callbacks: ["my_hooks.scaled"]
        general_settings:
          cancel_on_disconnect: true

    Requests to `/v1/chat/completions` and `/v1/responses` are scaled, and nothing else is. Each sample goes where the
    proxy's router sends it, and is a request of its own in LiteLLM's logs, spend and callbacks; the key, the user and
    the team are charged for it as for any other. A stream is the winner's, once that is known; with one draw, `Single`
    without a verifier, it passes as it comes. What the response says of its usage is the winner's own: the headers
    `x-ttc-calls`, `x-ttc-total-tokens` and `x-ttc-hidden-tokens` have the whole (streams that pass have none).

    A request cannot choose how it is scaled. The tags `key`, `user` and `team` are the proxy's own findings, so that
    `ttc.configure(budget_per={"team": ttc.Budget(usd="5")})` limits a team; the body's `user` counts for nothing.
    Where a budget has run out the client gets a 429; where nothing is accepted and `on_reject="raise"`, a 422.

    A client that hangs up stops its samples only with `cancel_on_disconnect: true`, which is off by default.

    Args:
        strategy: how to search; None leaves it to `ttc.configure()`.
        models: the `model_name`s of `config.yaml` whose requests are scaled; None: all of them.
        verifier: judges a response; by name, it gets the request's fields, such as `messages`, which a client chooses.
        budget: limits of each request.
        accept: the score from which an answer is accepted, above 0 to 1.
        on_reject: "best" or "raise", where nothing is accepted.
        thinking: how much the model may think, in tokens or as an effort.
        name: what spans and policies call it.
        slots: draws of one request that are sent at once; None: any number.
        verifier_timeout: seconds after which a verification counts as failed.

    Raises:
        ImportError: litellm is not installed, or is older than 1.103.
        TypeError: an argument is not what it should be.
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        strategy: Strategy | None = None,
        *,
        models: Collection[str] | None = None,
        verifier: Verifier | None = None,
        budget: Budget | None = None,
        accept: float = 1.0,
        on_reject: OnReject | None = None,
        thinking: ThinkingLike | None = None,
        name: str = "litellm_proxy",
        slots: int | None = None,
        verifier_timeout: float = 60.0,
    ) -> None:
        checked()
        if isinstance(models, str) or not all(isinstance(each, str) for each in models or ()):
            raise TypeError(f"ProxyHook(models=) takes names, like ['careful'], got {models!r}")

        def site(adapter: Any) -> Site:
            return Site(
                name, strategy, verifier, budget, accept, on_reject, thinking, adapter,
                verifier_timeout=verifier_timeout,
            )  # fmt: skip

        for kind in _CALLS.values():
            site(kind(slots=slots))  # what is wrong is said now, not to the first client
        super().__init__()  # pyright: ignore[reportUnknownMemberType]  # litellm leaves its keywords untyped
        self._models = None if models is None else frozenset(models)
        self._name = name
        self._routed = _Routed(site, slots)
        self._routers: WeakSet[Any] = WeakSet()

    async def async_pre_call_hook(
        self,
        user_api_key_dict: Any,
        cache: Any,  # noqa: ARG002  # LiteLLM's signature
        data: dict[str, Any],
        call_type: Any,
    ) -> None:
        """Let a request in that is to be scaled; LiteLLM calls this before each."""
        log = data.get("litellm_logging_obj")
        if log is None or call_type not in _CALLS or not (self._models is None or data.get("model") in self._models):
            return
        server = importlib.import_module("litellm.proxy.proxy_server")
        if server.llm_router is None:
            return
        self._attach(server)
        self._routed.requests[log] = _Request(user_api_key_dict)

    async def async_post_call_response_headers_hook(
        self,
        data: dict[str, Any],
        user_api_key_dict: Any,  # noqa: ARG002  # LiteLLM's signature
        response: object,  # noqa: ARG002  # LiteLLM's signature
        request_headers: dict[str, str] | None = None,  # noqa: ARG002  # LiteLLM's signature
        litellm_call_info: dict[str, object] | None = None,  # noqa: ARG002  # LiteLLM's signature
    ) -> dict[str, str] | None:
        """Tell the client what its answer took."""
        request = self._routed.requests.get(data["litellm_logging_obj"]) if "litellm_logging_obj" in data else None
        if request is None or request.bill is None or not request.draws or request.bill.status == "unknown":
            return None
        total, hidden = request.bill.total, request.bill.hidden
        counts = {"calls": total.calls, "total-tokens": total.tokens, "hidden-tokens": hidden.tokens}
        return {f"x-ttc-{what}": str(count) for what, count in counts.items()}

    def _attach(self, server: Any) -> None:
        """Scale the calls of the proxy's router, which it may exchange for another at any time."""
        router = server.llm_router
        if router in self._routers:
            return
        for name in _CALLS:
            setattr(router, name, self._routed.over(getattr(router, name), name))
        self._routers.add(router)
        if server.general_settings.get("cancel_on_disconnect") is not True:
            warn_once(
                "disconnect",
                self._name,
                f"{self._name}: samples go on after their client has hung up; LiteLLM stops them with"
                " general_settings: cancel_on_disconnect: true",
            )


def _own_log(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of a call that litellm logs by itself."""
    log: Any = kwargs["litellm_logging_obj"]
    apart = ("litellm_logging_obj", "litellm_call_id", "standard_logging_object")
    own = {name: value for name, value in kwargs.items() if name not in apart}
    own.update({name: dict(own[name]) for name in _COPIED if isinstance(own.get(name), dict)})
    # Whom a key or a team wants told besides: the proxy has taken these off the request.
    for name, kinds in (("success_callback", ("", "async_")), ("failure_callback", ("",))):
        told = [each for kind in kinds for each in getattr(log, f"dynamic_{kind}{name}s", None) or ()]
        if told:
            own[name] = list(dict.fromkeys(told))
    return own


async def _release(request: _Request) -> None:
    """Give back a client's seat among parallel requests: LiteLLM does so when it logs the first draw, if that ends."""
    logging: Any = importlib.import_module("litellm.proxy.proxy_server").proxy_logging_obj
    for name in ("arelease_max_parallel_requests_on_disconnect", "_arelease_max_parallel_requests_on_disconnect"):
        release = getattr(logging, name, None)
        if release is not None and request.draws > 1:  # twice does no harm
            await release(request.client)
            return
