"""What the scores of beginnings have said of the scores of whole answers, at one call site."""

from __future__ import annotations

import math
import threading
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

INFORMS = 0.6
"""The concordance from which `SpeculativeRejection` beats as many tokens of plain best-of-N: a rank correlation of 0.3,
for scores and rewards that are normal, n from 8 to 64, and the default fractions (`poe bench-rejection` shows it)."""

_ENOUGH = 8
"""Searches to learn from at first, and those that have to say something before anything is rejected."""

_AGAIN = 10
"""One further search in so many is drawn to its ends, since what holds today may not hold tomorrow."""

_WINDOW = 64
"""Searches that are remembered; what is older says little of today's traffic."""


class PrefixRecord:
    """How well the score of a beginning tells how the answer will score, learnt from whole answers.

    For `SpeculativeRejection(record=)`, which rejects nothing where that would be a guess. One of these serves one
    call site; it lives in memory, and may be used from several threads. It learns from whole searches alone: of the
    answers that a rejection lets through, only the good beginnings would be seen.

        record = ttc.PrefixRecord()
        strategy = ttc.SpeculativeRejection(16, record=record)
        ...
        record.concordance(1 / 8)      # 0.5: a beginning of that length says nothing; 1.0: everything
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._searches = 0
        self._seen: defaultdict[float, deque[float]] = defaultdict(lambda: deque(maxlen=_WINDOW))

    def begin(self, fractions: Sequence[float]) -> dict[float, bool] | None:
        """Begin a search.

        Args:
            fractions: where it scores beginnings.

        Returns:
            At which of them to reject; None: this search is to be drawn to its ends, to learn from.
        """
        with self._lock:
            self._searches += 1
            if self._searches <= _ENOUGH or self._searches % _AGAIN == 0:
                return None
        return {each: self.informs(each) for each in fractions}

    def learn(self, scores: Mapping[float, Sequence[tuple[float, float]]]) -> None:
        """Take in a search that was drawn to its ends.

        Args:
            scores: by fraction, each answer's score there and at its end. Answers that all end alike say nothing.
        """
        with self._lock:
            for fraction, pairs in scores.items():
                found = _concordance(pairs)
                if found is not None:
                    self._seen[fraction].append(found)

    def concordance(self, fraction: float) -> float | None:
        """Of two answers of one call that end differently, how often the better one also began better; None: not known.

        From 0 to 1, ties count half; the mean over searches, each of which counts the same. For answers that are right
        or wrong this is the area under the curve (AUC).
        """
        with self._lock:
            seen = self._seen.get(fraction)
            return math.fsum(seen) / len(seen) if seen else None

    def informs(self, fraction: float) -> bool:
        """Whether beginnings of this length are worth rejecting by: a concordance of 0.6 in eight searches or more."""
        found = self.concordance(fraction)
        return found is not None and found >= INFORMS and len(self._seen[fraction]) >= _ENOUGH

    def __repr__(self) -> str:
        return "PrefixRecord()"


def _concordance(pairs: Sequence[tuple[float, float]]) -> float | None:
    agree: list[float] = []
    for place, (prefix, final) in enumerate(pairs):
        for other_prefix, other_final in pairs[:place]:
            if final != other_final:
                better = (prefix - other_prefix) * (final - other_final)
                agree.append(0.5 if better == 0 else float(better > 0))
    return math.fsum(agree) / len(agree) if agree else None
