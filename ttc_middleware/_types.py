"""The nouns of test-time compute, all frozen, and the protocols between them.

A *call* of a wrapped function becomes a *search*; a search launches *draws*, each ending in a *sample*; inside a
draw happen any number of *model calls*, the only things that cost money. A *strategy* is a plain generator that
decides what to draw next and which sample wins:

    yield the draws to start or to cancel  ->  be sent the next sample to finish, or None once no more will come
    return the winner
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Literal, Optional, Protocol, TypeAlias, TypeVar, Union

from ._brief import Brief, short
from ._usage import ZERO, Bill, Certainty, Usage, certainty
from .thinking._amount import Thinking, ThinkingLike, thinking_of

if TYPE_CHECKING:
    from ._tree import Tree

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Status = Literal["answer", "abstained", "truncated", "failed"]
"""What became of a draw. Only answers vote; all four are billed."""

Fault = Literal[
    "rate limited", "server error", "connection", "timeout", "rejected", "malformed", "empty", "refused", "filtered",
    "cut", "cancelled", "budget", "error",
]  # fmt: skip
"""Why a sample is not an answer, as a closed set: the first seven words name faults of the service, "refused" and
"filtered" the model's or the provider's own no, "cut" a stream that ended early, "error" the wrapped function's own
exception."""

Kind = Literal["answer", "step", "draft", "routing"]
"""What a draw is for.

- "answer": judged by the call site's verifier; can win.
- "step": a part of an answer that a later draw goes on with. What there is so far is scored by `Draw.judge`, or by the
  call site's verifier; where the answer ends with it, it is an answer like any other.
- "draft": a part that nobody judges, such as thinking; never an answer.
- "routing": a question about how to search; never an answer, not counted in `Budget(samples=)`, *routing* on the bill.
"""

StopReason = Literal["accepted", "decided", "budget", "deadline", "passed through"]
"""Why a search ended: its winner was accepted; the strategy had what it wanted; a limit ran out; nothing was scaled."""

Trust = Literal["strong", "weak"]


class Capability(str, Enum):
    """What a call site can be asked for; a strategy's `needs` is checked against an adapter's `can` at decoration."""

    TEMPERATURE = "temperature"
    SEED = "seed"
    MODEL = "model"
    THINKING = "thinking"
    INSTRUCTION = "instruction"
    MAX_TOKENS = "max_tokens"
    STOP = "stop"
    EXTEND = "extend"
    """Continue a partial assistant turn; most chat APIs restart instead."""
    CHOICES = "choices"
    """Several completions of one request (`n`)."""


@dataclass(frozen=True)
class Verdict:
    """What a verifier says of one output."""

    score: float
    """0 (wrong) to 1 (right)."""
    feedback: str | None = None
    """What is wrong, in words that a model can act on."""
    accepted: bool | None = None
    """None from a verifier: decided by `scale(accept=)`. Always a bool on a sample."""
    failed: bool = False
    """The verifier broke: says nothing about the output, and is never counted as a rejection."""
    usage: Usage | None = None
    """The verifier's own cost, where it called a model that nobody else observes."""
    trust: Trust = "strong"
    """"weak": the checks ran where the output could have tampered with them."""
    sandbox: str | None = None
    """Where code of the output ran: "bubblewrap", say; None where none did."""
    first_bad: int | None = None
    """Where the first wrong step begins: the characters of the output's text before it, from 0. None: nobody says.

    With strong trust it is a proof: searches over steps do not go on with such a text.
    """


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a wrapped function."""

    name: str
    """"module:qualname" of the function, or the name that was given."""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The call's arguments by parameter name, defaults filled in; for a client, the request's keywords."""
    seconds: float | None = None
    """What a deadline leaves it, from the start of the search; None: there is none."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Draw(Brief):
    """What one sample asks of the call site. Everything is optional: `Draw()` is the unchanged call."""

    parent: Sample[Any] | None = None
    """The sample that this one revises or continues."""
    instruction: str | None = None
    """Said to the model as a user message after the call's own."""
    extend: str | None = None
    """A partial answer to continue, where the backend can; the sample is the whole answer, this part included."""
    kind: Kind = "answer"
    ends: Callable[[str], bool] | None = None
    """Whether a text is a whole answer: for a step, where the server does not say that the model has ended."""
    judge: Any = None
    """A verifier in place of the call site's own; for a step, of what there is so far. None: the call site's.
    False: nobody, but for a whole answer that a step has come to."""
    run: Callable[[], Any] | None = None
    """Run in place of the call, for a question that no model answers: a plain or an async function, of kind "routing".
    What it returns is the sample's output; model calls inside are *routing* on the bill."""
    model: str | None = None
    temperature: float | None = None
    seed: int | None = None
    thinking: ThinkingLike | None = None
    """A `Thinking`; shorthands become one here."""
    max_tokens: int | None = None
    stop: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.run is not None and self.kind != "routing":
            raise ValueError(f'Draw(run=) is for kind="routing", got kind={self.kind!r}')
        if self.thinking is not None:
            object.__setattr__(self, "thinking", thinking_of(self.thinking))

    @property
    def thinks(self) -> Thinking | None:
        """How much this asks a model to think; None: nothing."""
        return thinking_of(self.thinking)


@dataclass(frozen=True)
class Cancel:
    """Yielded by a strategy to drop a draw that is still under way; it counts as discarded."""

    index: int
    """The launch order of the draw, from 0."""


@dataclass(frozen=True)
class ToolCall:
    """A tool call that a model asked for."""

    name: str
    arguments: str
    """JSON, as the model wrote it."""


@dataclass(frozen=True, kw_only=True, eq=False)  # outputs can be arrays, whose == is no bool
class Sample(Generic[T]):
    """How one draw ended."""

    index: int
    """Launch order, from 0: ties go to the lowest."""
    draw: Draw
    call: Call
    """The call as the caller made it; what this sample asked beside it is in `draw`."""
    output: T
    """What the caller would get; None in a failed sample."""
    text: str | None = None
    """The output as text, for verifiers that judge text; None where it is not text."""
    tool_calls: tuple[ToolCall, ...] = ()
    status: Status = "answer"
    ended: bool | None = None
    """Whether the model ended by itself, and not at a stop word or a limit; None where nobody says."""
    logprob: float | None = None
    """The mean log-probability of the answer's tokens, natural logarithm, where the call asks for `logprobs` and the
    provider sends them; of a function, of its last model call that was answered."""
    fault: Fault | None = None
    error: Exception | None = None
    """What a failed draw raised."""
    verdict: Verdict | None = None
    """None where there is no verifier, or nothing to verify."""
    usage: Usage = ZERO
    """The sample's own model calls, retries included, the verifier's not."""
    apportioned: bool = False
    """The usage is this sample's share of one request that served several; their sum is exact."""
    gaps: Mapping[str, int] = field(default_factory=dict[str, int])
    """What nobody reported of its model calls, as in `Bill.gaps`."""
    after: float = 0.0
    """Seconds on the clock from the start of the search until it was there, its verification included."""

    @property
    def billed(self) -> Certainty:
        """Whether the usage is exact, at least that much, or anybody's guess; `gaps` has the reasons."""
        return certainty(self.gaps, self.usage)

    @property
    def whole(self) -> bool:
        """Whether it is an answer, or would be had it not failed: no unfinished step, no draft, no routing."""
        if self.draw.kind == "step":
            return self.ended is True and self.status != "failed"
        return self.draw.kind == "answer"

    @property
    def accepted(self) -> bool:
        """Whether the verifier accepted it, as a whole answer."""
        return self.whole and self.verdict is not None and bool(self.verdict.accepted)

    @property
    def score(self) -> float | None:
        """The verifier's score; None where there is none, or where the verifier broke."""
        return None if self.verdict is None or self.verdict.failed else self.verdict.score


@dataclass(frozen=True, kw_only=True, eq=False)
class Result(Generic[T]):
    """The whole story of one call."""

    output: T
    """What the plain call would have returned."""
    accepted: bool
    """Whether the verifier accepted the output; False where there is no verifier."""
    bill: Bill
    samples: tuple[Sample[Any], ...]
    """Every sample that finished, in launch order, losers and failures included."""
    winner: Sample[T] | None
    stop_reason: StopReason
    name: str = ""
    strategy: str = ""
    seconds: float = 0.0
    """From the call to the answer, on the clock."""

    @property
    def tree(self) -> Tree:
        """The samples by what they were drawn from: prints, draws, and exports rows."""
        from ._tree import tree_of  # noqa: PLC0415  # it is made of the types here

        return tree_of(self)

    def to_dict(self) -> dict[str, Any]:
        """JSON types and no content: outputs, prompts and feedback stay out."""
        return {
            "name": self.name,
            "strategy": self.strategy,
            "accepted": self.accepted,
            "stop_reason": self.stop_reason,
            "seconds": self.seconds,
            "winner": None if self.winner is None else self.winner.index,
            "samples": [
                {
                    "index": sample.index,
                    "kind": sample.draw.kind,
                    "parent": None if sample.draw.parent is None else sample.draw.parent.index,
                    "status": sample.status,
                    "fault": sample.fault,
                    "score": sample.score,
                    "accepted": sample.accepted,
                    "usage": sample.usage.to_dict() if sample.billed != "unknown" else None,
                    "billed": sample.billed,
                }
                for sample in self.samples
            ],
            "bill": self.bill.to_dict(),
        }

    def __str__(self) -> str:
        judged = any(sample.verdict is not None for sample in self.samples)
        verdict = "accepted" if self.accepted else "not accepted" if judged else "not verified"
        count = f"{len(self.samples)} sample" + ("" if len(self.samples) == 1 else "s")
        head = f"{self.name}: {verdict} after {count} in {self.seconds:.1f} s ({self.strategy}; {self.stop_reason})"
        lines = [head, f"  bill: {self.bill}"]
        for sample in self.samples:
            won = "*" if self.winner is not None and sample.index == self.winner.index else " "
            score = "" if sample.score is None else f" score {sample.score:.2f}"
            why = "" if sample.fault is None else f" ({sample.fault})"
            said = (
                "" if sample.verdict is None or not sample.verdict.feedback else f": {short(sample.verdict.feedback)}"
            )
            tokens = f", {sample.usage.tokens:,} tokens" if sample.usage.tokens else ""
            lines.append(f" {won}{sample.index:>3} {sample.status}{why}{score}{tokens}{said}")
        return "\n".join(lines)


Search: TypeAlias = Generator[Sequence[Union[Draw, Cancel]], Optional[Sample[T]], Sample[T]]
"""Yield the draws to start or to cancel; be sent the next sample, or None once no more will come; return the winner."""


class Strategy(Protocol):
    """How to search. Any frozen object with this method will do.

    Five optional class or instance attributes say more: `needs_verifier` (bool), `needs` (the capabilities that a draw
    of it asks for), `wants_all` (bool: it waits for every draw of a step, so equal ones may share a request), and, to
    be checked against the function at decoration, `judges` (the verifiers that its draws name) and `parameters` (names
    of arguments that it cannot do without). `in_turn` is how many draws follow one another in its longest chain (1
    where it does not say), and a method `suited(can)` gives the strategy to use where a call site can do only so much.
    """

    def search(self, call: Call, /) -> Search[Any]:
        """Start a search: a generator that yields draws, is sent samples, and returns the winner."""
        ...


Said: TypeAlias = Union[bool, float, Verdict]
"""What a verifier may say: whether the output is right, a score from 0 to 1, or all of it."""


class VerifierFunction(Protocol):
    """A verifier that is a function; after the output, it gets any arguments of the call that it names."""

    def __call__(self, output: Any, /, *args: Any, **arguments: Any) -> Said | Awaitable[Said]:
        """Judge an output."""
        ...


class VerifierObject(Protocol):
    """A verifier that is an object, like those of `ttc.verifiers`."""

    def check(self, output: Any, *, arguments: Mapping[str, Any]) -> Said | Awaitable[Said]:
        """Judge an output: its text where it has one, else the value."""
        ...


Verifier: TypeAlias = Union[VerifierFunction, VerifierObject]
"""A function of the output and, by name, of any arguments of the call; or an object with `check()`."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a model call asks for, in words that all providers share: what budget, span and steering need."""

    provider: str
    """As in `gen_ai.provider.name`."""
    model: str
    max_tokens: int | None = None
    choices: int = 1
    temperature: float | None = None
    seed: int | None = None
    stream: bool = False
    tool_results: bool = False
    """The prompt reports on tools that have run."""
    server: str | None = None
    """The host that is asked."""
    remembered: bool = False
    """The server adds the answer to something that it keeps, such as a conversation: every further sample would leave
    a turn in there."""
    port: int | None = None
    messages: Sequence[Any] = field(default=(), repr=False, compare=False)
    """The conversation as the caller gave it; it leaves the process only where content capture is asked for."""
    instructions: str | None = field(default=None, repr=False, compare=False)
    """The system prompt, where it is no message."""
    thinks: bool = False
    """It asks the model to think: the answer may take long to begin."""
    effort: str | None = None
    """How hard the model is asked to think, where that is said in a word."""
    aloud: bool = False
    """Every token of the answer shows on a stream: the model is known not to think, and to answer in text."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What an output says, as an adapter reads it."""

    text: str | None = None
    """None where the output is not text."""
    tool_calls: tuple[ToolCall, ...] = ()
    status: Status = "answer"
    fault: Fault | None = None
    usage: Usage | None = None
    """None: the provider reported none."""
    ended: bool | None = None
    """Whether the model ended by itself, and not at a stop word or a limit; None where that is not known."""
    stop_word: str | None = None
    """The stop word that it ended at; None where there was none, or nobody says."""
    logprob: float | None = None
    """The mean log-probability of the answer's tokens, natural logarithm; None where the response has none."""
    partial: bool = False
    """The usage leaves something out: it is the least that the call cost."""
    model: str | None = None
    """The model that answered."""
    id: str | None = None
    finish_reasons: tuple[str, ...] = ()
    service_tier: str | None = None
    """What the call was served as, where that has a price of its own: "batch", "flex", "priority" or "fast"."""
    fees: bool = False
    """Something is charged that is no token, each web search say: dollars reckoned from tokens leave it out."""


class Adapter(Protocol):
    """What the engine must know of one kind of call site: pure functions, no I/O.

    One that goes on with partial answers may have a method `cut(output)`: the same output, saying that it is not whole.
    """

    @property
    def can(self) -> frozenset[Capability]:
        """What draws may ask for."""
        ...

    @property
    def slots(self) -> int | None:
        """Draws that the backend serves at once; None: as many as one likes."""
        ...

    def apply(self, call: Call, draw: Draw, /) -> Call:
        """The call with the draw's changes."""
        ...

    def merge(self, call: Call, n: int, /) -> Call:
        """One call that asks for `n` completions (only with `Capability.CHOICES`)."""
        ...

    def split(self, output: Any, /) -> Sequence[Any]:
        """The outputs that a merged call holds, each as a call of its own would have returned it."""
        ...

    def describe(self, call: Call, /) -> Request | None:
        """What the call asks of a model; None where it is no model call."""
        ...

    def bound(self, call: Call, /) -> int:
        """Tokens that the prompt will never exceed: what a budget holds for it."""
        ...

    def read(self, output: Any, /) -> Reading:
        """What the output says."""
        ...
