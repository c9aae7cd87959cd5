"""One attempt at a model call: its reservation, its span and its place on the bill."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_DOWN, Decimal, localcontext

from . import _watch
from ._account import Account, Ask, Hold, Ticket
from ._budget import NANO
from ._caps import known_limit
from ._context import SETTINGS, WITNESS, Entry, Scope, Tab, here
from ._cuts import made_at_most, stops_when_left
from ._errors import BudgetExceeded, BudgetUnenforceable, PriceUnknown
from ._faults import ATTEMPTS, Failure
from ._learnt import learn
from ._pace import patience, saw
from ._types import Adapter, Call, Capability, Reading, Request
from ._usage import EXACT, Bill, Usage
from .prices._find import find
from .prices._price import Cost
from .telemetry._call import CallSpan
from .telemetry._spans import NO_SPAN, Current, counted

FLOOR = 256
"""A budget never clamps `max_tokens` below this: fewer tokens are paid for and rarely an answer."""

UNASKED = 32_768
"""Output tokens that a caller without `max_tokens` is taken to want, at most, where a budget has to hold something.

Few answers are longer. To hold all that is left would make the calls of a block wait for each other, and charge the
whole budget for the first that is cancelled.
"""

LEASE = 256
"""Output tokens that a stream of open length holds at a time, where all that it costs can be seen on it."""

LAG = 32
"""Tokens that a stream may cost beyond the bytes of its text: markup that is parsed away, and what a server has
generated before it notices that its stream is closed."""

GROWS = 4_096
"""Units that such a stream may well come to, by bytes: newcomers wait until so much is free for each."""

IDLE = 1.0
"""Seconds after which a stream that its reader has left alone may stay so: nobody waits for it any more."""

BODY = 8 * 2**20
"""Bytes that a response may have, decompressed, or one event of a stream; and for each token that it may have,"""

PER_TOKEN = 4 * 2**10
"""so many more: what is wrapped around a token in a stream, and the odds of twenty others beside it."""


FEES = "fees beside tokens"
"""A gap in dollars alone: all tokens are known."""


class Leaf:
    """One attempt at a model call, from its reservation to its bill. Adapters get it as the second argument of `send`.

    A response that is still on its way when `send` returns is `defer()`red; whoever reads it to the end then calls
    `finish()`, or `cut()` if it ends early.

    What bounds the cost of a stream under a budget:

    - as a rule the cap: `max_tokens` is lowered to what is held, so that whoever honours it cannot cost more, hidden
      thinking included. Until the stream ends, all of that is held;
    - a *lease*, where the caller gives no `max_tokens` and all tokens can be seen (`Request.aloud`): it holds `LEASE`
      tokens at a time, so that many streams fit beside each other, and is extended as chunks arrive. No tokenizer
      over bytes makes more tokens than bytes: while `lasts()` says so of the bytes seen, the cost is held. Else the
      stream is to be closed. A cap goes along: where the lease has grown to that, it needs no cutting. This relies on
      a server that stops when its stream is closed, so others get none (`_cuts.py` says who does what); a stream that
      is dropped without being closed is charged for its cap.

    What is left stranded: of a stream that ends, nothing. Of one that is cut or closed, what it holds beyond the tokens
    made: with a lease, at most `LEASE` + `LAG`, and by bytes, those seen beyond the tokens (in English, three for
    each). So that few are cut, a newcomer waits until `GROWS` are free for it and for each stream that is open.

    Others wait for an open stream as they do for any call, unless it is their own task's: that would wait for itself.
    So would one whose reader waits for them, which nobody can see. Therefore a stream whose reader has not asked for
    more in `IDLE` seconds is waited for no longer. Of what such a reader lets come, a lease sees nothing in time: if
    its stream is cut, it is charged for its cap.
    """

    __slots__ = (
        "_cap",
        "_done",
        "_hold",
        "_idle_since",
        "_prices",
        "_prompt",
        "_rates",
        "_reader",
        "_scope",
        "_slow",
        "_span",
        "_started",
        "_told",
        "deferred",
        "request",
        "retries",
        "seen",
        "shown",
        "tab",
    )

    def __init__(self, request: Request, tab: Tab | None, scope: Scope) -> None:
        self.request: Request = request
        self.tab: Tab | None = tab
        self.deferred: bool = False
        self.retries: int = ATTEMPTS - 1
        """How often the engine may try again; an adapter lowers it to what the caller allows the SDK."""
        self.seen: int = 0
        """Chunks with content that a stream has brought: at least so many tokens."""
        self.shown: int = 0
        """Bytes of what a stream has brought, all choices: at most so many tokens, but for hidden thinking."""
        self._scope = scope
        self._hold: Hold | None = None
        self._cap: int | None = None
        """The `max_tokens` that goes along with a lease; None: there is no lease."""
        self._idle_since: float = math.inf
        """When its reader was last given something, on `time.monotonic()`'s clock; infinite while it waits for more."""
        self._reader: tuple[int, int] | None = None
        self._slow: bool = False
        self._prompt: dict[str, int] = {}
        self._rates: dict[str, int] = {}
        self._prices = find(request.provider, request.model, SETTINGS.prices)
        self._span: CallSpan | None = None
        self._started = 0.0
        self._done = False
        self._told: Callable[[_watch.Seen], None] | None = None

    @property
    def whole(self) -> bool:
        """A stream must be read to its end before `send` returns: several compete, or a verifier waits."""
        return self.tab is not None and self.tab.whole

    @property
    def retried(self) -> bool:
        """Whether the engine retries, in a draw or under a budget: the SDK's own retries are to be off."""
        return self.tab is not None or self._scope.limited

    @property
    def largest(self) -> int | None:
        """Bytes that its response may have, in a draw or under a budget; None: any number, as without us."""
        request = self.request
        tokens = request.max_tokens or (UNASKED if request.stream else 0)
        return BODY + PER_TOKEN * tokens * request.choices if self.retried else None

    @property
    def deadline(self) -> float | None:
        """When it must have ended, on `time.monotonic()`'s clock; None: whenever."""
        return self._scope.deadline

    @property
    def patience(self) -> float | None:
        """Seconds that the answer may take, thinking as long as its limit allows; None: as long as the client waits."""
        return patience(self.request)

    def over(self) -> BudgetExceeded | None:
        """The error of its deadline, once that has passed; None before, or if there is none."""
        return self._scope.over(slack=0.05)

    @property
    def scope(self) -> Scope:
        """The blocks around it."""
        return self._scope

    @property
    def ledger(self) -> Account | None:
        """The account that this call is charged to."""
        return self._scope.charged

    def current(self) -> Current:
        """Make this call's span the current one."""
        return Current(NO_SPAN) if self._span is None else self._span.current()

    def defer(self) -> None:
        """The response is a stream: `finish()` or `cut()` comes later."""
        self.deferred = True
        if self._hold is not None:
            self._reader = here()
            self._idle_since = time.monotonic()
            _open[id(self)] = self

    @property
    def _idle(self) -> bool:
        return time.monotonic() - self._idle_since > IDLE

    def asked(self) -> None:
        """Note that the reader of the stream waits for its next event."""
        self._slow = self._slow or self._idle
        self._idle_since = math.inf

    def given(self) -> None:
        """Note that the reader of the stream has got an event."""
        self._idle_since = time.monotonic()

    def park(self, mine: tuple[int, int] | None) -> None:
        """Let nobody wait for this stream any more, if it is one's own or has been left alone."""
        if self._hold is not None and (self._reader == mine or self._idle):
            _open.pop(id(self), None)
            self._hold.park()

    def finish(self, reading: Reading, *, answered: bool = True) -> None:
        """Account for a response that has arrived whole."""
        usage, cost = _sound(reading.usage), None
        told = usage is not None and usage.usd is not None
        seconds = time.perf_counter() - self._started
        if usage is not None:
            usage, cost = self._price(replace(usage, calls=1, seconds=seconds), reading.service_tier)
            saw(self.request, usage.output_tokens // self.request.choices, seconds)
            learn(self.request, self.tab, reading, usage)
        gap: str | None = "cut" if reading.fault == "cut" else "no usage reported"
        if usage is not None:
            gap = "partial usage" if reading.partial else None
            if gap is None and reading.fees and cost is not None and not told:
                gap = FEES
        self._end(reading, usage, cost, seconds, Entry(
            usage or self._least(Usage(output_tokens=self.seen, seconds=seconds)),
            answered=answered,
            reasoning_usd=None if cost is None else cost.reasoning,
            priced=None if cost is None else "provider" if told else "local",
            fault=reading.fault,
            gap=gap,
            logprob=reading.logprob,
        ))  # fmt: skip

    @property
    def leased(self) -> bool:
        """Whether `lasts()` is to be asked as chunks arrive."""
        return self._cap is not None and self._hold is not None

    def lasts(self, seen: int) -> bool:
        """Whether a stream may go on, after at most so many output tokens; extends its lease."""
        cap, hold = self._cap, self._hold
        if cap is None or hold is None:
            return True
        needed = min(seen + LAG, cap)
        if needed + LEASE // 2 > hold.granted:
            hold.extend(min(needed + LEASE, cap))
        return needed <= hold.granted

    def dropped(self, reading: Reading) -> None:
        """Account for a stream whose reader has gone without closing it: its server may go on to the cap."""
        if self._cap is not None and self._hold is not None and not self._done:
            hold, self._hold = self._hold, None
            hold.settle(hold.ask.amounts(max(self._cap, hold.granted)))
        self.cut(reading)

    def cut(self, reading: Reading | None = None) -> None:
        """Account for a stream that ended before its usage came: what was seen is the least that it cost.

        So is what the provider has said by then (`Reading.partial`): Anthropic's prompt, say.
        """
        known = None if reading is None else reading.usage
        if reading is not None and known is not None and not reading.partial:
            self.finish(reading)
            return
        self.fail(Failure("cut", billed=True, retry=False), seen=self.seen, known=_sound(known))

    def fail(self, failure: Failure, *, seen: int = 0, known: Usage | None = None) -> None:
        """Account for an attempt that brought nothing, but for `seen` tokens, and what the provider said of them."""
        seconds = time.perf_counter() - self._started
        gap = failure.fault if failure.billed else None
        nothing = replace(Usage.zero(), calls=1, seconds=seconds)
        spent = replace(known or Usage(), calls=1, seconds=seconds)
        spent = self._least(replace(spent, output_tokens=max(spent.output_tokens, seen)))
        spent = spent if failure.billed else nothing
        self._end(None, None, None, seconds, Entry(
            spent, answered=False, fault=failure.fault, gap=gap
        ), failure)  # fmt: skip

    def unsent(self) -> None:
        """Nothing left the process, so nothing is owed: the adapter was cancelled while it waited to send."""
        seconds = time.perf_counter() - self._started
        entry = Entry(Usage.zero(), answered=False, fault="cancelled")
        self._end(None, None, None, seconds, entry, Failure("cancelled", billed=False, retry=False))

    def reserve(
        self, ledger: Account, adapter: Adapter, call: Call, ring: Callable[[], object], *, patient: bool
    ) -> Hold | Ticket:
        """Ask the ledger for the worst case: the prompt, and `max_tokens` for each choice."""
        request, rates = self.request, {"tokens": 1}
        prompt = adapter.bound(call)
        fixed = {"tokens": prompt}
        if Capability.MAX_TOKENS not in adapter.can:
            raise BudgetUnenforceable(
                f"a token or dollar budget needs to cap max_tokens, which {type(adapter).__name__} cannot"
            )
        if ledger.limited("usd"):
            if self._prices is None:
                raise PriceUnknown(
                    f"a dollar budget needs the price of {request.provider}/{request.model}: give it in"
                    f' ttc.configure(prices={{"{request.model}": ttc.Price(input=…, output=…)}}), or install'
                    ' "ttc-middleware[prices]"'
                )
            per_input, per_output = self._prices.rates(prompt)
            fixed["usd"], rates["usd"] = prompt * per_input, per_output
        self._rates = rates  # of one token
        rates = {resource: rate * request.choices for resource, rate in rates.items()}
        wish = request.max_tokens
        if wish is None:
            share = self._share(ledger, fixed, rates)
            wish = min(share, known_limit(request) or share)
            if self._leasable:
                self._cap, wish = wish, min(wish, LEASE)
        self._prompt = fixed
        grows = 0 if self._cap is None else min(self._cap, GROWS)
        return ledger.reserve(Ask(fixed, wish, rates, floor=FLOOR, grows=grows, patient=patient), ring)

    @property
    def _leasable(self) -> bool:
        """Whether all that it costs can be seen as it comes, and be stopped."""
        request = self.request
        passes = request.stream and request.choices == 1 and not self.whole
        return passes and request.aloud and stops_when_left(request)

    def cap(self, hold: Hold) -> int:
        """The `max_tokens` that this hold allows."""
        return hold.granted if self._cap is None else self._cap

    def show(self, call: Call) -> None:
        """Tell whoever looks on that this call is about to be sent."""
        self._told = _watch.begun(call)

    def open(self, hold: Hold | None, attempt: int, *, started: float | None = None) -> None:
        """Start the clock and the span: the call is about to be sent, under this reservation."""
        _seen()
        self._hold = hold
        if self.tab is not None:
            self.tab.pending.add(self)
        counted()
        role = "sample" if self.tab is None else self.tab.role
        index = None if self.tab is None or role == "routing" else self.tab.index
        adopt = SETTINGS.spans == "adopt"
        self._span = CallSpan(self.request, attempt, role, index, self._scope.tags, adopt=adopt)
        self._started = time.perf_counter() if started is None else started

    def _share(self, ledger: Account, fixed: dict[str, int], rates: dict[str, int]) -> int:
        """What a caller without `max_tokens` asks for: a draw's part of what is not spent.

        What others hold now is not taken off: it comes back, and a wish cut by it would stay cut.
        """
        among = max(1, self.tab.among.count if self.tab is not None and self.tab.among is not None else 1)
        shares = [
            ((ledger.unspent(resource) or 0) // among - fixed[resource]) // rate
            for resource, rate in rates.items()
            if rate and ledger.limited(resource)
        ]
        return max(FLOOR, min([*shares, UNASKED]))

    def _least(self, usage: Usage) -> Usage:
        """A usage that leaves something out, with the least that it costs where a price is known."""
        return self._price(usage)[0]

    def _price(self, usage: Usage, tier: str | None = None) -> tuple[Usage, Cost | None]:
        cost = None if self._prices is None else self._prices.cost(usage, tier)
        if usage.usd is None:
            return usage if cost is None else replace(usage, usd=cost.total), cost
        with localcontext(EXACT):
            if cost is not None and cost.total:  # the provider's own total, split as the table would
                factor = usage.usd / cost.total
                return usage, Cost(usage.usd, cost.input * factor, cost.output * factor, cost.reasoning * factor)
            # Only a total is known: the split by tokens is the best there is.
            share = usage.usd / (usage.tokens or 1)
            output = share * usage.output_tokens
            return usage, Cost(usage.usd, usage.usd - output, output, share * (usage.reasoning_tokens or 0))

    def _end(  # noqa: PLR0917  # the one way out of an attempt
        self,
        reading: Reading | None,
        usage: Usage | None,
        cost: Cost | None,
        seconds: float,
        entry: Entry,
        failure: Failure | None = None,
    ) -> None:
        if self._done:
            return
        self._done = True
        _open.pop(id(self), None)
        if self._hold is not None:
            if failure is not None and not failure.billed:
                self._hold.settle({})
            elif usage is None and entry.fault in ("server error", "malformed"):
                self._hold.settle(self._prompt)  # answered by something that generated nothing, as far as one knows
            elif usage is None or entry.gap not in (None, FEES):
                self._hold.settle(self._left())
            else:
                self._hold.settle(amounts(usage))
        if self.tab is not None:
            if SETTINGS.recorder is not None:  # which alone wants to know
                named, ended = self.request, time.monotonic()
                entry = replace(entry, model=named.model, provider=named.provider, ended=ended)
            self.tab.record(entry)
            self.tab.pending.discard(self)
        track(entry, self.tab, self._scope)
        self._tell(reading, seconds, entry)
        if self._span is not None:
            self._span.end(self.request, entry, reading=reading, usage=usage, cost=cost, seconds=seconds)

    def _left(self) -> dict[str, int] | None:
        """What a call is charged whose cost nobody told; None: its whole hold."""
        hold, cap = self._hold, self._cap
        if hold is None:
            return None
        if cap is not None and (self._slow or self._idle):
            return hold.ask.amounts(max(cap, hold.granted))
        made = made_at_most(self.request, self.shown)
        if made is None:
            return None
        made = min(made, hold.granted * self.request.choices)
        return {name: fixed + made * self._rates[name] for name, fixed in self._prompt.items()}

    def _tell(self, reading: Reading | None, seconds: float, entry: Entry) -> None:
        role, draw = (None, None) if self.tab is None else (self.tab.role, self.tab.index)
        _watch.ended(
            self._told, request=self.request, entry=entry, reading=reading, seconds=seconds, role=role, draw=draw
        )


_open: dict[int, Leaf] = {}
"""Streams that hold something, and that others may wait for."""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open.clear)


def park_open(mine: tuple[int, int] | None = None) -> None:
    """Let nobody wait for streams that nobody reads, nor, where it is given, for those of this task."""
    for leaf in list(_open.values()):
        leaf.park(mine)


def _seen() -> None:
    """Tell who watches this call that it is accounted for."""
    witness = WITNESS.get()
    if witness is not None:
        witness.seen = True


def report(entry: Entry, tab: Tab | None, scope: Scope) -> None:
    """Account for a model call that no adapter has seen, after the fact."""
    _seen()
    if scope.charged is not None:
        scope.charged.charge(amounts(entry.usage))
    if tab is not None:
        tab.record(entry)
    track(entry, tab, scope)


def track(entry: Entry, tab: Tab | None, scope: Scope) -> None:
    """Tell the trackers of a model call that no search will tell them of."""
    trackers = scope.trackers if tab is None else scope.trackers[tab.trackers :]
    if trackers:
        bill = entry_bill(entry)
        for tracker in trackers:
            tracker.add(bill)


def amounts(usage: Usage) -> dict[str, int]:
    """A usage in the integers of a ledger, rounded up."""
    usd = usage.usd
    return {"tokens": usage.tokens, "usd": 0 if usd is None else math.ceil(EXACT.multiply(usd, NANO))}


def _sound(usage: Usage | None) -> Usage | None:
    """A usage that counts; None where an adapter brings something else, which would be given back as if unspent."""
    if usage is None:
        return None
    counts: tuple[object, ...] = (usage.input_tokens, usage.output_tokens)
    whole = all(isinstance(count, int) and count >= 0 for count in counts)
    return usage if whole and (usage.usd is None or (usage.usd.is_finite() and usage.usd >= 0)) else None


def visible_bill(usage: Usage, reasoning_usd: Decimal | None = None) -> Bill:
    """The bill of what a caller reads, its thinking told apart.

    Args:
        usage: of the call.
        reasoning_usd: dollars of the thinking; None: nobody says, so its dollars are split by tokens.
    """
    thinking = usage.reasoning_tokens
    if not thinking:
        none = replace(Usage.zero(), reasoning_tokens=thinking)
        return Bill(visible=usage, reasoning=none)
    seconds = usage.seconds * thinking / (usage.output_tokens or thinking)
    dollars: Decimal | None = None
    if usage.usd is not None:
        by_tokens = share_of(usage.usd, thinking, usage.tokens)
        dollars = by_tokens if reasoning_usd is None else min(_cut_off(reasoning_usd, usage.usd), usage.usd)
    visible = replace(
        usage,
        output_tokens=usage.output_tokens - thinking,
        reasoning_tokens=0,
        usd=None if usage.usd is None or dollars is None else EXACT.subtract(usage.usd, dollars),
        seconds=usage.seconds - seconds,
    )
    return Bill(visible=visible, reasoning=Usage(0, 0, thinking, thinking, 0, dollars, seconds, 0, 0))


def share_of(usd: Decimal, done: int, total: int) -> Decimal:
    """A share of so few digits that sums of shares are exact."""
    return _cut_off(EXACT.divide(EXACT.multiply(usd, done), total), usd)


def _cut_off(part: Decimal, usd: Decimal) -> Decimal:
    exponent = usd.as_tuple().exponent
    digits, own = min(exponent if isinstance(exponent, int) else 0, -12), part.as_tuple().exponent
    return (
        part if isinstance(own, int) and own >= digits else part.quantize(Decimal((0, (1,), digits)), ROUND_DOWN, EXACT)
    )


def entry_bill(entry: Entry) -> Bill:
    """The bill of one model call outside any search."""
    gaps = {entry.gap: 1} if entry.gap else {}
    if not entry.answered:
        return Bill(discarded=entry.usage, gaps=gaps)
    return replace(visible_bill(entry.usage, entry.reasoning_usd), plain=entry.usage, gaps=gaps)
