"""What the tests' config.yaml names; what happens in the proxy is written down, a line of JSON for each event."""

from __future__ import annotations

import json
import os

from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import UserAPIKeyAuth
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

import ttc_litellm
import ttc_middleware as ttc


def note(**event):
    with open(os.environ["EVENTS"], "a", encoding="utf-8") as events:  # noqa: PTH123  # the shortest way to append
        events.write(json.dumps(event) + "\n")


class Spans(SpanExporter):
    def export(self, spans):
        for span in spans:
            note(span=span.name, **{name: str(value) for name, value in (span.attributes or {}).items()})
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Spans()))
trace.set_tracer_provider(provider)


class Log(CustomLogger):
    """LiteLLM's own account of what was called, as its integrations get it."""

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.note("success", kwargs)

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        self.note("failure", kwargs)

    def note(self, kind, kwargs):
        said = kwargs["standard_logging_object"]
        note(
            logged=kind,
            call=kwargs["litellm_call_id"],
            trace=said["trace_id"],
            cost=said["response_cost"],
            tokens=said["total_tokens"],
            user=said["metadata"]["user_api_key_user_id"],
            model=said["model_group"],
        )


async def let_in(request, api_key):
    """A key says who it is: "user.team", or "user.team.1" for one request at a time."""
    user, team, *parallel = api_key.split(".")
    return UserAPIKeyAuth(api_key=api_key, user_id=user, team_id=team, max_parallel_requests=len(parallel) or None)


def is_two(reply) -> bool:
    if hasattr(reply, "output_text"):
        return reply.output_text == "answer 2"
    return reply.choices[0].message.content == "answer 2"


ttc.configure(budget_per={"team": ttc.Budget(tokens=50_000_000)})

log = Log()
best = ttc_litellm.ProxyHook(ttc.BestOfN(4, stop="all"), models=["best"], verifier=ttc.verifiers.Exact("answer 2"))
first = ttc_litellm.ProxyHook(ttc.BestOfN(4), models=["first"], verifier=ttc.verifiers.Exact("answer 2"))
once = ttc_litellm.ProxyHook(ttc.Single(), models=["once"])
strict = ttc_litellm.ProxyHook(ttc.BestOfN(2), models=["strict"], verifier=lambda reply: False, on_reject="raise")
