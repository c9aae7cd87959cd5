"""The metrics. Their attributes have few values: no call site, no user, no text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import metrics

from ._spans import NAME

if TYPE_CHECKING:
    from ttc_middleware._types import Request
    from ttc_middleware._usage import Bill, Usage

_meter = metrics.get_meter(NAME)
_token_usage = _meter.create_histogram(
    "gen_ai.client.token.usage",
    unit="{token}",
    description="Tokens of a model call",
    explicit_bucket_boundaries_advisory=[4**power for power in range(14)],
)
_call_seconds = _meter.create_histogram(
    "gen_ai.client.operation.duration",
    unit="s",
    description="Duration of a model call",
    explicit_bucket_boundaries_advisory=[0.01 * 2**power for power in range(14)],
)
_search_seconds = _meter.create_histogram(
    "gen_ai.invoke_workflow.duration",
    unit="s",
    description="Duration of a search",
    explicit_bucket_boundaries_advisory=[1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200],
)
_reasoning = _meter.create_counter(
    "gen_ai.client.inference.usage.reasoning.output_tokens", unit="{token}", description="Thinking tokens"
)
_tokens = _meter.create_counter("ttc.tokens", unit="{token}", description="Tokens by what they were spent on")
_dollars = _meter.create_counter("ttc.cost", unit="{USD}", description="Dollars by what they were spent on")
_requests = _meter.create_counter("ttc.requests", unit="{request}", description="Model calls sent")

_SELECTED = {"visible": True, "reasoning": True, "discarded": False, "verifying": False, "routing": False}


def count_call(request: Request, usage: Usage | None, fault: str | None, seconds: float) -> None:
    """Count one model call, whoever tells its span."""
    common = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": request.provider,
        "gen_ai.request.model": request.model,
    }
    _requests.add(1, common)
    _call_seconds.record(seconds, common if fault is None else {**common, "error.type": fault})
    if usage is not None:
        _token_usage.record(usage.input_tokens, {**common, "gen_ai.token.type": "input"})
        _token_usage.record(usage.output_tokens, {**common, "gen_ai.token.type": "output"})
        if usage.reasoning_tokens:
            _reasoning.add(usage.reasoning_tokens, common)


def count_search(bill: Bill, seconds: float) -> None:
    """Count one search, its bill by phase."""
    _search_seconds.record(seconds, {"gen_ai.operation.name": "invoke_workflow"})
    for phase, selected in _SELECTED.items():
        part: Usage = getattr(bill, phase)
        attributes: dict[str, str | bool] = {"ttc.phase": phase, "ttc.selected": selected}
        if part.tokens:
            _tokens.add(part.tokens, attributes)
        if part.usd:
            _dollars.add(float(part.usd), attributes)
