"""How to search: one algorithm a file, each a pure generator that cites its paper."""

from ._steps import Steps
from ._weights import CISC
from .abmcts import ABMCTS
from .adaptive import Adaptive
from .beam_search import BeamSearch
from .best_of_n import BestOfN
from .budget_forcing import BudgetForcing
from .cascade import Cascade, Tier
from .code_search import CodeSearch
from .decompose import Decompose, Part, Solved
from .difficulty import Agreement, Classify, FirstScore
from .draft_steps import DraftSteps
from .dvts import DVTS
from .early_reject import EarlyReject
from .first_finished import FirstFinished
from .mcts import MCTS
from .monte_carlo_value import MonteCarloValue
from .particle_filter import ParticleFilter
from .prefix_record import PrefixRecord
from .primed import Primed
from .race import Race
from .refine import Refine
from .repair import Repair
from .self_consistency import SelfConsistency
from .single import Single
from .speculative_rejection import SpeculativeRejection
from .step_labels import step_labels, write_step_labels
from .stopping import ESC, AdaptiveConsistency
from .think_longer import ThinkLonger
from .thinks import Thinks

__all__ = [
    "ABMCTS",
    "CISC",
    "DVTS",
    "ESC",
    "MCTS",
    "Adaptive",
    "AdaptiveConsistency",
    "Agreement",
    "BeamSearch",
    "BestOfN",
    "BudgetForcing",
    "Cascade",
    "Classify",
    "CodeSearch",
    "Decompose",
    "DraftSteps",
    "EarlyReject",
    "FirstFinished",
    "FirstScore",
    "MonteCarloValue",
    "Part",
    "ParticleFilter",
    "PrefixRecord",
    "Primed",
    "Race",
    "Refine",
    "Repair",
    "SelfConsistency",
    "Single",
    "Solved",
    "SpeculativeRejection",
    "Steps",
    "ThinkLonger",
    "Thinks",
    "Tier",
    "step_labels",
    "write_step_labels",
]
