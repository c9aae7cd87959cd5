"""How many tokens an effort comes to: quantiles that hold for the next call, learnt from the last ones. Pure."""

from __future__ import annotations

import math
import threading
from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable, Sequence

from ._amount import EFFORTS

WINDOW = 256
"""Calls that are remembered of one effort; what is older says little of today's traffic."""

SITES = 1_024
"""Efforts, each of a call site and a model, that are remembered; the one unused for longest is forgotten."""

_STEP = 0.04
"""How far one hit or miss moves the level (gamma of adaptive conformal inference)."""

_WARM = 50
"""Calls before misses say anything about a drift."""


class EffortQuantiles:
    """What each effort cost, by call site and model, and how much it will cost at most, with a given probability.

    An effort is no cap: what it comes to is only known by experience. The quantile is the split-conformal one (Vovk et
    al. 2005; Romano et al. 2019, arXiv:1905.03222), the k-th smallest of the last n <= 256 calls, k = (n + 1) level
    rounded up, whose level follows the hits and misses within these calls (adaptive conformal inference, Gibbs and
    Candès 2021, arXiv:2106.00170, in steps of 0.04): it holds for any distribution of lengths, and again some 50 calls
    after that has changed. It holds on average over calls, not for each question: hard ones take more than their share.

    Remembers 256 numbers for each of 1,024 efforts at most; may be used from several threads.

        quantiles = EffortQuantiles()
        quantiles.observe("high", 5_210, site="app:solve", model="gpt-5.6")
        effort = quantiles.choose(8_000, tau=0.95, site="app:solve", model="gpt-5.6")   # None: none is known to fit
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[str, str, Hashable], deque[float]] = OrderedDict()
        self._found: dict[tuple[str, str, Hashable], dict[float, float]] = {}
        """Quantiles by their level, until a further call is seen: a request may ask for several of them."""

    def observe(self, effort: Hashable, tokens: int, *, site: str = "", model: str = "", cut: bool = False) -> None:
        """Learn from a call.

        Args:
            effort: what was asked for: an effort in words, or tokens.
            tokens: what its thinking came to, from 0. Any other count will do, if it is always the same.
            site: the call site.
            model: the model.
            cut: it was cut off at this number and would have taken more; how much more is not known, so it counts as
                longer than every other.

        Raises:
            ValueError: `tokens` is not a whole number from 0.
        """
        if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
            raise ValueError(f"observe(tokens) must be a whole number from 0, got {tokens!r}")
        with self._lock:
            seen = self._seen.setdefault((site, model, effort), deque(maxlen=WINDOW))
            self._seen.move_to_end((site, model, effort))
            seen.append(math.inf if cut else tokens)
            self._found.pop((site, model, effort), None)
            if len(self._seen) > SITES:
                forgotten, _ = self._seen.popitem(last=False)
                self._found.pop(forgotten, None)

    def calls(self, effort: Hashable, *, site: str = "", model: str = "") -> int:
        """How many calls are remembered of an effort, at most 256."""
        with self._lock:
            return len(self._seen.get((site, model, effort), ()))

    def quantile(self, effort: Hashable, tau: float = 0.95, *, site: str = "", model: str = "") -> int | None:
        """Tokens that the next call stays within with probability `tau`.

        None: not known, either because so high a level takes more calls (`tau / (1 - tau)`, 19 for 0.95), or because
        too many were cut off.

        Raises:
            ValueError: `tau` is not between 0 and 1.
        """
        if not 0 < tau < 1:
            raise ValueError(f"tau lies between 0 and 1, not {tau!r}")
        key = (site, model, effort)
        with self._lock:
            if key not in self._seen:
                return None
            known = self._found.setdefault(key, {})
            if tau not in known:
                known[tau] = conformal(tuple(self._seen[key]), tau)
            found = known[tau]
        return None if found == math.inf else int(found)

    def choose(
        self,
        budget: int,
        tau: float = 0.95,
        *,
        site: str = "",
        model: str = "",
        among: Iterable[Hashable] = EFFORTS,
    ) -> Hashable | None:
        """The most thinking that stays within the budget with probability `tau`; None: none is known to.

        Args:
            budget: tokens.
            tau: between 0 and 1; 0.99 where going over is costly.
            site: the call site.
            model: the model.
            among: efforts, the least thinking first; those that too little is known of are passed over.

        Raises:
            ValueError: `tau` is not between 0 and 1.
        """
        fits: Hashable | None = None
        for effort in among:
            most = self.quantile(effort, tau, site=site, model=model)
            if most is not None and most <= budget:
                fits = effort
        return fits


def conformal(seen: Sequence[float], tau: float, step: float = _STEP) -> float:
    """The adaptive split-conformal quantile of numbers in order of their arrival; infinite where it is not known."""
    if math.ceil((len(seen) + 1) * tau - 1e-9) > len(seen):
        return math.inf
    ordered = sorted(seen[:_WARM])
    level = tau
    for each in seen[_WARM:]:
        most = _ranked(ordered, level)
        if each != most:  # many calls end at one and the same cap, which says nothing of a drift
            level = min(max(level + step * (tau - (each < most)), 0.0), 1.0)
        insort(ordered, each)
    return _ranked(ordered, level)


def _ranked(ordered: Sequence[float], level: float) -> float:
    """The smallest number that so many of n + 1 lie at or below; the largest of all where the level asks for more."""
    rank = math.ceil((len(ordered) + 1) * level - 1e-9)
    return ordered[min(max(rank, 1), len(ordered)) - 1]
