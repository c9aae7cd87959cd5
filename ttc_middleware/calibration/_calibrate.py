"""How much thinking pays: `calibrate_thinking()` runs a function at several thinking budgets and compares."""

from __future__ import annotations

import inspect
import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import anyio.to_thread

from ttc_middleware._answers import answer_key
from ttc_middleware._budget import Budget
from ttc_middleware._policy import Policy, policy, tracking
from ttc_middleware._scale import scale
from ttc_middleware._site import disabled
from ttc_middleware._verify import prepare
from ttc_middleware._wrapped import ScaledFunction
from ttc_middleware.strategies.single import Single
from ttc_middleware.thinking._amount import ThinkingLike

if TYPE_CHECKING:
    from ._figures import Run
    from ._file import RunFile
    from ._result import Calibration


async def calibrate_thinking(
    fn: Callable[..., Any],
    problems: Iterable[Any],
    budgets: Sequence[ThinkingLike],
    verifier: Any = None,
    *,
    samples: int = 1,
    by: Callable[[Any], Hashable | None] | None = None,
    choose: Literal["vote", "verifier"] = "vote",
    accept: float = 1.0,
    confidence: float = 0.95,
    budget: Budget | None = None,
    file: str | os.PathLike[str] | None = None,
    content: bool = False,
    at_once: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Measure what thinking buys: accuracy, tokens, dollars and seconds of a function at each thinking budget.

    Every problem is run `samples` times at every budget, one problem after the other, so that a calibration that is
    stopped early has whole problems to compare; bring them in a random order. Only these are counted: all comparisons
    are paired, with intervals by a bootstrap of problems (1,000 resamples, seeded, like the tests: the same runs give
    the same figures).

    - `sweet_spot`: the cheapest budget (by dollars, else tokens, else the order given) that is not significantly below
      the best one: the interval of the paired difference reaches 0.
    - `decline`: whether more thinking made answers worse anywhere, as in Gema et al. 2025, "Inverse Scaling in
      Test-Time Compute", and Ghosal et al. 2025, "Does Thinking More always Help?": a one-sided, paired randomisation
      test of the largest drop from any budget to a larger one, with the looking for the peak paid for.
    - `versus`: longer or wider: one sample at a larger budget against as many samples at a smaller one as the same
      tokens pay for; needs `samples` of at least 2.

    A fault of the service (rate limits, broken connections) says nothing of thinking: such a run is not counted, and
    made again when the file is resumed. Whatever else the function raises is a wrong answer. What a run costs is what
    it was billed; verifications are in `spent` alone.

    Args:
        fn: a function, decorated or not, sync or async. It is drawn once a run, whatever strategy and limits it was
            decorated with.
        problems: what it is called with: a mapping gives it the arguments that it has by name (what is over is for the
            verifier alone, such as a right answer); anything else is its only argument. Their `repr` should tell them
            apart, and stay the same for a file to be resumed.
        budgets: from the least thinking to the most: tokens, efforts, as in `policy(thinking=)`.
        verifier: what is right, as in `scale()`, with the problem's arguments by name; a plain function runs on the
            loop. None: what `fn` was decorated with.
        samples: of each problem at each budget, from 1.
        by: the answer that an output stands for in a vote, as in `SelfConsistency(by=)`.
        choose: how one of several samples is chosen in the tables of wider spending: "vote", or "verifier", for
            verifiers that are there in use, too. Since it also says what is right, that is the share of problems that
            any of n samples solves.
        accept: the score from which an answer is right, as in `scale(accept=)`.
        confidence: of each interval, between 0 and 1; the tests are significant at 1 minus this.
        budget: where to stop: what was paid for until then is kept and reported, with `stopped=True`.
        file: where every run is kept as it ends, a line of JSON each; an existing one is resumed, and not paid twice.
        content: keep problems and outputs in the file, too. Otherwise it has digests.
        at_once: runs under way at a time, from 1.
        progress: called with how many runs are done and how many there are, after each.

    Raises:
        ValueError: there are no problems or budgets, budgets do not rise, or a number is out of its range; or the file
            is of another calibration.
        TypeError: there is no verifier, or it cannot be one; or `fn` cannot take the problems.
        PriceUnknown, BudgetUnenforceable: as for any budget.
        OSError: the file cannot be read or written.
        Exception: what `fn` raises, where it has nothing else to offer from the start.
    """
    from ._figures import figures_of  # noqa: PLC0415  # as above
    from ._file import RunFile  # noqa: PLC0415  # as above
    from ._result import Calibration  # noqa: PLC0415  # only for those who calibrate
    from ._work import Work  # noqa: PLC0415  # as above

    if disabled():
        raise RuntimeError("calibrate_thinking() scales, and TTC_DISABLED is set")
    _check(samples, at_once, confidence, accept, choose)
    policies = _policies(budgets)
    plain: ScaledFunction[..., Any] = cast("Any", fn) if isinstance(fn, ScaledFunction) else scale(Single())(fn)
    ready = plain.drawn_once()
    judged_by = verifier if verifier is not None else plain.verifier
    if judged_by is None:
        raise TypeError("calibrate_thinking() needs a verifier: give one, or a function that was decorated with one")
    given = list(problems)
    if not given:
        raise ValueError("problems is empty: there is nothing to calibrate on")
    check = prepare(judged_by, None)
    signature = inspect.signature(ready)
    calls = [_arguments(signature, problem) for problem in given]
    kept = RunFile(file, {"name": ready.__name__, "verifier": check.name, "accept": accept}, content=content)
    try:
        named = _named(given, kept)
        jobs = [
            (name, call, problem, text, each)
            for name, call, problem in zip(named, calls, given, strict=True)
            for text in policies
            for each in range(samples)
        ]
        known = {(run.problem, run.budget, run.sample) for run in kept.runs if not run.cut}
        waiting = [job for job in jobs if (job[0], job[3], job[4]) not in known]
        work = Work(ready, check, accept, answer_key(by), policies, kept, len(jobs), len(waiting), progress)
        with tracking() as bill, policy(budget=budget):
            await work.all(waiting, at_once, limited=budget is not None)
    finally:
        kept.close()
    cells: dict[tuple[str, str], list[Run]] = {}
    for run in {(run.problem, run.budget, run.sample): run for run in kept.runs if not run.cut}.values():
        if run.sample < samples and run.budget in policies:
            cells.setdefault((run.problem, run.budget), []).append(run)
    complete = [name for name in named if all(len(cells.get((name, text), ())) == samples for text in policies)]
    figures = partial(figures_of, samples=samples, chosen_by=choose, confidence=confidence)
    # Thousands of resamples take their time.
    found = await anyio.to_thread.run_sync(figures, cells, complete, list(policies))
    return Calibration(
        name=ready.__name__,
        confidence=confidence,
        problems=len(complete),
        samples=samples,
        rows=found.rows,
        sweet_spot=found.sweet_spot,
        decline=found.decline,
        wider=found.wider,
        versus=found.versus,
        chosen_by=choose,
        runs=len(kept.runs),
        left_out=len(kept.runs) - len(complete) * len(policies) * samples,
        faults=work.faults,
        stopped=work.stopped,
        spent=bill.bill.to_dict(),
    )


def _check(samples: int, at_once: int, confidence: float, accept: float, choose: str) -> None:
    for name, value in (("samples", samples), ("at_once", at_once)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is a whole number from 1, not {value!r}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence lies between 0 and 1, not {confidence!r}")
    if not 0 < accept <= 1:
        raise ValueError(f"accept is a score above 0 and up to 1, not {accept!r}")
    if choose not in ("vote", "verifier"):
        raise ValueError(f'choose is "vote" or "verifier", not {choose!r}')


def _policies(budgets: Sequence[ThinkingLike]) -> dict[str, Policy]:
    """A policy for each budget, by how it is called in the figures."""
    if not budgets:
        raise ValueError("budgets is empty: there is nothing to compare")
    tokens = [each for each in budgets if isinstance(each, int)]
    if tokens != sorted(set(tokens)):
        raise ValueError(f"budgets rise from the least thinking to the most, not {list(budgets)!r}")
    made = {str(each): policy(Single(), thinking=each, on_reject="best", scope="function") for each in budgets}
    if len(made) < len(budgets):
        raise ValueError(f"budgets differ from one another, not {list(budgets)!r}")
    return made


def _arguments(signature: inspect.Signature, problem: Any) -> inspect.BoundArguments:
    """How the function is called with a problem.

    Raises:
        TypeError: it cannot be.
    """
    if not isinstance(problem, Mapping):
        return signature.bind(problem)
    named = cast("Mapping[str, Any]", problem)
    everything = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in signature.parameters.values())
    return signature.bind(**{key: each for key, each in named.items() if everything or key in signature.parameters})


def _named(problems: Sequence[Any], kept: RunFile) -> list[str]:
    """A name for each problem that it will have again: of its contents, and of which of several equal ones it is."""
    seen: Counter[str] = Counter()
    names: list[str] = []
    for problem in problems:
        digest = kept.digest(problem)
        names.append(digest if not seen[digest] else f"{digest}.{seen[digest]}")
        seen[digest] += 1
    return names
