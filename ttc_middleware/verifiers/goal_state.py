"""A transition function and a goal as the verifier of a plan."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ttc_middleware._types import Verdict

from ._feedback import bounded
from ._given import Given
from ._named import Named, words

_SHOWN = 100


@dataclass(frozen=True, eq=False)
class GoalState:
    """Accepts a plan that leads by legal steps from the initial state to the goal.

    The plan is run step by step, as plans are validated in PlanBench (Valmeekam et al. 2022). With n steps, of which
    the first k are legal, the score is k / (n + 1): the goal counts as one step more. It is 1 where all are legal and
    the goal holds at the end; passing through the goal is not enough. The feedback names the first illegal step, with
    what the transition function said, or says that the goal is not reached.

    All of it runs on the event loop: a transition should be quick, and end for any action.

    Where it fails: a plan that is legal and useless scores high without being accepted, and a long one higher than a
    short one; rank by acceptance first, as every strategy does.

    Example:
        ```python
        def pour(jugs: tuple[int, int], action: str) -> tuple[int, int] | None: ...

        GoalState((0, 0), pour, lambda jugs: 4 in jugs, parse=str.splitlines)
        ```

    Args:
        initial: the state to start from, copied deeply for each check; or a function of the call's arguments, by name,
            that returns it.
        step: `step(state, action)` returns the next state, a new one or its argument changed, and None where the action
            is illegal. Where it raises an exception, the action is illegal too. May ask for arguments of the call by
            name.
        goal: `goal(state)` says whether the goal holds. May ask for arguments of the call by name.
        parse: from the output to its actions. By default the output is a sequence of them, or a text of one a line,
            empty lines left out.
        limit: steps that a plan may have, from 1.

    Raises:
        ValueError: `limit` is below 1.
        TypeError: `step`, `goal`, `parse` or the function of the arguments is no plain function that fits.
    """

    initial: Any
    step: Callable[..., Any]
    goal: Callable[..., bool]
    parse: Callable[[Any], Iterable[Any]] | None = field(default=None, kw_only=True)
    limit: int = field(default=10_000, kw_only=True)
    _initial: Given[Any] = field(init=False, repr=False)
    _step: Named = field(init=False, repr=False)
    _goal: Named = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.limit, int) or self.limit < 1:
            raise ValueError(f"limit is a number of steps from 1, not {self.limit!r}")
        if self.parse is not None:
            Named.of("parse", self.parse, 1)
        object.__setattr__(self, "_initial", Given.of("initial", self.initial, _itself))
        object.__setattr__(self, "_step", Named.of("step", self.step, 2))
        object.__setattr__(self, "_goal", Named.of("goal", self.goal, 1))

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments of the call that the three functions cannot do without."""
        return self._initial.parameters | self._step.parameters | self._goal.parameters

    async def check(self, output: Any, *, arguments: Mapping[str, Any] | None = None) -> Verdict:
        """Run the plan in an output.

        Args:
            output: the plan, or whatever `parse` takes.
            arguments: the call's, for functions of them.

        Raises:
            VerifierFailed: `goal` returns something else than a bool.
            Exception: what `goal` or the function of the arguments raises.
        """
        try:
            actions = list(islice((self.parse or _lines)(output), self.limit + 1))
        except Exception as error:  # noqa: BLE001  # whatever a malformed plan makes it raise
            return _rejected(0.0, f"The plan cannot be read: {words(error)}")
        if len(actions) > self.limit:
            return _rejected(0.0, f"The plan has more than {self.limit:,} steps.")
        state = copy.deepcopy(self._initial.value(arguments))
        parts = len(actions) + 1
        for number, action in enumerate(actions, 1):
            why = ""
            try:
                state = self._step.ask(state, action, arguments=arguments)
            except Exception as error:  # noqa: BLE001  # the action is illegal
                state, why = None, f": {words(error)}"
            if state is None:
                said = f"Step {number}, {_shown(action)}, is illegal{why}"
                return _rejected((number - 1) / parts, said)
        if self._goal.holds(state, arguments=arguments):
            return Verdict(1.0, accepted=True)
        steps = f"{len(actions)} step{'' if len(actions) == 1 else 's'}"
        return _rejected(len(actions) / parts, f"The goal is not reached after {steps}.")


def _itself(state: Any) -> Any:
    return state


def _lines(output: Any) -> Iterable[Any]:
    if isinstance(output, str):
        return [line.strip() for line in output.splitlines() if line.strip()]
    actions: Iterable[Any] = output
    return actions


def _rejected(score: float, feedback: str) -> Verdict:
    return Verdict(score, bounded(feedback), accepted=False)


def _shown(action: Any) -> str:
    try:
        return bounded(f"'{action}'" if isinstance(action, str) else repr(action), _SHOWN)
    except Exception:  # noqa: BLE001  # an action of the user's own class
        return f"a {type(action).__name__}"
