"""One draw, from its seat to its verdict. Whatever happens inside, it ends as a sample."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
from anyio.abc import TaskGroup
from opentelemetry.trace import Span

from . import _portal
from ._account import Account, Ask, Hold
from ._bell import TaskBell
from ._bill import answered, apportion
from ._context import TAB, Entry, Tab, warn_once
from ._errors import BudgetExceeded
from ._faults import classify
from ._judging import Judge, from_inside
from ._leaf import amounts
from ._plan import Invoke, Plan
from ._types import Call, Draw, Fault, Reading, Sample
from ._usage import Usage
from ._verify import prepare
from .telemetry._search import sample_span, verdict_event, verifier_span
from .telemetry._spans import Current, now

_EMPTY = Reading(status="failed", fault="empty")
_NOTHING_ASKED = Draw()
NO_CHOICES: set[tuple[str, str | None, str]] = set()
"""Endpoints that refused or ignored `n`."""


@dataclass
class Desk:
    """What the draws of one search share; the search reads what they leave here."""

    plan: Plan
    call: Call
    invoke: Invoke[Any]
    ledger: Account | None
    outer_tab: Tab | None
    tags: Any
    seated: bool
    """Whether draws take a seat under a limit of concurrency."""
    finished: list[Sample[Any]] = field(default_factory=list[Sample[Any]])
    """In order of arrival; the strategy is told of each."""
    bell: anyio.Event = field(default_factory=anyio.Event)
    tasks: list[DrawTask] = field(default_factory=list["DrawTask"])
    by_index: dict[int, DrawTask] = field(default_factory=dict[int, "DrawTask"])
    """By launch order; several samples may share a task."""
    active: int = 0
    crash: BaseException | None = None
    """What a draw raised that is no `Exception`, like `SystemExit`: it ends the search."""
    group: TaskGroup | None = None
    """Where draws run."""
    refusal: BudgetExceeded | None = None
    """The first limit that refused something."""
    unseen: bool = False
    """A draw brought an answer without any model call that was seen."""
    tools_ran: bool = False
    """A draw has reported to a model on tools that it ran."""
    started: float = field(default_factory=time.monotonic)
    judge: Judge | None = field(init=False)
    """The call site's own; None where nothing is judged."""
    judges: dict[int, Judge] = field(default_factory=dict[int, Judge])
    """Those that draws name, by identity."""

    def __post_init__(self) -> None:
        self.judge = None if self.plan.check is None else Judge(self.plan, self.plan.check)

    def judge_of(self, sample: Sample[Any]) -> Judge | None:
        """Who judges a sample; None: nobody."""
        draw = sample.draw
        if sample.status not in ("answer", "truncated") or sample.fault == "cut" or draw.kind in ("draft", "routing"):
            return None
        # A step's own judge scores what there is so far; the answer that it came to is the call site's to judge.
        came_to = draw.kind == "step" and sample.whole
        if draw.judge is False and not came_to:
            return None
        if draw.judge is None or draw.judge is False or (came_to and self.judge is not None):
            return self.judge
        if id(draw.judge) not in self.judges:  # the draw keeps it alive
            self.judges[id(draw.judge)] = Judge(self.plan, prepare(draw.judge, None))
        return self.judges[id(draw.judge)]

    def no_choices(self) -> None:
        """Remember that this endpoint does not send several completions of one request."""
        request = self.plan.adapter.describe(self.call)
        if request is not None:
            NO_CHOICES.add((request.provider, request.server, request.model))

    @property
    def requested(self) -> int:
        """Draws that were launched."""
        return sum(task.draw.kind != "routing" for task in self.by_index.values())

    def sources(self, routing: Tab) -> frozenset[str]:
        """Who says what the model calls cost: the provider, a price table here, or both."""
        tabs = [routing, *(tab for task in self.tasks for tab in (task.tab, *task.verifications))]
        return frozenset(entry.priced for tab in tabs for entry in tab.entries if entry.priced is not None)

    async def take_sample(self) -> None:
        """Spend one of the draws that the budget allows.

        Raises:
            BudgetExceeded: there are no more.
        """
        if self.ledger is not None and self.ledger.limited("samples"):
            (await _held(self.ledger, Ask({"samples": 1}, patient=False))).settle()

    def release(self) -> None:
        """Let go of the draws, which hold on to this desk: without the cycle, responses are freed at once."""
        self.tasks.clear()
        self.by_index.clear()

    def warn(self) -> None:
        """Warn of what was noticed: after the search, where a warning that is raised reaches the caller."""
        name = self.plan.name
        if self.tools_ran:
            warn_once(
                "tools",
                name,
                f"{name} runs tools inside its draws, once for each: scale its model calls instead, with"
                ' scale(scope="model_calls"), or defer what must happen once with ttc.on_win()',
            )
        if self.unseen:
            warn_once(
                "unseen",
                name,
                f"no model call was seen inside {name}, so its bill is unknown: use an SDK that ttc.instrument() knows,"
                " wrap the client, or report calls with ttc.record_usage()",
            )
        for judge in (self.judge, *self.judges.values()):
            if judge is not None:
                judge.warn()
        for judge in self.judges.values():
            judge.warn_broken(name)
        alone = [sample for sample in self.finished if sample.draw.kind == "answer" and sample.draw.parent is None]
        texts = [sample.text for sample in alone if sample.status == "answer"]
        # Short answers agree by right; long texts that do are copies.
        if len(texts) > 3 and texts[0] is not None and len(texts[0]) > 40 and len(set(texts)) == 1:  # noqa: PLR2004
            warn_once(
                "equal",
                name,
                f"all {len(texts)} samples of {name} are the same text: a cache or a temperature of 0 makes more than"
                " one draw pointless",
            )

    def ring(self) -> None:
        """Tell the search that something has changed."""
        self.bell.set()


@dataclass
class DrawTask:
    """One draw under way, or several that share a request."""

    desk: Desk
    first: int
    """The launch order of the first."""
    count: int
    draw: Draw
    tab: Tab
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    spans: list[Span] = field(default_factory=list[Span])
    samples: list[Sample[Any]] = field(default_factory=list[Sample[Any]])
    ended: list[int] = field(default_factory=list[int])
    """When each of `samples` ended, on the clock of spans."""
    verifications: list[Tab] = field(default_factory=list[Tab])
    instead: bool = False
    """Drawn alone, after the endpoint has not sent it with others."""

    async def run(self) -> None:
        """Draw. Raises nothing but cancellation."""
        desk = self.desk
        TAB.set(self.tab)
        if not self.spans:
            orders = range(self.first, self.first + self.count)
            self.spans = [sample_span(index, self.draw, desk.tags) for index in orders]
        try:
            with self.scope, Current(self.spans[0]):
                if desk.seated:
                    await self._seated()
                else:
                    await self._sampled()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001  # raised by the search, outside its task group
            desk.crash = desk.crash or _bare(error)
        finally:
            self.tab.ended()
            self.tab.closed = len(self.samples) < self.count
            if self.instead and any(sample.status != "failed" for sample in self.samples):
                desk.no_choices()
            desk.active -= 1
            desk.ring()

    async def _seated(self) -> None:
        """Draw under the limits of concurrency."""
        assert self.desk.ledger is not None
        seat = await _held(self.desk.ledger, Ask({"seats": 1}))
        try:
            await self._sampled()
        finally:
            seat.settle({})

    async def _sampled(self) -> None:
        if self.count > 1:
            await self._shared()
            return
        try:
            if self.draw.run is None:
                output = await self.desk.invoke(self.desk.call)
                reading = self.desk.plan.adapter.read(output)
            else:
                output = await self._ran(self.draw.run)
                reading = Reading(text=output if isinstance(output, str) else None)
            sample = self._sample(0, output, reading, None)
        except Exception as error:  # noqa: BLE001  # a failed sample is dropped; it never sinks the call
            self._deliver(self._failed(error))
            return
        except anyio.get_cancelled_exc_class() as cancelled:
            self._deliver(self._failed(from_inside(cancelled)))
            return
        await self._judged(sample)

    async def _ran(self, run: Callable[[], Any]) -> Any:
        """What is run in place of the call; in a thread where the call site blocks."""
        said: Any = await _portal.in_thread(run) if self.desk.plan.in_thread else run()
        return await said if inspect.isawaitable(said) else said

    async def _shared(self) -> None:
        """Several samples from one request; what the endpoint does not send that way is drawn one by one."""
        plan, call = self.desk.plan, self.desk.call
        try:
            response = await self.desk.invoke(plan.adapter.merge(call, self.count))
            # A response without any output has failed them all: asking once more for each would be a retry.
            outputs = list(plan.adapter.split(response))[: self.count] or [response] * self.count
            readings = [_EMPTY if output is None else plan.adapter.read(output) for output in outputs]
            shares = apportion(answered(self.tab), [_weight(reading) for reading in readings])
            parts = zip(range(self.count), outputs, readings, shares, strict=False)
            samples = [self._sample(*part) for part in parts]
            if any(entry.gap for entry in self.tab.entries):  # one by one, the bill will be exact
                self.desk.no_choices()
        except Exception as error:  # noqa: BLE001  # as above
            if classify(error).fault != "rejected":  # every sample failed, and trying each again would be a retry
                for _ in range(self.count):
                    self._deliver(self._failed(error))
                return
            samples = []
        alone = [self._split_off(place) for place in range(len(samples), self.count)]
        self.count = len(samples)
        self.spans = self.spans[: self.count]
        for task in alone:  # beside this task, on seats of their own
            assert self.desk.group is not None
            self.desk.group.start_soon(task.run)
        await self._all_judged(samples)

    def _split_off(self, place: int) -> DrawTask:
        """A draw of its own for one of the samples that were to share a request."""
        tab = Tab(
            self.draw,
            index=self.first + place,
            whole=True,
            parent=self.tab.parent,
            among=self.tab.among,
            trackers=self.tab.trackers,
            later=self.tab.later or place > 0,
        )
        if tab.among is not None:
            tab.among.count += 1
        task = DrawTask(self.desk, self.first + place, 1, self.draw, tab, instead=True)
        self.desk.active += 1
        self.desk.tasks.append(task)
        self.desk.by_index[task.first] = task
        task.spans = [self.spans[place]]
        return task

    def _sample(self, place: int, output: Any, reading: Reading, share: Usage | None) -> Sample[Any]:
        plain, asked = self.desk.plan.plain, self.draw.thinks
        if self.draw.kind == "step" and reading.fault == "empty" and reading.stop_word in (self.draw.stop or ()):
            reading = replace(reading, status="answer", fault=None)  # it begins with the separator
        if plain:
            self._look_inside()
        elif share is None and asked is not None and asked.prompted and reading.usage is not None:
            share = answered(self.tab)  # its thinking is told apart by the length of the text
        return Sample(
            index=self.first + place,
            draw=self.draw,
            call=self.desk.call,
            output=output,
            text=reading.text,
            tool_calls=reading.tool_calls,
            status=reading.status,
            ended=self._ended(reading),
            logprob=self._logprob() if plain else reading.logprob,
            fault=reading.fault,
            usage=self.tab.spent if share is None else share,
            apportioned=share is not None,
            gaps=self._gaps(),
        )

    def _ended(self, reading: Reading) -> bool | None:
        """Whether the answer has ended, as the server says, or as the draw reads it."""
        ended = reading.ended
        if reading.stop_word is not None:  # one of the caller's own ends the answer
            own: Any = self.desk.call.arguments.get("stop") or ()
            own = (own,) if isinstance(own, str) else own
            ended = reading.stop_word in own or reading.stop_word not in (self.draw.stop or ())
        if self.draw.ends is not None and reading.text is not None and self.draw.ends(reading.text):
            return True
        return ended

    def _logprob(self) -> float | None:
        """What the last answer that a function was given says of its tokens."""
        return next((entry.logprob for entry in reversed(self.tab.entries) if entry.answered), None)

    def _look_inside(self) -> None:
        """Note what a function does inside its draws, or hides there."""
        if self.draw.run is not None:
            return
        self.desk.tools_ran |= self.tab.tools_ran
        self.desk.unseen |= not self.tab.entries

    def _failed(self, error: Exception) -> Sample[Any]:
        desk = self.desk
        check = desk.plan.check
        # The function itself could not parse its answer: rejected, with what it said as feedback.
        rejected = check is not None and self.draw.kind != "routing" and isinstance(error, check.rejects)
        if isinstance(error, BudgetExceeded) and desk.refusal is None:
            desk.refusal = error
        fault: Fault | None = None if rejected else (self.tab.fault or classify(error).fault)
        return Sample(
            index=self.first + len(self.samples),
            draw=self.draw,
            call=desk.call,
            output=None,
            status="abstained" if rejected else "failed",
            fault=fault,
            error=error,
            verdict=check.rejection(error) if rejected and check is not None else None,
            usage=Usage.zero() if self.samples else self.tab.spent,
            gaps={} if self.samples else self._gaps(),
        )

    def _gaps(self) -> dict[str, int]:
        unseen = self.desk.plan.plain and self.draw.run is None and not self.tab.entries
        return {"nothing observed": 1} if unseen else self.tab.gaps

    async def _all_judged(self, samples: list[Sample[Any]]) -> None:
        """Verify side by side; in turn where no time would be won, since a task costs more than most verifiers."""
        left = samples[::-1]
        while left and ((judge := self.desk.judge_of(left[-1])) is None or not judge.waits):
            await self._judged(left.pop())
        if left:
            async with anyio.create_task_group() as group:
                while left:
                    group.start_soon(self._judged, left.pop())

    async def _judged(self, sample: Sample[Any]) -> None:
        """Verify a sample and hand it to the strategy."""
        desk = self.desk
        judge = desk.judge_of(sample)
        if judge is not None:
            tab = Tab(
                _NOTHING_ASKED,
                index=sample.index,
                role="verifier",
                parent=desk.outer_tab,
                among=self.tab.among,
                trackers=self.tab.trackers,
            )
            self.verifications.append(tab)
            token = TAB.set(tab)
            try:
                own = self.spans[sample.index - self.first]
                with verifier_span(judge.name, own, desk.tags) as span:
                    verdict = await judge.verdict(sample, {**desk.call.arguments, **desk.plan.around})
                    verdict_event(span, judge.name, verdict)
            finally:
                TAB.reset(token)
            if verdict.usage is not None:
                tab.record(Entry(verdict.usage, answered=True, ended=time.monotonic()))
                if desk.ledger is not None:
                    desk.ledger.charge(amounts(verdict.usage))
            sample = replace(sample, verdict=verdict)
        self._deliver(sample)

    def _deliver(self, sample: Sample[Any]) -> None:
        sample = replace(sample, after=time.monotonic() - self.desk.started)
        self.samples.append(sample)
        self.ended.append(now())
        self.desk.finished.append(sample)
        self.desk.ring()


async def _held(account: Account, ask: Ask) -> Hold:
    """Reserve, waiting for it where need be.

    Raises:
        BudgetExceeded: it never will be there.
    """
    bell = TaskBell()
    outcome = account.reserve(ask, bell.ring)
    if isinstance(outcome, Hold):
        return outcome
    try:
        await bell.wait()
    except BaseException:
        outcome.withdraw()
        raise
    if isinstance(outcome.outcome, Hold):
        return outcome.outcome
    assert outcome.outcome is not None
    raise outcome.outcome


def _weight(reading: Reading) -> int:
    """How long an answer is: its share of a request that served several."""
    return 1 + len(reading.text or "") + sum(len(call.arguments) for call in reading.tool_calls)


def _bare(error: BaseException) -> BaseException:
    """What a task group of ours has wrapped."""
    inside: list[BaseException] = list(getattr(error, "exceptions", ()))
    return _bare(inside[0]) if len(inside) == 1 else error
