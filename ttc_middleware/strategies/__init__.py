"""How to search: one algorithm a file, each a pure generator that cites its paper."""

from ._steps import Steps
from .beam_search import BeamSearch
from .best_of_n import BestOfN
from .budget_forcing import BudgetForcing
from .dvts import DVTS
from .first_finished import FirstFinished
from .primed import Primed
from .race import Race
from .refine import Refine
from .self_consistency import SelfConsistency
from .single import Single
from .think_longer import ThinkLonger
from .thinks import Thinks

__all__ = [
    "DVTS",
    "BeamSearch",
    "BestOfN",
    "BudgetForcing",
    "FirstFinished",
    "Primed",
    "Race",
    "Refine",
    "SelfConsistency",
    "Single",
    "Steps",
    "ThinkLonger",
    "Thinks",
]
