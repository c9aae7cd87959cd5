"""All tokens spent on thinking, and none left for the answer: what to ask for instead."""

from __future__ import annotations

from dataclasses import replace

from ._leaf import Leaf
from ._types import Adapter, Call, Capability, Draw, Reading
from .thinking._amount import Thinking

_LESS = Thinking(effort="low")
_LOW = ("minimal", "low")
_FEW = 1_024


def less_thinking(wish: Draw, reading: Reading, leaf: Leaf, adapter: Adapter, calls: tuple[Call, Call]) -> Draw | None:
    """What to ask of a model that has thought until its limit, and said nothing; None: that is not what happened.

    Args:
        wish: what the draw asks of this call.
        reading: what came of it.
        leaf: the attempt.
        adapter: of the call.
        calls: as its caller makes it, and as it was sent.
    """
    usage, (plain, sent) = reading.usage, calls
    silent = reading.status == "truncated" and reading.fault is None and not reading.tool_calls
    if not silent or (reading.text or "").strip() or usage is None or not usage.output_tokens:
        return None
    if usage.reasoning_tokens == 0 or wish.kind != "answer" or leaf.request.choices != 1:
        return None
    if not leaf.retried or not leaf.retries:
        return None
    asked = wish.thinks
    if Capability.THINKING not in adapter.can or (asked is not None and (asked.is_off or asked.prompted)):
        return None
    little = asked is not None and (asked.effort in _LOW or (asked.tokens or _FEW + 1) <= _FEW)
    less = replace(wish, thinking=Thinking.off() if little else _LESS)
    # Where a model cannot be told, the same again would end the same.
    said = adapter.apply(plain, replace(less, max_tokens=leaf.request.max_tokens))
    return None if said.arguments == sent.arguments else less
