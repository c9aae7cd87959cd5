"""What callers may rely on: never run, checked by mypy and pyright in strict mode."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, Optional, Protocol, TypeVar, Union

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
