"""Test-time compute for any LLM call site: verified search, hard budgets, and the hidden tokens on the bill."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import strategies
from ._account import Balance
from ._budget import Budget
from ._engine import result_of
from ._errors import (
    BadResponse,
    BudgetError,
    BudgetExceeded,
    BudgetUnenforceable,
    NotAccepted,
    PriceUnknown,
    SandboxError,
    SandboxFailed,
    SandboxUnavailable,
    TTCError,
    VerifierFailed,
)
from ._instrument import instrument, uninstrument
from ._limits import balance, reset_budget
from ._policy import Policy, configure, policy, tags, tracking
from ._scale import current_draw, on_win, record_usage, scale, verifiable
from ._search import best, gather
from ._tree import Tree, TreeNode
from ._types import (
    Adapter,
    Call,
    Cancel,
    Capability,
    Draw,
    Reading,
    Request,
    Result,
    Sample,
    Search,
    Strategy,
    ToolCall,
    Verdict,
    Verifier,
)
from ._usage import Bill, Usage
from .calibration import calibrate_thinking
from .prices._price import Price
from .strategies import (
    ABMCTS,
    DVTS,
    MCTS,
    Adaptive,
    BeamSearch,
    BestOfN,
    BudgetForcing,
    Cascade,
    CodeSearch,
    Decompose,
    DraftSteps,
    EarlyReject,
    FirstFinished,
    MonteCarloValue,
    ParticleFilter,
    PrefixRecord,
    Race,
    Refine,
    Repair,
    SelfConsistency,
    Single,
    SpeculativeRejection,
    Steps,
    ThinkLonger,
)
from .thinking._amount import Thinking
from .thinking._efforts import EffortQuantiles
from .thinking._scratchpad import Thoughts, extract_thinking

if _TYPE_CHECKING:
    from . import verifiers

__all__ = [
    "ABMCTS",
    "DVTS",
    "MCTS",
    "Adapter",
    "Adaptive",
    "BadResponse",
    "Balance",
    "BeamSearch",
    "BestOfN",
    "Bill",
    "Budget",
    "BudgetError",
    "BudgetExceeded",
    "BudgetForcing",
    "BudgetUnenforceable",
    "Call",
    "Cancel",
    "Capability",
    "Cascade",
    "CodeSearch",
    "Decompose",
    "DraftSteps",
    "Draw",
    "EarlyReject",
    "EffortQuantiles",
    "FirstFinished",
    "MonteCarloValue",
    "NotAccepted",
    "ParticleFilter",
    "Policy",
    "PrefixRecord",
    "Price",
    "PriceUnknown",
    "Race",
    "Reading",
    "Refine",
    "Repair",
    "Request",
    "Result",
    "Sample",
    "SandboxError",
    "SandboxFailed",
    "SandboxUnavailable",
    "Search",
    "SelfConsistency",
    "Single",
    "SpeculativeRejection",
    "Steps",
    "Strategy",
    "TTCError",
    "ThinkLonger",
    "Thinking",
    "Thoughts",
    "ToolCall",
    "Tree",
    "TreeNode",
    "Usage",
    "Verdict",
    "Verifier",
    "VerifierFailed",
    "balance",
    "best",
    "calibrate_thinking",
    "configure",
    "current_draw",
    "extract_thinking",
    "gather",
    "instrument",
    "on_win",
    "policy",
    "record_usage",
    "reset_budget",
    "result_of",
    "scale",
    "strategies",
    "tags",
    "tracking",
    "uninstrument",
    "verifiable",
    "verifiers",
]


def __getattr__(name: str) -> _Any:
    if name == "verifiers":  # with the sandbox and all that it needs: a third of the import time
        return _import_module(".verifiers", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
