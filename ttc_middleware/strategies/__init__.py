"""How to search: one algorithm a file, each a pure generator that cites its paper."""

from .best_of_n import BestOfN
from .budget_forcing import BudgetForcing
from .first_finished import FirstFinished
from .race import Race
from .refine import Refine
from .self_consistency import SelfConsistency
from .single import Single
from .think_longer import ThinkLonger
from .thinks import Thinks

__all__ = [
    "BestOfN",
    "BudgetForcing",
    "FirstFinished",
    "Race",
    "Refine",
    "SelfConsistency",
    "Single",
    "ThinkLonger",
    "Thinks",
]
