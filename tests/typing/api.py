"""What callers may rely on: never run, checked by mypy and pyright in strict mode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, Optional, TypeVar, Union

from openai import AsyncOpenAI, OpenAI
from openai.lib.azure import AsyncAzureOpenAI
from openai.types.chat import ChatCompletion
from pydantic import BaseModel
from typing_extensions import assert_type

import ttc_middleware as ttc
import ttc_openai
from ttc_middleware.verifiers.schema import Schema
from ttc_middleware.verifiers.unit_tests import UnitTests

N = TypeVar("N", int, float)
V = TypeVar("V")


class Invoice(BaseModel):
    id: str
    total: float


def has_id(invoice: Invoice, text: str) -> bool:
    return invoice.id in text


# Functions keep their signatures.


@ttc.scale(ttc.BestOfN(4), verifier=has_id, budget=ttc.Budget(usd="0.05", seconds=30))
async def extract(text: str, *, strict: bool = False) -> Invoice:
    """An async function."""
    raise NotImplementedError


@ttc.scale(ttc.SelfConsistency(8, by=str.casefold))
def answer(question: str, hint: str | None = None) -> str:
    """A function."""
    raise NotImplementedError


@ttc.verifiable(has_id)
async def read(text: str) -> Invoice:
    """A function whose answers are worth nothing extra until a policy says so."""
    raise NotImplementedError


@ttc.scale(ttc.Single())
def many(*texts: str, **options: int) -> list[str]:
    """A function that takes anything."""
    raise NotImplementedError


@ttc.scale(ttc.Single())
def nothing() -> None:
    """A function that returns nothing."""


async def functions() -> None:
    assert_type(await extract("mail"), Invoice)
    assert_type(await extract("mail", strict=True), Invoice)
    assert_type(await extract.run("mail", strict=True), ttc.Result[Invoice])
    waiting: Coroutine[Any, Any, Invoice] = extract("mail")
    assert_type(await waiting, Invoice)
    assert_type(answer("why?", hint="because"), str)
    assert_type(answer.run("why?"), ttc.Result[str])
    assert_type(await read("mail"), Invoice)
    assert_type(await read.run("mail"), ttc.Result[Invoice])
    assert_type(many("a", "b", c=1), list[str])
    assert_type(many.run().output, list[str])
    assert_type(nothing.run(), ttc.Result[None])


# Generic ones stay generic.


@ttc.scale(ttc.Single())
def first(items: Sequence[V]) -> V:
    """A generic function."""
    raise NotImplementedError


@ttc.scale(ttc.Single())
async def double(number: N) -> N:
    """An async one, of a limited type."""
    raise NotImplementedError


async def generics() -> None:
    assert_type(first([1, 2]), int)
    words: list[str] = []
    assert_type(first(words), str)
    assert_type(first.run(["a"]), ttc.Result[str])
    assert_type(await double(2), int)
    assert_type(await double(0.5), float)
    assert_type(await double.run(2), ttc.Result[int])


# Methods bind, with run().


class Clerk:
    """A class with methods of every kind."""

    name = "clerk"

    @ttc.scale(ttc.Single())
    def ask(self, question: str, times: int = 1) -> str:
        """A method."""
        raise NotImplementedError

    @ttc.scale(ttc.Single())
    async def fetch(self, question: str, times: int = 1) -> Invoice:
        """An async method."""
        raise NotImplementedError

    @classmethod
    @ttc.scale(ttc.Single())
    def make(cls, name: str) -> int:
        """A class method."""
        raise NotImplementedError

    @staticmethod
    @ttc.scale(ttc.Single())
    def add(one: int, other: int) -> int:
        """A static method."""
        raise NotImplementedError

    @staticmethod
    @ttc.scale(ttc.Single())
    async def wait(seconds: float) -> bool:
        """An async static method."""
        raise NotImplementedError


async def methods(clerk: Clerk) -> None:
    assert_type(clerk.ask("why?", times=2), str)
    assert_type(clerk.ask.run("why?"), ttc.Result[str])
    assert_type(await clerk.fetch("why?"), Invoice)
    assert_type(await clerk.fetch.run("why?", 2), ttc.Result[Invoice])
    assert_type(Clerk.ask(clerk, "why?"), str)
    assert_type(Clerk.ask.run(clerk, "why?", times=2), ttc.Result[str])
    assert_type(await Clerk.fetch(clerk, "why?"), Invoice)
    assert_type(Clerk.make("a"), int)
    assert_type(clerk.make("a"), int)
    assert_type(Clerk.make.run("a"), ttc.Result[int])
    assert_type(Clerk.add(1, 2), int)
    assert_type(clerk.add(1, other=2), int)
    assert_type(Clerk.add.run(1, 2), ttc.Result[int])
    assert_type(await Clerk.wait(1.5), bool)
    assert_type(await clerk.wait.run(1.5), ttc.Result[bool])


class Box(Generic[V]):
    """A generic class."""

    def __init__(self, content: V) -> None:
        self.content = content

    @ttc.scale(ttc.Single())
    def get(self) -> V:
        """A method that returns the class's own type."""
        raise NotImplementedError

    @ttc.scale(ttc.Single())
    async def swap(self, other: V) -> tuple[V, V]:
        """An async method of it."""
        raise NotImplementedError


async def boxes(box: Box[int]) -> None:
    assert_type(box.get(), int)
    assert_type(box.get.run(), ttc.Result[int])
    assert_type(await box.swap(2), tuple[int, int])
    assert_type((await box.swap.run(2)).output, tuple[int, int])


# A generic function whose type is bound stays so too.

M = TypeVar("M", bound=BaseModel)


@ttc.scale(ttc.Single())
def parse(kind: type[M], text: str) -> M:
    """A function that makes what it is asked for."""
    raise NotImplementedError


@ttc.scale(ttc.Single())
async def parse_later(kind: type[M], text: str) -> M:
    """The same, async."""
    raise NotImplementedError


async def parsers() -> None:
    assert_type(parse(Invoice, "mail"), Invoice)
    assert_type(parse.run(Invoice, "mail"), ttc.Result[Invoice])
    assert_type(await parse_later(Invoice, "mail"), Invoice)
    assert_type(await parse_later.run(Invoice, "mail"), ttc.Result[Invoice])


# What returns anything is called as before.


@ttc.scale(ttc.Single())
def anything(text: str) -> Any:
    """A function that does not say."""
    raise NotImplementedError


def untyped() -> None:
    assert_type(anything("mail"), Any)
    anything("mail")["total"]


# A scaled function is the callable that it was.


def twice(fn: Callable[[str], Awaitable[Invoice]]) -> None:
    """Takes an async function."""


class Chief(Clerk):
    """A subclass."""

    async def fetch_twice(self) -> Invoice:
        """Calls its parent's method."""
        await super().fetch("why?")
        return await self.fetch("why?", times=2)


def passed_on(clerk: Clerk) -> None:
    twice(read)
    twice(clerk.fetch)
    plain: Callable[[str], str] = answer
    assert_type(plain("why?"), str)
    assert_type(answer.__name__, str)


# Results.


def results(result: ttc.Result[Invoice]) -> None:
    assert_type(result.output, Invoice)
    assert_type(result.accepted, bool)
    assert_type(result.bill.total.usd, Optional[Decimal])
    assert_type(result.bill.total.reasoning_tokens, Optional[int])
    assert_type(result.bill.multiplier, Optional[float])
    assert_type(result.winner, Optional[ttc.Sample[Invoice]])
    assert_type(result.samples, tuple[ttc.Sample[Any], ...])
    assert_type(result.to_dict(), dict[str, Any])
    assert_type(ttc.result_of(ValueError()), Optional[ttc.Result[Any]])


# Verifiers: functions of all kinds, and objects.


def by_bool(output: str) -> bool:
    return bool(output)


def by_score(output: str, question: str) -> float:
    return len(output) / len(question)


def by_verdict(sample: ttc.Sample[str], **arguments: Any) -> ttc.Verdict:
    return ttc.Verdict(1.0, feedback=str(arguments), accepted=sample.text is not None)


async def later(output: str) -> bool:
    return bool(output)


def tests_of(question: str) -> list[tuple[tuple[str], int]]:
    return [((question,), 2)]


class Judge:
    """Any object with this method is a verifier."""

    async def check(self, output: object, *, arguments: Mapping[str, Any] | None = None) -> ttc.Verdict:
        """Judge an output."""
        return ttc.Verdict(float(output is not arguments))


def verifiers() -> None:
    ttc.scale(ttc.BestOfN(2), verifier=by_bool)
    ttc.scale(ttc.BestOfN(2), verifier=by_score, accept=0.9)
    ttc.scale(ttc.BestOfN(2), verifier=by_verdict)
    ttc.scale(ttc.BestOfN(2), verifier=later)
    ttc.scale(ttc.BestOfN(2), verifier=lambda output: output != "no")
    ttc.scale(ttc.BestOfN(2), verifier=Judge())
    ttc.scale(ttc.BestOfN(2), verifier=Schema(Invoice, strict=True))
    ttc.scale(ttc.BestOfN(2), verifier=Schema({"type": "object"}))
    ttc.scale(ttc.BestOfN(2), verifier=UnitTests([((1,), 2), "assert f(1) == 2"], entry="f"))
    ttc.scale(ttc.BestOfN(2), verifier=UnitTests(tests_of))


# What a deployment decides.


async def blocks() -> None:
    with ttc.policy(ttc.BestOfN(4, stop="all"), budget=ttc.Budget(tokens=20_000), on_reject="raise") as policy:
        assert_type(policy, ttc.Policy)
        await read("mail")
    with ttc.policy(thinking="high"), ttc.policy(thinking=2_000), ttc.tags(session="s", user="u"):
        await read("mail")
    with ttc.tracking() as bill:
        await read("mail")
    assert_type(bill.total, ttc.Usage)
    assert_type(bill.usd, Optional[Decimal])
    assert_type(bill.bill, ttc.Bill)
    ttc.configure(
        policies={"shop:read": ttc.policy(ttc.SelfConsistency(5))},
        default=ttc.policy(budget=ttc.Budget(usd=Decimal("0.05"))),
        concurrency=32,
        instrument=False,
        prices={"gpt-5-mini": ttc.Price("0.25", 2, cached=0.025)},
    )
    assert_type(ttc.current_draw(), Optional[ttc.Draw])
    ttc.record_usage(ttc.Usage(input_tokens=1, usd=Decimal("0.1")))
    ttc.on_win(lambda: print("won"))  # noqa: T201


# Strategies of one's own.


@dataclass(frozen=True)
class UntilAccepted:
    """Draw one after the other until one is accepted, each time a little hotter."""

    rounds: int = 3

    def search(self, call: ttc.Call) -> ttc.Search[Any]:
        """Draw at most `rounds` times."""
        samples: list[ttc.Sample[Any]] = []
        for place in range(self.rounds):
            drawn = yield from ttc.gather([ttc.Draw(temperature=0.3 * place)])
            if not drawn:
                break
            samples += drawn
            if samples[-1].accepted:
                break
        return ttc.best(samples)


@dataclass(frozen=True)
class ByHand:
    """What `gather()` does, spelled out, for outputs of one type."""

    needs_verifier = True

    def search(self, call: ttc.Call, /) -> ttc.Search[str]:
        """Draw twice, and cancel the second if the first is good."""
        sample = yield [ttc.Draw(), ttc.Draw(instruction="Think again.")]
        assert_type(sample, Optional[ttc.Sample[str]])
        if sample is not None and sample.accepted:
            yield [ttc.Cancel(1)]
            return sample
        other = yield []
        return ttc.best(each for each in (sample, other) if each is not None)


def strategies(call: ttc.Call) -> None:
    for strategy in (UntilAccepted(), ByHand(), ttc.Refine(2), ttc.Single(), ttc.SelfConsistency(3), ttc.BestOfN()):
        is_one: ttc.Strategy = strategy
        ttc.scale(is_one)
        ttc.policy(is_one)
    search: Generator[Sequence[Union[ttc.Draw, ttc.Cancel]], Optional[ttc.Sample[Any]], ttc.Sample[Any]]
    search = UntilAccepted().search(call)
    assert_type(next(search), Sequence[Union[ttc.Draw, ttc.Cancel]])


# A wrapped client is the client that it was.


async def clients() -> None:
    client = ttc_openai.wrap(AsyncOpenAI(), ttc.SelfConsistency(8), budget=ttc.Budget(tokens=1_000))
    assert_type(client, AsyncOpenAI)
    reply = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello"}])
    assert_type(reply, ChatCompletion)
    assert_type(ttc_openai.wrap(OpenAI()), OpenAI)
    assert_type(ttc_openai.wrap(AsyncAzureOpenAI(), name="azure", slots=4), AsyncAzureOpenAI)
