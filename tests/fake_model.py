"""A model of our own: an adapter, a provider that counts what it bills, and an SDK whose every call passes the seam.

One word is one token. `Model(script)` answers what the script says: a function of the request's body and its number
(from 0) that returns a text, a `Completion` or an exception to raise; an async one decides how long it takes.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from opentelemetry import trace

import ttc_middleware as ttc
from ttc_middleware import _calls, _context, _draws, _faults
from ttc_middleware.seam import call_model, call_model_sync, observed


@dataclass(frozen=True)
class Completion:
    """What the model sends: one text a choice."""

    texts: tuple[str | None, ...] = ("ok",)
    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int | None = None
    usd: Any = None
    status: str = "answer"
    fault: str | None = None
    silent: bool = False
    """It reports no usage."""

    @property
    def text(self) -> str | None:
        return self.texts[0]


@dataclass(frozen=True)
class Fake:
    """The adapter of `Model`."""

    can: frozenset[ttc.Capability] = frozenset(ttc.Capability) - {ttc.Capability.EXTEND}
    slots: int | None = None
    merges: bool = True
    remembered: bool = False

    def apply(self, call, draw):
        changes = {
            name: getattr(draw, name)
            for name in ("model", "temperature", "seed", "thinking", "max_tokens", "stop")
            if getattr(draw, name) is not None
        }
        if draw.thinks is not None:  # its own words for it: tokens, or an effort
            changes["thinking"] = draw.thinks.effort or draw.thinks.tokens
        if draw.instruction is not None:
            changes["prompt"] = f"{call.arguments['prompt']} {draw.instruction}"
        return replace(call, arguments={**call.arguments, **changes})

    def merge(self, call, n):
        return replace(call, arguments={**call.arguments, "n": n})

    def split(self, output):
        return [replace(output, texts=(text,)) if text is not None else None for text in output.texts]

    def describe(self, call):
        body = call.arguments
        return ttc.Request(
            provider="fake",
            model=body.get("model") or "small",
            max_tokens=body.get("max_tokens"),
            choices=body.get("n") or 1,
            temperature=body.get("temperature"),
            seed=body.get("seed"),
            tool_results=bool(body.get("tool_results")),
            server=body.get("server", "fake.test"),
            remembered=self.remembered,
        )

    def bound(self, call):
        return words(call.arguments["prompt"])

    def read(self, output):
        usage = None
        if not output.silent:
            usage = ttc.Usage(1, output.input_tokens, output.output_tokens, output.reasoning_tokens, 0, output.usd)
        return ttc.Reading(text=output.texts[0], status=output.status, fault=output.fault, usage=usage)


def words(text: str) -> int:
    return len(text.split())


class Refused(Exception):
    """What the SDK raises, as SDKs do: by status."""

    def __init__(self, status_code: int, text: str = "no", headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status_code = status_code
        self.response = type("Response", (), {"headers": headers or {}, "status_code": status_code})()


class APIConnectionError(Exception):
    """Named as in the SDKs: the connection broke."""


@dataclass
class Model:
    """The provider and its SDK in one."""

    script: Callable[..., Any] = lambda body, number: "ok"
    adapter: Fake = field(default_factory=Fake)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    in_flight: int = 0
    peak: int = 0
    ended: int = 0
    """Requests that were left early: cancelled or failed."""
    prompt: int = 0
    completion: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.Lock()

    @property
    def billed(self) -> int:
        return self.prompt + self.completion

    async def __call__(self, prompt: str = "hi there", **body: Any) -> str | None:
        return (await self.complete(prompt, **body)).text

    def sync(self, prompt: str = "hi there", **body: Any) -> str | None:
        return self.complete_sync(prompt, **body).text

    async def complete(self, prompt: str = "hi there", **body: Any) -> Completion:
        call = ttc.Call(name="fake:complete", arguments={"prompt": prompt, **body})
        if not observed():
            return await self.send(call.arguments)
        return await call_model(self.adapter, call, lambda given, leaf: self.send(given.arguments))

    def complete_sync(self, prompt: str = "hi there", **body: Any) -> Completion:
        call = ttc.Call(name="fake:complete", arguments={"prompt": prompt, **body})
        if not observed():
            return self.send_sync(call.arguments)
        return call_model_sync(self.adapter, call, lambda given, leaf: self.send_sync(given.arguments))

    async def send(self, body: dict[str, Any]) -> Completion:
        number = self._starts(body)
        try:
            said = self.script(body, number)
            answer = self._bill(body, await said if inspect.isawaitable(said) else said)
        except BaseException:
            self._left()
            raise
        return answer

    def send_sync(self, body: dict[str, Any]) -> Completion:
        number = self._starts(body)
        try:
            return self._bill(body, self.script(body, number))
        except BaseException:
            self._left()
            raise

    def _starts(self, body: dict[str, Any]) -> int:
        with self.lock:
            self.bodies.append(dict(body))
            self.in_flight += 1
            self.peak = max(self.peak, self.in_flight)
            return len(self.bodies) - 1

    def _left(self) -> None:
        with self.lock:
            self.in_flight -= 1
            self.ended += 1

    def _bill(self, body: dict[str, Any], said: Any) -> Completion:
        if isinstance(said, BaseException):
            raise said
        answer = said if isinstance(said, Completion) else Completion((said,) * (body.get("n") or 1))
        if not answer.output_tokens:
            thinking = answer.reasoning_tokens or 0
            answer = replace(answer, output_tokens=sum(words(text or "") for text in answer.texts) + thinking)
        limit = body.get("max_tokens")
        if limit is not None:  # a provider honours it
            answer = replace(answer, output_tokens=min(answer.output_tokens, limit * (body.get("n") or 1)))
        answer = replace(answer, input_tokens=answer.input_tokens or words(body["prompt"]))
        with self.lock:
            self.in_flight -= 1
            self.prompt += answer.input_tokens
            self.completion += answer.output_tokens
        return answer


def place() -> int:
    """The launch order of the draw under way; trio starts tasks in any order."""
    tab = _context.TAB.get()
    assert tab is not None
    return tab.index


async def forever() -> None:
    """What a slow model does."""
    await anyio.sleep(3_600)


async def steps(number: int) -> None:
    """Let others go first, so many times."""
    for _ in range(number):
        await anyio.lowlevel.checkpoint()


@pytest.fixture
def fresh(monkeypatch):
    """The process as it starts: nothing configured, nothing warned of, nothing remembered of any server."""
    settings = _context.Settings(instrument=False)
    for module in ("_context", "_policy", "_limits", "_engine", "_leaf", "_instrument", "_site", "otel"):
        monkeypatch.setattr(f"ttc_middleware.{module}.SETTINGS", settings)
    monkeypatch.setattr(_context, "_warned", set())
    monkeypatch.setattr(_calls, "_refused", set())
    monkeypatch.setattr(_faults, "_budgets", {})
    monkeypatch.setattr(_calls, "pause", lambda attempt, failure: 0.0)
    kept = set(_draws.NO_CHOICES)
    _draws.NO_CHOICES.clear()
    yield settings
    _draws.NO_CHOICES.clear()
    _draws.NO_CHOICES.update(kept)
    assert _context.TAB.get() is None
    assert _context.SCOPE.get().outer is None
    assert not trace.get_current_span().get_span_context().is_valid
