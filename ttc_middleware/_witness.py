"""Model calls that somebody watches who cannot steer them, such as a framework's callbacks."""

from __future__ import annotations

import time

from ._context import SCOPE, TAB, WITNESS, Witness
from ._leaf import Leaf, amounts
from ._types import Reading, Request


class Witnessed:
    """One model call that is being watched: accounted for when it has ended, unless an SDK's own seam has done so."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._started = time.perf_counter()
        self._tab = TAB.get()
        self._scope = SCOPE.get()

    def ended(self, request: Request, reading: Reading) -> None:
        """Account for the call: it was answered.

        Args:
            request: what was asked; provider and model are enough.
            reading: what came. Without usage the bill says that it has a gap.
        """
        if self._witness.seen:
            return
        leaf = Leaf(request, self._tab, self._scope)
        token = WITNESS.set(None)  # this is not what another watch waits to see
        try:
            leaf.open(None, 0, started=self._started)
        finally:
            WITNESS.reset(token)
        leaf.finish(reading)
        if reading.usage is not None and leaf.ledger is not None:
            leaf.ledger.charge(amounts(reading.usage))


def start(calls: int) -> Witnessed:
    """Watch a call from here; `calls` of one batch begin before the first of them is sent."""
    witness = WITNESS.get()
    if witness is None or not witness.room:
        witness = Witness(calls)
        WITNESS.set(witness)
    witness.room -= 1
    return Witnessed(witness)
