"""How to search: one algorithm a file, each a pure generator that cites its paper."""

from .best_of_n import BestOfN
from .first_finished import FirstFinished
from .race import Race
from .refine import Refine
from .self_consistency import SelfConsistency
from .single import Single
from .thinks import Thinks

__all__ = ["BestOfN", "FirstFinished", "Race", "Refine", "SelfConsistency", "Single", "Thinks"]
