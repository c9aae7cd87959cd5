"""Try a strategy without a model and without an event loop: `play()` one search, `check_strategy()` for hundreds.

    def test_the_highest_score_wins() -> None:
        assert play(ttc.BestOfN(3, stop="all"), [0.1, 0.9, 0.3]).index == 1

    def test_mine_is_a_strategy() -> None:
        check_strategy(MyStrategy(n=8))

What is played is exactly what the engine promises a strategy, and what a strategy promises the engine is checked on the
way; every play is deterministic. Nothing here is used at run time.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from typing import Any, Optional, TypeAlias, Union, cast

from . import _strategy
from ._search import NoSamples
from ._types import Call, Cancel, Capability, Draw, Sample, Status, Strategy, Trust, Verdict

__all__ = ["ContractBroken", "Outcome", "Played", "check_strategy", "play"]

_PATIENCE = 1_000  # as the engine's: how often a strategy may ask on after it was told that no more will come
_ENDLESS = 100_000  # draws after which a search that nothing limits counts as endless


class ContractBroken(AssertionError):
    """Raised when a strategy does what no strategy may; the message says what, and how to play it again."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one draw ends.

    Args:
        output: what it brings; a text is also what verifiers and votes read. None: a text of its own for each draw.
        score: what a verifier gives it, from 0 to 1; None: there is no verifier.
        accepted: what the verifier says of it; None: accepted at a score of 1.
        feedback: what the verifier finds wrong.
        status: only answers vote, and a failed sample has no output and no verdict.
        verifier_failed: the verifier broke on it.
        ended: the model ended by itself, which makes an answer of a step; None: nobody says.
        first_bad: where the verifier says that its first wrong step begins, in characters.
        trust: of the verdict.

    Raises:
        ValueError: the score is outside 0 to 1.
    """

    output: Any = None
    score: float | None = None
    accepted: bool | None = None
    feedback: str | None = None
    status: Status = "answer"
    verifier_failed: bool = False
    ended: bool | None = None
    first_bad: int | None = None
    trust: Trust = "strong"

    def __repr__(self) -> str:
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        said = (f"{each.name}={given[each.name]!r}" for each in fields(self) if given[each.name] is not each.default)
        return f"Outcome({', '.join(said)})"

    def __post_init__(self) -> None:
        if self.score is not None and not 0 <= self.score <= 1:
            raise ValueError(f"Outcome(score=) must be from 0 to 1, or None; got {self.score!r}")

    @property
    def verdict(self) -> Verdict | None:
        """What the sample carries."""
        if self.status == "failed":
            return None
        if self.verifier_failed:
            return Verdict(0.0, feedback="the verifier broke", accepted=False, failed=True)
        if self.score is None and self.accepted is None:
            return None
        accepted = self.score == 1 if self.accepted is None else self.accepted
        score = float(accepted) if self.score is None else self.score
        return Verdict(score, self.feedback, accepted, trust=self.trust, first_bad=self.first_bad)


Ending: TypeAlias = Union[Outcome, float, bool, str]
"""How a draw ends, in short: a bool is a verdict, a number a score, a text an output that nobody judges."""


@dataclass(frozen=True, eq=False)
class Played:
    """How a search went."""

    winner: Sample[Any] | None
    """None: there was nothing to choose from."""
    samples: tuple[Sample[Any], ...]
    """What the strategy was sent, in that order."""
    draws: tuple[Draw, ...]
    """What was started, in launch order."""
    refused: int
    """Draws that it asked for and that no budget was left for."""
    cancelled: tuple[int, ...]
    """Draws that were still under way when it cancelled them, or when it ended."""

    @property
    def index(self) -> int | None:
        """The winner's launch order."""
        return None if self.winner is None else self.winner.index


def play(
    strategy: Strategy,
    outcomes: Iterable[Ending] | Callable[[int, Draw], Ending],
    *,
    arrival: Sequence[int] = (),
    ends_after: int | None = None,
    call: Call | None = None,
) -> Played:
    """Play one search to its end.

    Args:
        strategy: what is tried.
        outcomes: how draw 0, 1, … ends. When they run out the budget has: no further draw starts, those under way still
            arrive, and then there is only None. Or a function of the launch order and the draw, without that limit.
        arrival: launch orders, first to finish first; draws that are not in it arrive after those, as launched.
        ends_after: samples that arrive before the time is up: what is under way is dropped, and there is only None.
        call: the call that is searched.

    Raises:
        ContractBroken: the strategy draws from a sample that it was not sent, returns one, or never ends.
    """
    _strategy.check_strategy(strategy)
    game = _Game(strategy, outcomes, arrival, ends_after)
    steps = strategy.search(call or Call(name="play:call"))
    if not isinstance(cast("object", steps), Generator):
        raise ContractBroken(f"search() must be a generator, got {steps!r}")
    winner: object = None
    try:
        step = next(steps)
        while True:
            game.take(step)
            step = steps.send(game.next())
    except StopIteration as end:
        winner = end.value
        if winner not in game.sent:
            raise ContractBroken(f"returns {winner!r:.200}, which is none of the samples it was sent") from None
    except NoSamples:
        answers = [sample for sample in game.sent if sample.whole]
        if answers:
            raise ContractBroken(f"finds no sample among the {len(answers)} that it was sent") from None
    finally:
        steps.close()
    found = cast("Sample[Any] | None", winner)
    dropped = (*game.cancelled, *sorted(game.under_way))
    return Played(found, tuple(game.sent), tuple(game.draws), game.refused, dropped)


@dataclass
class _Game:
    """The engine's side of a search, without an engine."""

    strategy: Strategy
    outcomes: Iterable[Ending] | Callable[[int, Draw], Ending]
    arrival: Sequence[int]
    ends_after: int | None
    under_way: dict[int, Sample[Any]] = field(default_factory=dict[int, Sample[Any]])
    sent: list[Sample[Any]] = field(default_factory=list[Sample[Any]])
    draws: list[Draw] = field(default_factory=list[Draw])
    cancelled: list[int] = field(default_factory=list[int])
    refused: int = 0
    nones: int = 0

    def __post_init__(self) -> None:
        self.endings = None if callable(self.outcomes) else iter(self.outcomes)
        self.rank = {index: place for place, index in enumerate(self.arrival)}

    @property
    def late(self) -> bool:
        return self.ends_after is not None and len(self.sent) >= self.ends_after

    def take(self, step: object) -> None:
        """Start and cancel what the strategy asks for."""
        if not isinstance(step, Sequence):
            raise ContractBroken(f"must yield a sequence of draws, got {step!r:.200}")
        for item in cast("Sequence[object]", step):
            if isinstance(item, Cancel):
                if item.index not in range(len(self.draws) + self.refused):
                    raise ContractBroken(f"cancels draw {item.index}, which was never started")
                if self.under_way.pop(item.index, None) is not None:
                    self.cancelled.append(item.index)
            elif isinstance(item, Draw):
                self._start(item)
            else:
                raise ContractBroken(f"must yield draws and cancellations, got {item!r:.200}")

    def _start(self, draw: Draw) -> None:
        if draw.parent is not None and draw.parent not in self.sent:
            raise ContractBroken("draws from a sample that it was not sent")
        unstated = _asked(draw) - _strategy.needs(self.strategy)
        if unstated:
            raise ContractBroken(f"asks for {', '.join(sorted(unstated))}, which its `needs` does not state")
        if self.late or self.refused:
            self.refused += 1
            return
        index = len(self.draws)
        if index >= _ENDLESS:
            raise ContractBroken(f"does not end: it has started {index:,} draws")
        if self.endings is None:
            ending = cast("Callable[[int, Draw], Ending]", self.outcomes)(index, draw)
        else:
            left = list(islice(self.endings, 1))
            if not left:
                self.refused += 1
                return
            ending = left[0]
        self.draws.append(draw)
        self.under_way[index] = _sample(index, draw, ending)

    def next(self) -> Sample[Any] | None:
        """The next sample to arrive."""
        if self.late or not self.under_way:
            self.nones += 1
            if self.nones > _PATIENCE:
                raise ContractBroken("goes on asking after it was told that no more samples come")
            return None
        first = min(self.under_way, key=lambda index: (self.rank.get(index, len(self.rank)), index))
        self.sent.append(self.under_way.pop(first))
        return self.sent[-1]


# Temperature and seed are wishes: whoever cannot vary them is left alone.
_WISHES = ("model", "thinking", "instruction", "extend", "stop", "max_tokens")


def _asked(draw: Draw) -> set[Capability]:
    return {Capability(name) for name in _WISHES if getattr(draw, name) is not None}


def _sample(index: int, draw: Draw, ending: Ending) -> Sample[Any]:
    if isinstance(ending, bool):
        ending = Outcome(accepted=ending)
    elif isinstance(ending, (int, float)):
        ending = Outcome(score=ending)
    elif isinstance(ending, str):
        ending = Outcome(output=ending)
    failed = ending.status == "failed"
    output = None if failed else f"answer {index}" if ending.output is None else ending.output
    sample: Sample[Any] = Sample(
        index=index,
        draw=draw,
        call=Call(name="play:call"),
        output=output,
        text=output if isinstance(output, str) else None,
        status=ending.status,
        fault="error" if failed else None,
        error=RuntimeError(f"draw {index} failed") if failed else None,
        ended=ending.ended,
    )
    unjudged = draw.kind in ("draft", "routing") or (draw.judge is False and not sample.whole)
    return sample if unjudged else replace(sample, verdict=ending.verdict)


def check_strategy(
    strategy: Strategy, *, same_for_any_order: Callable[[Sample[Any]], object] | None = None, examples: int = 100
) -> None:
    """Check what every strategy promises, over many random searches; for a test of your own strategy.

    It ends, whatever arrives in whatever order and wherever the budget or the time runs out; it returns one of the
    samples that it was sent, if it was sent any, and a failed one only if all failed; it draws from no sample that it
    has not seen; it asks for nothing that its `needs` does not state; the same samples in the same order give the same
    winner, so it keeps nothing between searches.

    Args:
        strategy: what is checked.
        same_for_any_order: for a strategy that claims not to depend on the order in which samples arrive: what stays
            the same of the winner, such as `lambda sample: sample.index`.
        examples: searches, the same each time. Hypothesis chooses and shrinks them where it is installed, else chance.

    Raises:
        ContractBroken: a promise was broken; the message has the `play()` that shows it.
    """
    before = repr(strategy)
    if " at 0x" in before:
        raise ContractBroken(f"repr() must say how it searches, since spans carry it; got {before}")

    def check(scenario: _Scenario) -> None:
        drawn, ends_after = scenario
        outcomes = [outcome for outcome, _ in drawn]
        arrival = sorted(range(len(drawn)), key=lambda index: drawn[index][1])
        try:
            _keeps_promises(strategy, outcomes, arrival, ends_after, same_for_any_order)
        except Exception as error:
            said = str(error) if isinstance(error, ContractBroken) else f"raises {error!r}"
            shown = f"play({strategy!r}, {outcomes!r}, arrival={arrival!r}, ends_after={ends_after!r})"
            raise ContractBroken(f"{said}; to see it:\n  {shown}") from error
        if repr(strategy) != before:
            raise ContractBroken(f"changes while it searches: {before} became {strategy!r}")

    if importlib.util.find_spec("hypothesis") is None:
        for seed in range(examples):
            check(_random_scenario(random.Random(seed)))  # noqa: S311  # repeatable examples
        return
    from hypothesis import given, settings  # noqa: PLC0415  # a test dependency
    from hypothesis import strategies as st  # noqa: PLC0415  # as above

    delays = st.integers(0, _MOST)
    draws = st.one_of(*(st.lists(st.tuples(st.sampled_from(all_), delays), max_size=_MOST) for all_ in _OUTCOMES))
    scenarios = st.tuples(draws, st.one_of(st.none(), delays))
    settings(max_examples=examples, derandomize=True, deadline=None, database=None)(given(scenarios)(check))()


_Scenario: TypeAlias = tuple[list[tuple[Outcome, int]], Optional[int]]
"""How each draw ends and after how long, and how many arrive before the time is up."""

_MOST = 15  # draws: enough for any step of a strategy, few enough to read
_NOT_ANSWERS: tuple[Status, ...] = ("abstained", "truncated", "failed")
_OUTCOMES = (
    [*(Outcome(output=text) for text in "abc"), *(Outcome(output="a", status=status) for status in _NOT_ANSWERS)],
    [
        *(Outcome(output=text, score=score) for text in "abc" for score in (0.0, 0.5, 1.0)),
        Outcome(output="a", score=0.5, feedback="wrong"),
        *(Outcome(output=text, score=score, ended=True) for text in "ab" for score in (0.5, 1.0)),
        *(Outcome(output=text, verifier_failed=True) for text in "ab"),
        *(Outcome(output="a", score=0.5, status=status, accepted=False) for status in _NOT_ANSWERS),
        *(Outcome(output="ab", score=0.5, first_bad=place) for place in (0, 1)),
    ],
)
"""Without a verifier, and with one."""


def _random_scenario(chance: random.Random) -> _Scenario:
    outcomes = chance.choice(_OUTCOMES)
    drawn = [(chance.choice(outcomes), chance.randrange(_MOST)) for _ in range(chance.randrange(_MOST + 1))]
    return drawn, chance.choice([None, chance.randrange(_MOST)])


def _keeps_promises(
    strategy: Strategy,
    outcomes: Sequence[Outcome],
    arrival: Sequence[int],
    ends_after: int | None,
    same_for_any_order: Callable[[Sample[Any]], object] | None,
) -> None:
    played = play(strategy, outcomes, arrival=arrival, ends_after=ends_after)
    again = play(strategy, outcomes, arrival=arrival, ends_after=ends_after)
    if (again.index, len(again.draws)) != (played.index, len(played.draws)):
        raise ContractBroken(f"chose {played.index}, then {again.index}, from the same samples in the same order")
    failed = [sample.status == "failed" for sample in played.samples if sample.whole]
    if played.winner is not None and played.winner.status == "failed" and not all(failed):
        raise ContractBroken("lets a failed sample win over one that did not fail")
    if same_for_any_order is None:
        return
    first, other = (play(strategy, outcomes, arrival=order).winner for order in ((), arrival))
    if first is not None and other is not None and same_for_any_order(first) != same_for_any_order(other):
        raise ContractBroken(f"depends on the order of arrival: draw {first.index} or draw {other.index} wins")
