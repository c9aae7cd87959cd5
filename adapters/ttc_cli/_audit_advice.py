"""What would be worth a test at a call site: each with the figures that speak for it, and none without.

Nobody has looked at prompts, answers or what the program does with them. So none of this is proof, and nothing is said
on fewer than five calls.
"""

from __future__ import annotations

from collections.abc import Sequence

from ._audit_calls import Observed
from ._audit_figures import Place, runs
from ._spent import Spent, add_up
from ._spreads import quantile
from ._waste import ENOUGH, Finding

MANY = 20
"""Calls below which the twentieth part of them says nothing."""
_FAR = 3
_HALF = 0.5
_RULES = (
    f"Nothing is suggested on fewer than {ENOUGH} calls, a cap on fewer than {MANY}. At stake is the most that could be"
    " saved, not what would be."
)


def rules() -> str:
    """What has to be there before anything is said."""
    return _RULES


def advice(places: Sequence[Place]) -> list[Finding]:
    """What stands out, the costliest first."""
    tests = (_in_a_row, _cache, _cut, _cap, _thinking, _json, _code)
    found = [finding for place in places for test in tests if (finding := test(place)) is not None]
    return sorted(found, key=lambda each: (-each.spent.usd, -each.spent.tokens, each.name))


def _in_a_row(place: Place) -> Finding | None:
    rows = [row for row in runs(place) if any(call.temperature != 0 for call in row)]
    again = [call for row in rows for call in row[1:]]
    if len(again) < ENOUGH:
        return None
    failed = sum(not call.called.answered for row in rows for call in row[:-1])
    after = f", {failed:,} of them after a call that failed" if failed else ""
    longest = max(len(row) for row in rows)
    said = (
        f"{len(again):,} calls repeat the one just before them{after}, up to {longest:,} equal requests in a row: if"
        " that is a retry, a vote or a best-of, a search stops it at the first accepted answer, and at a budget"
    )
    return Finding(place.name, f"ttc.scale(ttc.BestOfN({longest}), verifier=…)", said, _sum(again))


def _cache(place: Place) -> Finding | None:
    """Calls in a row are told apart: they want other answers, unless they are at temperature 0."""
    rows = {id(call) for row in runs(place) for call in row[1:] if call.temperature != 0}
    again = [call for call in place.repeats if id(call) not in rows]
    if len(again) < ENOUGH:
        return None
    cold = sum(call.temperature == 0 for call in again)
    those = f"{cold:,} of them at temperature 0" if cold else "none of them at temperature 0, so answers may differ"
    requests = len({call.asked for call in again})
    several = f"{requests:,} request{'' if requests == 1 else 's'}"
    said = f"{len(again):,} calls ask what had been answered before ({several}), {those}"
    return Finding(place.name, "a cache", said, _sum(again))


def _cut(place: Place) -> Finding | None:
    cut = [call for call in place.calls if call.truncated]
    if len(cut) < ENOUGH:
        return None
    said = f"{len(cut):,} of {len(place.calls):,} answers ended at the limit of tokens: paid for, and not finished"
    return Finding(place.name, "a higher max_tokens, or less to say", said, _sum(cut))


def _cap(place: Place) -> Finding | None:
    free = [call for call in place.calls if call.called.answered and not call.capped and not call.spent.unseen]
    if len(free) < MANY:
        return None
    outputs = [call.spent.output for call in free]
    middle, far = quantile(outputs, _HALF), quantile(outputs, 0.95)
    over = [output - far for output in outputs if output > far]
    if not over or far < _FAR * max(middle, 1):
        return None
    said = (
        f"{len(free):,} calls without max_tokens: output p50 {middle:,.0f}, p95 {far:,.0f} ({far / max(middle, 1):.1f}"
        f" times that), most {max(outputs):,}. A cap at the p95 would have cut {len(over):,} short"
    )
    return Finding(place.name, f"max_tokens={far:.0f}", said, Spent(output=int(sum(over)), unpriced=1))


def _thinking(place: Place) -> Finding | None:
    thought = [call for call in place.calls if call.called.answered and call.called.reasoning and not call.spent.unseen]
    hidden, whole = sum(call.called.reasoning or 0 for call in thought), sum(call.spent.output for call in thought)
    if len(thought) < ENOUGH or hidden < _HALF * whole:
        return None
    by_request: dict[str, list[int]] = {}
    for call in thought:
        by_request.setdefault(call.asked or str(id(call)), []).append(call.called.reasoning or 0)
    spreads = [(max(each) / min(each), each) for each in by_request.values() if len(each) > 1]
    alike = ""
    if spreads:
        ratio, widest = max(spreads)
        alike = f"; one and the same request took {min(widest):,} to {max(widest):,} ({ratio:.1f} times as much)"
    said = f"{hidden / whole:.0%} of the output of {len(thought):,} calls is thinking, which nobody reads{alike}"
    return Finding(place.name, 'thinking="low"', said, Spent(output=hidden, unpriced=1))


def _json(place: Place) -> Finding | None:
    asked = [call for call in place.calls if call.format and call.alone and call.called.answered]
    if len(asked) < ENOUGH:
        return None
    looked = [call for call in asked if call.parses is not None]
    broken = [call for call in looked if not call.parses]
    forms = " and ".join(sorted({call.format for call in asked}))
    found = f"{len(broken):,} of {len(looked):,} are none" if broken else "all that were looked at parse"
    said = (
        f"{len(asked):,} answers were asked for as JSON ({forms}), {found}: their values could be checked, and a wrong"
        " one drawn again"
    )
    return Finding(place.name, "verifier=ttc.verifiers.Schema(…)", said, _sum(broken))


def _code(place: Place) -> Finding | None:
    answered = [call for call in place.calls if call.alone and call.called.answered]
    code = [call for call in answered if call.code and not call.format]
    if len(code) < ENOUGH or len(code) < _HALF * len(answered):
        return None
    said = f"{len(code):,} of {len(answered):,} answers have a code block: if it is run, tests can say which is right"
    return Finding(place.name, "verifier=ttc.verifiers.UnitTests(…)", said, _sum([]))


def _sum(calls: Sequence[Observed]) -> Spent:
    return add_up(call.spent for call in calls)
