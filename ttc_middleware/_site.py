"""A call site, and what applies to it here and now."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from ._budget import Budget
from ._context import SCOPE, SETTINGS, warn_once
from ._plan import OnReject, PlainFunction, Plan
from ._policy import Policy, PolicyScope, check_options
from ._strategy import asks, check_strategy, judges, needs, needs_verifier, suited
from ._types import Adapter, Capability, Strategy
from ._verify import Check, prepare
from .strategies.single import Single
from .thinking._amount import Thinking, ThinkingLike, thinking_of

_V = TypeVar("_V")
_NO_POLICY = Policy()
_NOT_CONTINUED = (
    ": a partial answer is not continued there, but begun anew. ttc_openai.wrap() has it continued where the server can"
    " (vLLM, llama.cpp, ttc_local), unless the response is a stream, raw, or parsed by the SDK"
)


def disabled() -> bool:
    """Whether `TTC_DISABLED` makes every wrapper a pass-through."""
    return os.environ.get("TTC_DISABLED", "").strip().lower() in ("1", "true", "yes", "on")


@dataclass(frozen=True, eq=False)  # a verifier may have no hash
class Site:
    """A call site, as its decorator or wrapper describes it.

    Args:
        name: "module:qualname", or what the user calls it.
        strategy: how to search; None: only where a policy says so.
        verifier: what is right; None: nothing is judged.
        budget: limits of each call.
        accept: the score from which an answer is accepted, above 0 to 1.
        on_reject: "best" or "raise", where nothing is accepted.
        thinking: how much the model may think.
        adapter: what the engine must know of the call site.
        known: the parameters that a verifier may ask for; None: any.
        verifier_timeout: seconds for one verification, above 0.
        in_thread: the call site blocks, so verifiers run in threads too.

    Raises:
        TypeError: the strategy needs a verifier, or something that the adapter cannot; or one is no such thing.
        ValueError: a number is out of its range.
    """

    name: str
    strategy: Strategy | None = None
    verifier: Any = None
    budget: Budget | None = None
    accept: float = 1.0
    on_reject: OnReject | None = None
    thinking: ThinkingLike | None = None
    adapter: Adapter = field(default_factory=PlainFunction)
    known: frozenset[str] | None = field(default=None, kw_only=True)
    verifier_timeout: float = field(default=60.0, kw_only=True)
    in_thread: bool = field(default=False, kw_only=True)
    check: Check | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        check_options(self.budget, self.on_reject)
        object.__setattr__(self, "thinking", thinking_of(self.thinking))
        if isinstance(self.accept, bool) or not isinstance(self.accept, (int, float)) or not 0 < self.accept <= 1:
            raise ValueError(f"accept= must be a score above 0 and up to 1, got {self.accept!r}")
        timeout = self.verifier_timeout
        number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
        if not number or not math.isfinite(timeout) or timeout <= 0:
            raise ValueError(f"verifier_timeout= must be a positive number of seconds, got {timeout!r}")
        if self.verifier is not None:
            object.__setattr__(self, "check", prepare(self.verifier, self.known))
            if hasattr(self.verifier, "measurement") and not self.name.endswith("()"):  # scale()'s own, for a moment
                from .verifiers.measuring import warning_of  # noqa: PLC0415  # only for those who have measured

                said = warning_of(self.verifier)
                if said is not None:
                    warn_once("below break-even", self.name, f"{self.name}: {said}")
        if self.strategy is not None:
            check_strategy(self.strategy)
            object.__setattr__(self, "strategy", self._suited(self.strategy))

    def _suited(self, strategy: Strategy) -> Strategy:
        """The strategy, as far as this call site can go with it; raises TypeError where it cannot."""
        fit = suited(strategy, self.adapter.can)
        self._suits(fit)
        if fit is strategy or self.name.endswith("()"):  # scale()'s own, for a moment
            return strategy
        words = ", ".join(sorted(each.value for each in needs(strategy) - self.adapter.can))
        warn_once("suited", f"{self.name} {strategy!r}", f"{self.name} goes without {words}: it searches by {fit!r}")
        return fit

    def _suits(self, strategy: Strategy) -> None:
        if needs_verifier(strategy) and self.check is None:
            raise TypeError(
                f"{strategy!r} needs a verifier to choose by, and {self.name} has none: give verifier=…, or use"
                " ttc.SelfConsistency(…), which votes"
            )
        for judge in judges(strategy):
            prepare(judge, self.known)
        unknown = asks(strategy) - self.known if self.known is not None else frozenset[str]()
        if unknown:
            have = ", ".join(sorted(self.known or ())) or "none"
            raise TypeError(
                f"{strategy!r} asks for {', '.join(sorted(unknown))}, which {self.name} does not have (it has: {have})"
            )
        lacking = needs(strategy) - self.adapter.can
        if lacking:
            words = ", ".join(sorted(each.value for each in lacking))
            why = _NOT_CONTINUED if Capability.EXTEND in lacking else ""
            raise TypeError(
                f"{strategy!r} needs {words}, which {type(self.adapter).__name__} cannot do for {self.name}{why}"
            )

    def scope(self) -> PolicyScope | None:
        """What a policy says is drawn here and now, the whole function or each model call; None: nothing."""
        block: Policy = SCOPE.get().policy or _NO_POLICY
        return _first(block.scope, SETTINGS.policies.get(self.name, _NO_POLICY).scope)

    def plan(self) -> Plan | None:
        """How to search here and now; None: not at all, the call passes through."""
        block: Policy = SCOPE.get().policy or _NO_POLICY
        named: Policy = SETTINGS.policies.get(self.name, _NO_POLICY)
        default: Policy = SETTINGS.default or _NO_POLICY
        strategy = _first(block.strategy, named.strategy, self.strategy, default.strategy)
        own = thinking_of(self.thinking)
        thinking: Thinking | None = _first(block.thinking, named.thinking, own, default.thinking)
        on_reject: OnReject | None = _first(block.on_reject, named.on_reject, self.on_reject, default.on_reject)
        # A block's budget is kept by the block's own ledger.
        budget = tightest(self.budget, named.budget, default.budget)
        if strategy is None and thinking is None and budget is None and not _watched():
            return None
        if strategy is None:
            strategy = Single()
        elif strategy is not self.strategy:
            strategy = self._suited(strategy)
        return Plan(
            name=self.name,
            strategy=strategy,
            check=self.check,
            accept=self.accept,
            on_reject=on_reject or "best",
            budget=budget or Budget(),
            thinking=thinking,
            adapter=self.adapter,
            patience=self.verifier_timeout,
            in_thread=self.in_thread,
        )


def _watched() -> bool:
    """Whether a block limits what only the engine can watch over."""
    scope = SCOPE.get()
    return scope.deadline is not None or (scope.charged is not None and scope.charged.limited("samples", "seats"))


def _first(*values: _V | None) -> _V | None:
    return next((value for value in values if value is not None), None)


def tightest(*budgets: Budget | None) -> Budget | None:
    """The budget that keeps all of these."""
    given = [each for each in budgets if each is not None]
    if len(given) < 2:  # noqa: PLR2004  # nothing to compare
        return given[0] if given else None
    limits: dict[str, Any] = {}
    for name in ("samples", "tokens", "usd", "seconds", "concurrency"):
        values: list[int | float | Decimal] = [value for each in given if (value := getattr(each, name)) is not None]
        limits[name] = min(values, default=None)
    return Budget(**limits)
