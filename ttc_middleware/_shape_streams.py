"""Adding up what the events of one stream say of its usage."""

from __future__ import annotations

from typing import Any

from ._shapes import Api, Told, fields, get, items, read_usage, whole

_LAST = ("response.completed", "response.incomplete", "response.failed")


class StreamUsage:
    """Takes in the events of one stream, as JSON or the SDK's objects, and says what they tell of its usage.

    Providers differ in when they tell: OpenAI in a last chunk, or in every chunk what was used so far (vLLM's
    `continuous_usage_stats`); Anthropic the prompt at the start and the rest at the end; Gemini what was used so far in
    every chunk; Bedrock in an event of its own. Counts are cumulative everywhere: a later one replaces an earlier. One
    that says nothing does not: an empty usage after the real one, or a 0 in the place of what was told before.

    Args:
        api: whose events they are, as in `read_usage()`.
    """

    def __init__(self, api: Api = "openai") -> None:
        self._api: Api = api
        self._usage: dict[str, Any] = {}
        self._around: dict[str, Any] = {}
        self._last = False

    def see(self, event: Any) -> None:
        """Take in an event; one that says nothing of usage is fine."""
        getattr(self, f"_see_{self._api}")(event)

    @property
    def told(self) -> Told:
        """What is known so far; `partial` until the provider's last word on it has come."""
        told = read_usage({**self._around, self._place: self._usage}, api=self._api)
        return told if self._last else told._replace(partial=told.usage is not None)

    @property
    def _place(self) -> str:
        return "usage_metadata" if self._api == "gemini" else "usage"

    def _merge(self, usage: Any) -> None:
        told = fields(usage).items()
        self._usage.update({name: value for name, value in told if value or self._usage.get(name) is None})

    def _see_openai(self, event: Any) -> None:
        response = get(event, "response")  # the responses API
        said = event if response is None else response
        usage, tier = get(said, "usage"), get(said, "service_tier")
        told = fields(usage)
        if any(map(whole, told.values())) or not self._usage:
            self._usage = dict(told)
        if tier is not None:
            self._around["service_tier"] = tier
        made = get(response, "output")
        if made:
            self._around["output"] = made
        ends = any(get(choice, "finish_reason") for choice in items(get(event, "choices")))
        self._last = self._last or ends or get(event, "type") in _LAST

    def _see_anthropic(self, event: Any) -> None:
        self._merge(get(event, "message", "usage"))
        delta = get(event, "usage") if get(event, "type") == "message_delta" else None
        self._merge(delta)
        self._last = self._last or delta is not None

    def _see_gemini(self, event: Any) -> None:
        self._merge(get(event, "usage_metadata") or get(event, "usageMetadata"))
        candidates = items(get(event, "candidates"))
        if any(get(each, "grounding_metadata") or get(each, "groundingMetadata") for each in candidates):
            self._around["candidates"] = candidates
        ends = any(get(each, "finish_reason") or get(each, "finishReason") for each in candidates)
        self._last = self._last or ends

    def _see_bedrock(self, event: Any) -> None:
        metadata = get(event, "metadata")
        stop = get(event, "messageStop")
        more = get(stop, "additionalModelResponseFields")
        if more is not None:
            self._around["additionalModelResponseFields"] = more
        if metadata is not None:
            self._merge(get(metadata, "usage"))
            self._around["serviceTier"] = get(metadata, "serviceTier")
            self._last = True
