"""The runs of a calibration: each is made, judged and kept."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.to_thread

from ttc_middleware._context import SCOPE
from ttc_middleware._engine import result_of
from ttc_middleware._errors import BudgetError, BudgetExceeded
from ttc_middleware._policy import Policy
from ttc_middleware._types import Result, Sample, Verdict
from ttc_middleware._usage import Usage
from ttc_middleware._verify import Check
from ttc_middleware._wrapped import ScaledFunction, is_async
from ttc_middleware.verifiers.measuring import verdict_on

from ._figures import Run

if TYPE_CHECKING:
    from ._file import RunFile

_PASSING = ("rate limited", "server error", "connection")
"""Faults of the service, which say nothing of how much was thought. A timeout may."""

HOPELESS = 8
"""Runs that fail from the start by the function's own errors before these come out."""


Job = tuple[str, inspect.BoundArguments, Any, str, int]
"""The problem's name, how the function is called, the problem, the budget's name and the number of the sample."""


@dataclass
class Work:
    """The runs under way."""

    fn: ScaledFunction[..., Any]
    check: Check
    accept: float
    key: Callable[[Sample[Any]], Hashable | None]
    policies: Mapping[str, Policy]
    kept: RunFile
    total: int
    todo: int
    progress: Callable[[int, int], None] | None
    done: int = field(init=False)
    faults: int = 0
    stopped: bool = False
    doubtful: list[Callable[[], None]] | None = field(default_factory=list[Callable[[], None]])
    """Runs that raised before any had returned something, to be kept when one does; None: one has."""

    def __post_init__(self) -> None:
        self.done = self.total - self.todo

    async def all(self, jobs: Sequence[Job], at_once: int, *, limited: bool) -> None:
        """Make the runs; ends early where the budget does."""
        waiting = iter(jobs)
        failed: list[Exception] = []

        async def work() -> None:
            for job in waiting:  # shared: each worker takes the next
                if self.stopped or failed:
                    return
                try:
                    await self._one(job, limited=limited)
                except Exception as error:  # noqa: BLE001  # raised below, outside of the group
                    failed.append(error)
                    return

        async with anyio.create_task_group() as group:
            for _ in range(min(at_once, len(jobs))):
                group.start_soon(work)
        if failed:
            raise failed[0]

    async def _one(self, job: Job, *, limited: bool) -> None:
        result, error = None, None
        try:
            with self.policies[job[3]]:
                result = await self._run(job[1])
        except Exception as raised:
            result, error = result_of(raised), raised
            if isinstance(raised, BudgetExceeded) and limited:
                self.stopped = True
                return
            if isinstance(raised, BudgetError) or result is None:
                raise
        sample = result.samples[0] if result.samples else None
        if sample is None or (error is not None and sample.fault in _PASSING):
            self.faults += 1
        elif error is not None:
            self._doubted(error, lambda: self._keep(job, result, sample, Verdict(0.0)))
        else:
            self._trusted()
            await self._judged(job, result, sample)
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)

    def _doubted(self, error: Exception, keep: Callable[[], None]) -> None:
        """Keep a run that raised; unless nothing else has happened yet: then the function may be at fault itself."""
        if self.doubtful is None:
            keep()
            return
        self.doubtful.append(keep)
        if len(self.doubtful) >= min(HOPELESS, self.todo):
            raise error

    def _trusted(self) -> None:
        waiting, self.doubtful = self.doubtful or [], None
        for keep in waiting:
            keep()

    async def _judged(self, job: Job, result: Result[Any], sample: Sample[Any]) -> None:
        more: Mapping[str, Any] = cast("Any", job[2]) if isinstance(job[2], Mapping) else {}
        verdict = await verdict_on(self.check, sample, {**sample.call.arguments, **more}, self.accept)
        if verdict is None:
            self.faults += 1
        else:
            self._keep(job, result, sample, verdict)

    async def _run(self, call: inspect.BoundArguments) -> Result[Any]:
        run: Any = self.fn.run
        if is_async(self.fn):
            return cast("Result[Any]", await run(*call.args, **call.kwargs))
        return cast("Result[Any]", await anyio.to_thread.run_sync(lambda: run(*call.args, **call.kwargs)))

    def _keep(self, job: Job, result: Result[Any], sample: Sample[Any], verdict: Verdict) -> None:
        name, _, problem, text, number = job
        usage = result.bill.total
        seen = result.bill.status != "unknown"
        run = Run(
            problem=name,
            budget=text,
            sample=number,
            right=bool(verdict.accepted),
            score=verdict.score,
            answer=self._answer(sample),
            tokens=usage.tokens if seen else None,
            reasoning=usage.reasoning_tokens if seen else None,
            usd=None if usage.usd is None or not seen else float(usage.usd),
            seconds=round(result.seconds, 6),
            cut=_near_the_limit(usage),
        )
        self.kept.add(run, {"content": {"problem": problem, "output": sample.output}})

    def _answer(self, sample: Sample[Any]) -> str | None:
        try:
            answer = self.key(sample)
        except Exception:  # noqa: BLE001  # `by` cannot read this output: it abstains, as in a vote
            return None
        return None if answer is None else self.kept.digest(repr(answer))


def _near_the_limit(usage: Usage) -> bool:
    """Whether less is left than this run took: its `max_tokens` may have been lowered to what was left."""
    account = SCOPE.get().charged
    if account is None:
        return False
    took = {"tokens": usage.tokens, "usd": int((usage.usd or 0) * 10**9)}
    left = {resource: account.unspent(resource) for resource in took if account.limited(resource)}
    return any(each is not None and each < took[resource] for resource, each in left.items())
