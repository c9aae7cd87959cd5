"""One of each kind of every strategy, for what all of them promise."""

from __future__ import annotations

import ttc_middleware as ttc

ALL = [
    ttc.Single(),
    ttc.BestOfN(1),
    ttc.BestOfN(5),
    ttc.BestOfN(5, at_once=2),
    ttc.BestOfN(5, stop="all"),
    ttc.BestOfN(5, stop="all", at_once=2),
    ttc.BestOfN(5, stop="all", select="weighted"),
    ttc.BestOfN(5, select="votes and likelihood", by=len),
    ttc.SelfConsistency(1),
    ttc.SelfConsistency(6),
    ttc.SelfConsistency(7, at_once=2),
    ttc.SelfConsistency(5, by=len),
    ttc.SelfConsistency(6, by="fields"),
    ttc.SelfConsistency(5, by="universal", rounds=2),
    ttc.SelfConsistency(7, same=str.__eq__),
    ttc.SelfConsistency(7, weight="score"),
    ttc.SelfConsistency(7, weight=len, at_once=3),
    ttc.SelfConsistency(9, stop=ttc.strategies.AdaptiveConsistency(0.9)),
    ttc.SelfConsistency(9, stop=ttc.strategies.ESC(3), at_once=2),
    ttc.Refine(1),
    ttc.Refine(4),
    ttc.FirstFinished(1, 4),
    ttc.FirstFinished(3, 6),
    ttc.FirstFinished(2, 4, by=len),
    ttc.Race(1),
    ttc.Race(9, first=4, more=2, lead=3),
    ttc.Race(7, first=7, more=1, lead=7, by=len),
    ttc.Race(10, first=1, more=3, lead=2),
    ttc.Race(12, first=4, certify=0.2),
    ttc.Cascade([ttc.strategies.Tier(lead=2, cap=3)]),
    ttc.Cascade([ttc.strategies.Tier(lead=2, cap=3), ttc.strategies.Tier("large", lead=3, cap=6)]),
    ttc.Cascade([ttc.strategies.Tier(cap=2, weight=0.4), ttc.strategies.Tier("large", weight=1.7)], by=len),
    ttc.Adaptive(
        ttc.strategies.Agreement(),
        {"easy": ttc.Single(), "medium": ttc.SelfConsistency(3), "hard": ttc.SelfConsistency(5)},
    ),
    ttc.Adaptive(ttc.strategies.FirstScore([0.5]), {"easy": ttc.Refine(1), "hard": ttc.BestOfN(4)}),
    ttc.Adaptive(
        ttc.strategies.FirstScore([0.9, 0.2]),
        {"a": ttc.BestOfN(2, stop="all"), "b": ttc.Refine(2), "c": ttc.Race(6, first=3, more=1, lead=2)},
        escalate=False,
    ),
    ttc.BudgetForcing(max_tokens=8),
    ttc.BudgetForcing(max_tokens=100, min_tokens=20, extend="Hmm", times=5),
    ttc.CodeSearch(1, behaviour=ttc.verifiers.Behaviour()),
    ttc.CodeSearch(4, 1, behaviour=ttc.verifiers.Behaviour()),
    ttc.CodeSearch(5, 0, behaviour=ttc.verifiers.Behaviour(entry="f")),
    ttc.ABMCTS(1),
    ttc.ABMCTS(9),
    ttc.ABMCTS(12, posterior="beta", stop="all", at_once=3, seed=7),
    ttc.ThinkLonger(),
    ttc.ThinkLonger(("low", 2_000, ttc.Thinking(effort="high"))),
    ttc.BeamSearch(4, 2, 3),
    ttc.BeamSearch(6, 1, 2, steps=ttc.Steps("\n", max_tokens=9, ends="^a"), value=ttc.verifiers.Regex("a")),
    ttc.DVTS(4, 2, 3),
    ttc.DVTS(6, 3, 2, steps=ttc.Steps(ends="b")),
    ttc.BeamSearch(4, 2, 3, value=ttc.MonteCarloValue(3)),
    ttc.DVTS(4, 2, 2, value=ttc.MonteCarloValue(4, stop="all", certify=0.3)),
    ttc.MCTS(6, 2, 2, at_once=1),
    ttc.MCTS(8, 2, 3, 0.5, steps=ttc.Steps(ends="^a"), value=ttc.verifiers.Regex("a")),
    ttc.MCTS(5, 3, 1, value=ttc.MonteCarloValue(1)),
    ttc.MCTS(5, 1, 9, value=ttc.MonteCarloValue(2, stop="all", certify=None)),
    ttc.ParticleFilter(4, 3),
    ttc.ParticleFilter(3, 2, resample_below=1.0, seed=7, steps=ttc.Steps(ends="b"), value=ttc.MonteCarloValue(2)),
    ttc.ParticleFilter(5, 4, value=ttc.verifiers.Regex("a")),
    ttc.EarlyReject(3, below=0.6, after_step=1),
    ttc.EarlyReject(2, after_step=2, starts=5, depth=3, value=ttc.verifiers.Regex("a")),
    ttc.SpeculativeRejection(4, length=64),
    ttc.SpeculativeRejection(5, fractions=(0.2, 0.6), keep=0.3),
    ttc.Repair(),
    ttc.Repair(2, below=0.7, depth=3, value=ttc.verifiers.Regex("a")),
    ttc.DraftSteps("small"),
    ttc.DraftSteps("small", "large", below=0.7, depth=3, steps=ttc.Steps(ends="b")),
]
STEPS = (ttc.BeamSearch, ttc.DVTS, ttc.MCTS, ttc.ParticleFilter, ttc.EarlyReject, ttc.DraftSteps)
"""Those that draw step by step."""
STEERED = (ttc.BudgetForcing, ttc.ThinkLonger, *STEPS)
"""Those whose first draw is not the unchanged call."""


def steered(strategy):
    """Whether the first draw is not the unchanged call."""
    if isinstance(strategy, ttc.Repair):
        return strategy.value is not None
    if isinstance(strategy, ttc.SpeculativeRejection):
        return strategy.length is not None
    return isinstance(strategy, STEERED)
