# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""What type checkers must complain of: never run. A checker that lets a line pass complains of its comment instead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Generic, TypeVar

from openai import AsyncOpenAI, OpenAI

import ttc_middleware as ttc
import ttc_openai
from ttc_middleware.verifiers.schema import Schema

N = TypeVar("N", int, float)
V = TypeVar("V")


class Invoice:
    """What the functions below return."""

    total = 0.0


@ttc.scale(ttc.Single())
async def extract(text: str, *, strict: bool = False) -> Invoice:
    """An async function."""
    raise NotImplementedError


@ttc.scale(ttc.Single())
def answer(question: str, hint: str | None = None) -> str:
    """A function."""
    raise NotImplementedError


@ttc.scale(ttc.Single())
def first(items: Sequence[V]) -> V:
    """A generic function."""
    raise NotImplementedError


@ttc.scale(ttc.Single())
async def double(number: N) -> N:
    """An async one, of a limited type."""
    raise NotImplementedError


class Clerk:
    """A class with methods of every kind."""

    @ttc.scale(ttc.Single())
    def ask(self, question: str, times: int = 1) -> str:
        """A method."""
        raise NotImplementedError

    @ttc.scale(ttc.Single())
    async def fetch(self, question: str) -> Invoice:
        """An async method."""
        raise NotImplementedError

    @classmethod
    @ttc.scale(ttc.Single())
    def make(cls, name: str) -> int:
        """A class method."""
        raise NotImplementedError

    @staticmethod
    @ttc.scale(ttc.Single())
    async def wait(seconds: float) -> bool:
        """An async static method."""
        raise NotImplementedError


class Box(Generic[V]):
    """A generic class."""

    @ttc.scale(ttc.Single())
    def get(self) -> V:
        """A method that returns the class's own type."""
        raise NotImplementedError

    @ttc.scale(ttc.Single())
    async def swap(self, other: V) -> V:
        """An async method of it."""
        raise NotImplementedError


async def calls(clerk: Clerk, box: Box[int]) -> Any:
    await extract(7)  # type: ignore[arg-type]
    await extract()  # type: ignore[call-arg]
    await extract("mail", strictly=True)  # type: ignore[call-arg]
    await extract.run("mail", "more")  # type: ignore[call-overload]
    text: str = await extract("mail")  # type: ignore[assignment]
    waiting: Invoice = extract("mail")  # type: ignore[assignment]
    price = (await extract.run("mail")).output.price  # type: ignore[attr-defined]
    answer("why?", hint=3)  # type: ignore[arg-type]
    number: int = answer.run("why?")  # type: ignore[assignment]
    await answer.run("why?")  # type: ignore[misc]
    first(3)  # type: ignore[arg-type]
    await double("2")  # type: ignore[type-var]
    clerk.ask(3)  # type: ignore[call-overload]
    clerk.ask("why?", "twice")  # type: ignore[call-overload]
    await clerk.fetch.run()  # type: ignore[call-overload]
    Clerk.make(3)  # type: ignore[call-overload]
    await clerk.wait("long")  # type: ignore[call-overload]
    word: str = box.get()  # type: ignore[assignment]
    await box.swap("two")  # type: ignore[call-overload]
    await twice(answer)  # type: ignore[arg-type]
    return text, waiting, price, number, word


async def twice(fn: Callable[[str], Awaitable[Invoice]]) -> None:
    await fn("mail")


def decorated() -> None:
    ttc.scale()  # type: ignore[call-arg]
    ttc.scale(ttc.BestOfN)  # type: ignore[arg-type]
    ttc.scale(ttc.BestOfN(8), 4)  # type: ignore[arg-type, call-arg]
    ttc.scale(8)  # type: ignore[arg-type]
    ttc.scale(ttc.BestOfN("8"))  # type: ignore[arg-type]
    ttc.scale(ttc.BestOfN(8, stop="first"))  # type: ignore[arg-type]
    ttc.scale(ttc.BestOfN(8), verifier=0.5)  # type: ignore[arg-type]
    ttc.scale(ttc.BestOfN(8), verifier=no_output)  # type: ignore[arg-type]
    ttc.scale(ttc.BestOfN(8), verifier=in_words)  # type: ignore[arg-type]
    ttc.scale(ttc.BestOfN(8), verifier=Unjudging())  # type: ignore[arg-type]
    ttc.scale(ttc.BestOfN(8), on_reject="never")  # type: ignore[arg-type]
    ttc.scale(ttc.BestOfN(8), scope="calls")  # type: ignore[arg-type]
    ttc.scale(ttc.BestOfN(8), thinking="hard")  # type: ignore[arg-type]
    ttc.scale(ttc.BestOfN(8), budget=0.05)  # type: ignore[arg-type]
    ttc.scale(ttc.BestOfN(8), budget=ttc.Budget(dollars=1))  # type: ignore[call-arg]
    ttc.scale(Backwards())  # type: ignore[arg-type]
    ttc.scale(ttc.Single())("not a function")  # type: ignore[arg-type]
    ttc.verifiable()  # type: ignore[call-arg]
    Schema(Invoice, True)  # type: ignore[call-arg]


def no_output() -> bool:
    return True


def in_words(output: str) -> str:
    return output


class Unjudging:
    """Has no check()."""


class Backwards:
    """Yields one draw where a step is a list of draws."""

    def search(self, call: ttc.Call) -> Generator[ttc.Draw, ttc.Sample[Any] | None, ttc.Sample[Any]]:
        """Draw once."""
        sample = yield ttc.Draw()
        assert sample is not None
        return sample


def settled(result: ttc.Result[Invoice], clerk: Clerk) -> OpenAI:
    result.accepted = True  # type: ignore[misc]
    ttc.Draw().seed = 3  # type: ignore[misc]
    ttc.Sample(index=0)  # type: ignore[call-arg]
    result.bill.total.tokens = 3  # type: ignore[misc]
    ttc.policy(budget=3)  # type: ignore[arg-type]
    ttc.configure(policies={"name": ttc.BestOfN(8)})  # type: ignore[dict-item]
    with ttc.tracking() as bill:
        bill.total = ttc.Usage()  # type: ignore[misc]
    with ttc.tags(session=3):  # type: ignore[arg-type]
        clerk.ask()  # type: ignore[call-overload]
    client: OpenAI = ttc_openai.wrap(AsyncOpenAI())  # type: ignore[assignment]
    ttc_openai.wrap(AsyncOpenAI(), ttc.BestOfN(8), verifier=no_output)  # type: ignore[arg-type]
    return client
