"""Drives a search: starts draws as the strategy asks, tells it of samples, stops, cancels, adds up.

One task a draw, under one task group. What must reach the caller is raised outside the group, so that nobody ever sees
an exception group of ours.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any, Generic

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from opentelemetry.trace import Span

from ._bill import bill_of, steps_of
from ._calls import diversified
from ._context import SCOPE, SETTINGS, TAB, Among, Role, Tab, warn_once
from ._draws import NO_CHOICES, Desk, DrawTask
from ._errors import BadResponse, BudgetExceeded, BudgetUnenforceable, NotAccepted
from ._plan import Invoke, Plan
from ._record import line_of
from ._search import NoSamples
from ._strategy import begin, needs_all
from ._types import Call, Cancel, Capability, Draw, Request, Result, Sample, Search, StopReason, T
from ._usage import Bill
from .telemetry._search import end_sample, end_search, search_span

_PATIENCE = 1_000  # how often a strategy may ask on after it was told that no more will come


async def search(plan: Plan, call: Call, invoke: Invoke[T]) -> Result[T]:
    """Run one search to its end.

    Raises:
        Exception: what the earliest launched draw raised, if every draw failed.
        NotAccepted: nothing was accepted, and `on_reject="raise"`.
        BudgetExceeded: a limit or the deadline left nothing to return.
    """
    return await _Run(plan, call, invoke).run()


def result_of(error: BaseException) -> Result[Any] | None:
    """What the search found and spent before it raised this; None if it was not raised by a search."""
    story = getattr(error, "_ttc_story", None)
    return story.result if isinstance(story, _Story) else None


class _Story:
    """Keeps a result on an exception, and out of its pickle: a result holds whatever the call was given."""

    __slots__ = ("result",)

    def __init__(self, result: Result[Any] | None = None) -> None:
        self.result = result

    def __reduce__(self) -> tuple[type[_Story], tuple[()]]:
        return _Story, ()


class _Run(Generic[T]):
    """One search under way."""

    def __init__(self, plan: Plan, call: Call, invoke: Invoke[T]) -> None:
        outer, outer_tab = SCOPE.get(), TAB.get()
        limits = plan.budget.limits
        if plan.adapter.slots is not None:
            limits["seats"] = min(plan.adapter.slots, limits.get("seats", plan.adapter.slots))
        ledger = outer.below(limits)
        self.started = time.monotonic()
        self.scope = replace(outer.until(plan.budget.seconds), ledger=ledger, model_calls=None)
        self.deadline = self.scope.deadline
        if self.deadline is not None:
            call = replace(call, seconds=self.deadline - self.started)
        self.plan = plan
        self.desk = Desk(
            plan,
            call,
            invoke,
            ledger,
            outer_tab,
            outer.tags,
            # A draw inside a draw sits on the outer one's seat: waiting for another could wait for itself.
            seated=outer_tab is None and outer.waits and ledger is not None and ledger.limited("seats"),
        )
        self.among = Among(plan.name)
        self.told = 0
        self.late = False
        self.drawn = False
        """Something was drawn, and not only asked how to search."""
        self.winner: Sample[Any] | None = None
        self.error: BaseException | None = None
        self.routing = Tab(Draw(), role="routing", parent=outer_tab, trackers=len(outer.trackers))
        """Where the model calls of the strategy itself are counted; inside it, scaling is off."""

    async def run(self) -> Result[T]:
        plan, desk = self.plan, self.desk
        limits = {name: value for name, value in vars(plan.budget).items() if value is not None}
        bill, result = Bill(), None
        with search_span(plan.name, plan.strategy, limits, desk.tags) as span:
            token = SCOPE.set(self.scope)
            try:
                try:
                    await self._group()
                finally:
                    SCOPE.reset(token)
                    bill = self._close()
                result = self._result(bill)
                desk.warn()
                self.error = self.error or self._problem(result)
                if self.error is None and self.winner is not None:
                    await _called_back(desk.by_index[self.winner.index].tab, in_thread=plan.in_thread)
            except Exception as error:  # noqa: BLE001  # raised below, with the result attached
                self.error = error
            finally:
                seconds, sources = time.monotonic() - self.started, desk.sources(self.routing)
                end_search(span, result, bill, requested=desk.requested, seconds=seconds, sources=sources)
                ended = result or self._result(bill)
                self._recorded(ended, span)
                desk.release()
                # Those outside an outer draw hear of this through that draw's own search.
                for tracker in self.scope.trackers[desk.outer_tab.trackers if desk.outer_tab else 0 :]:
                    tracker.add(bill)
                    tracker.found(ended)
        if self.error is None:
            return ended
        object.__setattr__(self.error, "_ttc_story", _Story(ended))  # even where its class allows no attributes
        raise self.error

    def _recorded(self, result: Result[T], span: Span) -> None:
        """Write the run record, where there is one; a full disk costs a line, not the call."""
        recorder, desk = SETTINGS.recorder, self.desk
        if recorder is None:
            return
        try:
            line = line_of(
                result,
                error=self.error,
                started=self.started,
                verified=self.plan.check is not None,
                draws=[(task.tab, task.verifications) for task in desk.tasks],
                routing=self.routing,
                tags=desk.tags,
                span=span,
                call=desk.call if recorder.content else None,
            )
            if desk.outer_tab is not None:
                line["inside"] = True  # its calls are in the line of the search around it, too
            recorder.write(line)
        except Exception as error:  # noqa: BLE001  # content is anybody's objects
            said = str(error) if isinstance(error, OSError) else type(error).__name__
            warn_once("record", str(recorder.folder), f"the run record in {recorder.folder} has gaps: {said}")

    # What the strategy asks and is told.

    async def _group(self) -> None:
        """Run the strategy and its draws; whatever is still under way when it returns is cancelled."""
        async with anyio.create_task_group() as group:
            self.desk.group = group
            try:
                await self._drive(group)
            except NoSamples:
                pass  # _problem() says why there are none
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001  # raised outside the group
                self.error = error
            if self.desk.active:
                group.cancel_scope.cancel()
        # A client that blocks was told to give up at the deadline, and may have done so before our own clock struck.
        self.late |= self._nothing and self.scope.over() is not None

    async def _drive(self, group: TaskGroup) -> None:
        steps = begin(self.plan.strategy, self.desk.call)
        asked_on = 0
        try:
            step = self._told(steps, None)
            while True:
                await self._start(step, group)
                sample = await self._next()
                if sample is None:
                    asked_on += 1
                    if asked_on > _PATIENCE:
                        raise RuntimeError(f"{self.plan.strategy!r} goes on asking after it was told that no more come")
                step = self._told(steps, sample)
        except StopIteration as end:
            self.winner = self._sent(end.value)
        finally:
            steps.close()

    def _told(self, steps: Search[Any], sample: Sample[Any] | None) -> Sequence[Draw | Cancel]:
        token = TAB.set(self.routing)
        try:
            return steps.send(sample)
        finally:
            TAB.reset(token)

    def _sent(self, winner: Any) -> Sample[Any] | None:
        if winner is None or any(winner is sample for sample in self.desk.finished):
            return winner  # type: ignore[no-any-return]
        raise TypeError(f"{self.plan.strategy!r} must return one of the samples it was sent, got {winner!r:.200}")

    async def _start(self, step: Sequence[Draw | Cancel], group: TaskGroup) -> None:
        if not step:
            return
        desk = self.desk
        draws: list[Draw] = []
        for item in step:
            if not isinstance(item, (Draw, Cancel)):
                raise TypeError(f"{self.plan.strategy!r} must yield a sequence of draws, got {step!r:.200}")
            if isinstance(item, Cancel):
                if item.index in self.desk.by_index:
                    self.desk.by_index[item.index].scope.cancel()
            elif await self._goes_on(item):
                draws.append(item)
        groups = self._grouped(draws)
        # One request and nothing to watch meanwhile: it is made right here. Handing it to a task of its own would let
        # everybody else's responses arrive first, and their connections lie idle, before this caller goes on.
        here = len(groups) == 1 and not desk.active and self.deadline is None and not self.plan.plain
        for draw, count in groups:
            task = self._launch(draw, count)
            if not here:
                group.start_soon(task.run)
                continue
            token = TAB.set(TAB.get())  # the draw sets its own
            try:
                await task.run()
            finally:
                TAB.reset(token)

    async def _goes_on(self, draw: Draw) -> bool:
        """Whether another draw may start; it is then counted, unless it only asks how to search."""
        desk = self.desk
        if desk.refusal is None and desk.ledger is not None:
            desk.refusal = desk.ledger.exhausted()
        if desk.refusal is not None or self.late:
            return False
        try:
            if draw.kind != "routing":
                await desk.take_sample()
        except BudgetExceeded as refusal:
            desk.refusal = refusal
        return desk.refusal is None

    def _grouped(self, draws: list[Draw]) -> list[tuple[Draw, int]]:
        """Equal unseeded draws of one step together, where the strategy waits for all and the endpoint has `n`."""
        plan, later = self.plan, self.drawn
        request = plan.adapter.describe(self.desk.call) if len(draws) > 1 else None
        wished: list[Draw] = []
        for draw in draws:
            wished.append(self._wished(draw, request, later=later))
            later |= draw.kind != "routing"
        if request is None or request.choices != 1 or request.stream or not needs_all(plan.strategy):
            return [(draw, 1) for draw in wished]
        endpoint = (request.provider, request.server, request.model)
        if Capability.CHOICES not in plan.adapter.can or endpoint in NO_CHOICES:
            return [(draw, 1) for draw in wished]
        groups: list[tuple[Draw, int]] = []
        for draw in wished:
            if groups and draw.seed is None and draw.kind != "routing" and groups[-1][0] == draw:
                groups[-1] = (draw, groups[-1][1] + 1)
            else:
                groups.append((draw, 1))
        return groups

    def _wished(self, draw: Draw, request: Request | None, *, later: bool) -> Draw:
        if draw.kind == "routing":
            return draw
        if draw.thinking is None and self.plan.thinking is not None:
            draw = replace(draw, thinking=self.plan.thinking)
        return diversified(draw, request, later=later)

    def _launch(self, draw: Draw, count: int) -> DrawTask:
        desk, first = self.desk, len(self.desk.by_index)
        heard = len(self.scope.trackers)
        role: Role = "routing" if draw.kind == "routing" else "sample"
        later = self.drawn and role == "sample"
        self.drawn |= role == "sample"
        tab = Tab(
            draw,
            index=first,
            role=role,
            whole=True,
            parent=desk.outer_tab,
            among=self.among,
            trackers=heard,
            later=later,
        )
        task = DrawTask(desk, first, count, draw, tab)
        self.desk.tasks.append(task)
        self.desk.by_index.update(dict.fromkeys(range(first, first + count), task))
        desk.active += 1
        self.among.count += 1
        return task

    async def _next(self) -> Sample[Any] | None:
        """The next sample to finish; None once no more will come."""
        desk = self.desk
        while self.told == len(desk.finished):
            if desk.crash is not None:
                raise desk.crash
            if not desk.active or self.late:
                return None
            desk.bell = anyio.Event()
            if self.deadline is None:
                await desk.bell.wait()
                continue
            with anyio.move_on_after(self.deadline - time.monotonic()) as timer:
                await desk.bell.wait()
            if timer.cancelled_caught:
                await self._time_is_up()
        if desk.unseen and desk.ledger is not None and desk.ledger.limited("tokens", "usd"):
            raise BudgetUnenforceable(
                f"{self.plan.name} has a token or dollar budget, but none of its model calls was seen: use an SDK that"
                " ttc.instrument() knows, wrap the client, or report calls with ttc.record_usage()"
            )
        self.told += 1
        return desk.finished[self.told - 1]

    async def _time_is_up(self) -> None:
        """Cancel what is under way, and wait until it has let go of everything."""
        self.late = True
        for task in self.desk.tasks:
            task.scope.cancel()
        while self.desk.active:
            self.desk.bell = anyio.Event()
            await self.desk.bell.wait()

    # The end.

    def _close(self) -> Bill:
        """End every span, and add up."""
        # A sample whose error comes out is read by nobody.
        read = None if self.winner is None or self.winner.status == "failed" or self.winner.error else self.winner
        outcomes = dict.fromkeys(steps_of(read), "continued") | ({} if read is None else {read.index: "won"})
        for task in self.desk.tasks:
            done = {sample.index: (sample, ended) for sample, ended in zip(task.samples, task.ended, strict=True)}
            for place, span in enumerate(task.spans):
                sample, ended = done.get(task.first + place, (None, None))
                outcome = "cancelled" if sample is None else outcomes.get(sample.index, "lost")
                end_sample(span, sample, outcome, ended)
        return bill_of(
            [(task.tab, task.samples, task.verifications) for task in self.desk.tasks],
            winner=read,
            unseen=self.desk.unseen,
            routing=self.routing,
        )

    def _result(self, bill: Bill) -> Result[T]:
        winner = self.winner
        drawn = [sample for sample in self.desk.finished if sample.draw.kind != "routing"]
        samples = tuple(sorted(drawn, key=lambda sample: sample.index))
        accepted = winner is not None and winner.accepted
        refused = self.desk.refusal
        out: StopReason = "deadline" if refused is not None and refused.resource == "seconds" else "budget"
        reason: StopReason = "accepted" if accepted else "decided" if refused is None else out
        output: Any = None if winner is None else winner.output
        if winner is not None and winner.draw.kind == "step" and winner.status == "answer" and not winner.whole:
            output = self._cut(output)
        return Result(
            output=output,
            accepted=accepted,
            bill=bill,
            samples=samples,
            winner=winner,
            stop_reason="deadline" if self.late else reason,
            name=self.plan.name,
            strategy=repr(self.plan.strategy),
            seconds=time.monotonic() - self.started,
        )

    def _cut(self, output: Any) -> Any:
        """A part of an answer, which is all that there is, so that its reader can tell."""
        says = getattr(self.plan.adapter, "cut", None)
        return output if says is None else says(output)

    @property
    def _nothing(self) -> bool:
        """There is no answer, not even a wrong one."""
        return self.winner is None or self.winner.status == "failed"

    def _problem(self, result: Result[T]) -> Exception | None:
        """Why there is nothing to return; None if there is something."""
        winner, name = self.winner, self.plan.name
        over = self.scope.over()
        if self._nothing and self.late and over is not None:
            return over
        if winner is None:
            return self.desk.refusal or RuntimeError(f"{self.plan.strategy!r} returned no sample")
        if winner.error is not None:
            return winner.error
        if winner.status == "failed":
            why = f"none of the {len(result.samples)} responses to {name} holds an answer (the first is {winner.fault})"
            return BadResponse(why, fault=winner.fault or "malformed")
        if self.plan.check is not None and not winner.accepted and self.plan.on_reject == "raise":
            said = (winner.verdict and winner.verdict.feedback) or "no feedback"
            return NotAccepted(
                f"none of the {len(result.samples)} samples of {name} was accepted; the best's feedback: {said:.500}"
            )
        return None


async def _called_back(tab: Tab, *, in_thread: bool) -> None:
    """Do what the winner deferred with `on_win()`, in a thread where the function itself runs in one."""
    for callback in tab.callbacks:
        said = await anyio.to_thread.run_sync(callback) if in_thread else callback()
        if isinstance(said, Awaitable):
            await said
