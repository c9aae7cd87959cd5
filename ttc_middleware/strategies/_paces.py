"""How long strategies take at each call site: what this process has seen, for deadlines."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

WINDOW = 64
"""Runs that are remembered of one strategy at one call site."""

SITES = 1_024
"""Strategies, each at a call site, that are remembered; the one unused for longest is forgotten."""

_ENOUGH = 9  # fewer runs do not show what holds nine times in ten
_SURE = 0.9


class Paces:
    """Runs and their seconds; may be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[str, str], deque[tuple[float, bool]]] = OrderedDict()

    def observe(self, site: str, name: str, seconds: float, *, cut: bool) -> None:
        """Learn from a run; `cut`: a deadline ended it, and it would have taken longer."""
        with self._lock:
            self._seen.setdefault((site, name), deque(maxlen=WINDOW)).append((seconds, cut))
            self._seen.move_to_end((site, name))
            if len(self._seen) > SITES:
                self._seen.popitem(last=False)

    def keeps_to(self, site: str, name: str, seconds: float) -> bool | None:
        """Whether the next run ends within so many seconds with a chance of 0.9; None: not known.

        By rank among the runs that tell (split-conformal, Vovk et al. 2005): a run that was cut off earlier than that
        tells nothing.
        """
        with self._lock:
            runs = list(self._seen.get((site, name), ()))
        telling = [(took, cut) for took, cut in runs if not cut or took >= seconds]
        if len(telling) < _ENOUGH:
            return None
        within = sum(took <= seconds and not cut for took, cut in telling)
        return within >= _SURE * (len(telling) + 1)
