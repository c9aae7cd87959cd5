"""Asking the verifier, and what becomes of what it says, or fails to say."""

from __future__ import annotations

import inspect
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio

from . import _portal
from ._context import warn_once
from ._errors import VerifierFailed
from ._faults import classify
from ._plan import Plan
from ._types import Sample, Verdict
from ._verify import Check, verdict_of

_NOTICED = 0.1  # seconds that an event loop may stand still before its other tasks notice


class Judge:
    """The verifier of one search."""

    def __init__(self, plan: Plan, check: Check) -> None:
        self.name: str = check.name
        self.waits: bool = plan.in_thread or check.waits
        """Verifications take time of their own: run side by side, several take no longer than one."""
        self._plan = plan
        self._check = check
        self._blocked = 0.0
        """Seconds for which it has held the event loop, at worst."""
        self._broken: Verdict | None = None
        """What was last said of it, where it has failed on everything."""
        self._spoken = False
        self._given: dict[str, Verdict] = {}
        """By the text that they are of, where asking costs."""
        self._asking: dict[str, anyio.Event] = {}

    async def verdict(self, sample: Sample[Any], arguments: Mapping[str, Any]) -> Verdict:
        """The verdict, tried twice: a verifier that breaks says nothing about the sample."""
        text = sample.text if self._check.dear else None
        if text is None:
            return await self._verdict(sample, arguments)
        while text in self._asking:
            await self._asking[text].wait()
        if text not in self._given:
            self._asking[text] = anyio.Event()
            try:
                verdict = await self._verdict(sample, arguments)
                if verdict.failed:
                    return verdict
                self._given[text] = replace(verdict, usage=None)  # paid for once
                return verdict
            finally:
                self._asking.pop(text).set()
        return self._given[text]

    async def _verdict(self, sample: Sample[Any], arguments: Mapping[str, Any]) -> Verdict:
        verdict = Verdict(0.0)
        for _ in range(2):
            try:
                verdict = verdict_of(await self._said(sample, arguments), self._plan.accept)
            except Exception as error:  # noqa: BLE001  # whatever a verifier raises
                verdict = self._broke(error)
            except anyio.get_cancelled_exc_class() as cancelled:
                verdict = self._broke(from_inside(cancelled))
            if not verdict.failed:
                break
        self._spoken |= not verdict.failed
        self._broken = None if self._spoken else verdict
        return verdict

    def warn(self) -> None:
        """Warn if it has held the event loop."""
        if self._blocked > _NOTICED:
            warn_once(
                "slow verifier",
                self.name,
                f"verifier {self.name} held the event loop for {self._blocked:.1f} s: make it async, or run its slow"
                " part in a thread",
            )

    def warn_broken(self, about: str) -> None:
        """Warn if it has failed on everything: a search that goes by it has gone by nothing."""
        if self._broken is not None:
            said = self._broken.feedback
            warn_once("broken", self.name, f"{about} was searched blindly, each verdict on its parts failed: {said}")

    async def _said(self, sample: Sample[Any], arguments: Mapping[str, Any]) -> Any:
        said = self._asked(sample, arguments)
        if inspect.isawaitable(said):
            self.waits = True
            with anyio.move_on_after(self._plan.patience) as wait:
                return await said
            if wait.cancelled_caught:
                raise VerifierFailed(f"no verdict within {self._plan.patience:g} s")
        return said

    def _asked(self, sample: Sample[Any], arguments: Mapping[str, Any]) -> Any:
        """What the verifier returns, or something to wait for that gives it."""
        if self._plan.in_thread:
            return self._asked_in_thread(sample, arguments)
        started = time.perf_counter()
        said = self._check.ask(sample, arguments)
        self._blocked = max(self._blocked, time.perf_counter() - started)
        return said

    async def _asked_in_thread(self, sample: Sample[Any], arguments: Mapping[str, Any]) -> Any:
        said: list[Any] = []
        left = threading.Event()

        def ask() -> None:
            said.append(self._check.ask(sample, arguments))
            if left.is_set():
                _closed(said[0])

        try:
            await _portal.in_thread(ask)
        except anyio.get_cancelled_exc_class():
            left.set()
            for each in said:
                _closed(each)
            raise
        return await said[0] if inspect.isawaitable(said[0]) else said[0]

    def _broke(self, error: Exception) -> Verdict:
        said = f"{type(error).__name__}: {classify(error).text:.500}"
        return Verdict(0.0, feedback=f"verifier {self.name} failed: {said}", accepted=False, failed=True)


def _closed(said: Any) -> None:
    """A coroutine that nobody will await any more would complain when it is thrown away."""
    if inspect.iscoroutine(said):
        said.close()


def from_inside(cancelled: BaseException) -> Exception:
    """What a cancellation is that nobody outside has asked for, as of a function that waits for a cancelled task.

    Raises:
        BaseException: the cancellation itself, where somebody has.
    """
    if anyio.current_effective_deadline() == -math.inf:
        raise cancelled
    error = RuntimeError("cancelled by something inside")
    error.__cause__ = cancelled
    return error
