"""What thinking buys: `calibrate_thinking()` runs a function at several thinking budgets, and tells what it found.

It returns a `Calibration`, of `Row`s and a `Decline`, and of `Wider` and `Versus` for longer against wider.

The files, each above those that it imports:

- `_calibrate`: `calibrate_thinking()`: its arguments, what is left to run, and the result put together.
- `_work`: the runs; each is made, judged and kept.
- `_file`: what is kept, a line of JSON for each run, so that a calibration that was interrupted goes on.
- `_figures`: from runs to figures: paired bootstraps, the test for a decline, longer against wider.
- `_result`: what was found, frozen, and printed as tables.
- `_page`, `_plot`: the same as an HTML page and as a picture, which matplotlib draws.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from ._calibrate import calibrate_thinking

if _TYPE_CHECKING:
    from ._result import Calibration, Decline, Row, Versus, Wider

__all__ = ["Calibration", "Decline", "Row", "Versus", "Wider", "calibrate_thinking"]


def __getattr__(name: str) -> _Any:
    if name in __all__:  # the results, with the verifiers' figures: only for those who calibrate
        return getattr(_import_module("._result", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
