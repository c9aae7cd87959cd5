"""What is right: one verifier a file, each usable alone with `await verifier.check(output, arguments={…})`."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from ._endpoint import Endpoint, StepEndpoint
    from ._kept import Folder
    from ._measurement import Measurement
    from .behaviour import Behaviour
    from .cached import Cached
    from .calibration import Isotonic, Platt
    from .choice import Choice
    from .combined import All, Any, Chain, Weighted
    from .constraints import Constraints
    from .exact import Exact
    from .goal_state import GoalState
    from .judge import Judge
    from .logic import Logic
    from .math_answer import MathAnswer, math_classes
    from .measuring import Labelled, Measured, measure, warning_of
    from .process_reward import ProcessReward, judge_steps
    from .regex import Regex
    from .reward_model import RewardModel
    from .schema import Schema
    from .unit_tests import UnitTests

# Each with what it needs, pydantic or the sandbox, when it is first asked for.
_FILES = {
    ".unit_tests": ("UnitTests",),
    ".schema": ("Schema",),
    ".exact": ("Exact",),
    ".choice": ("Choice",),
    ".regex": ("Regex",),
    ".math_answer": ("MathAnswer", "math_classes"),
    ".constraints": ("Constraints",),
    ".goal_state": ("GoalState",),
    ".logic": ("Logic",),
    ".judge": ("Judge",),
    ".reward_model": ("RewardModel",),
    ".process_reward": ("ProcessReward", "judge_steps"),
    "._endpoint": ("Endpoint", "StepEndpoint"),
    ".calibration": ("Isotonic", "Platt"),
    ".combined": ("All", "Any", "Chain", "Weighted"),
    ".cached": ("Cached",),
    ".behaviour": ("Behaviour",),
    "._kept": ("Folder",),
    ".measuring": ("Labelled", "Measured", "measure", "warning_of"),
    "._measurement": ("Measurement",),
}
_WHERE = {name: file for file, names in _FILES.items() for name in names}

__all__ = [
    "All",
    "Any",
    "Behaviour",
    "Cached",
    "Chain",
    "Choice",
    "Constraints",
    "Endpoint",
    "Exact",
    "Folder",
    "GoalState",
    "Isotonic",
    "Judge",
    "Labelled",
    "Logic",
    "MathAnswer",
    "Measured",
    "Measurement",
    "Platt",
    "ProcessReward",
    "Regex",
    "RewardModel",
    "Schema",
    "StepEndpoint",
    "UnitTests",
    "Weighted",
    "judge_steps",
    "math_classes",
    "measure",
    "warning_of",
]


def __getattr__(name: str) -> _Any:
    if name in _WHERE:
        found = getattr(_import_module(_WHERE[name], __name__), name)
        globals()[name] = found  # the module of the same name, where there is one, would take its place
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
