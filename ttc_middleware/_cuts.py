"""What a call that was cancelled, timed out or cut is charged to a budget, and why that is mostly its whole hold.

What providers do when a client hangs up, as far as anybody has written it down (read in November 2026):

- They stop generating and billing, for streams only: OpenAI, Azure, Anthropic, Fireworks, Together, DeepInfra, Novita,
  Cohere, xAI, DeepSeek, Cloudflare. They go on, and bill the whole answer: Bedrock, Groq, Google, Mistral, Perplexity,
  Alibaba, SambaNova, Replicate; so does every request that does not stream. Source: OpenRouter's own observations
  (openrouter.ai/docs/api-reference/streaming, "Stream Cancellation"); we know of no such promise in the providers' own
  documents.
- vLLM and llama.cpp abort a request whose client has left, and what they made by then is all that it took (vLLM
  #32442: "requests do get aborted internally"; llama.cpp #24630). Versions exist that go on (vLLM #54947, llama.cpp
  #24496).

Even those who stop have charged for thinking that was never shown, so what came out of a stream is no upper bound: the
budget is charged the whole hold, and the bill says "lower bound" with the tokens that were seen. The exception is a
server of one's own, where nobody sends an invoice and thinking is streamed like the rest: of a stream that was
left there, the budget is charged the prompt and as many tokens as bytes were shown, which no tokenizer exceeds.
"""

from __future__ import annotations

from ._types import Request

_OWN = frozenset({
    "local", "hosted_vllm", "vllm", "llamafile", "lm_studio", "ollama", "ollama_chat", "oobabooga", "xinference",
})  # fmt: skip


_STOP = frozenset({
    "azure.ai.inference", "azure.ai.openai", "anthropic", "cloudflare", "cohere", "deepinfra", "deepseek",
    "fireworks_ai", "novita", "together_ai", "x_ai",
})  # fmt: skip


def stops_when_left(request: Request) -> bool:
    """Whether who is asked is known to stop a stream that is closed: see above."""
    if request.provider == "openai":  # which is also what servers are called that nobody knows
        return (request.server or "api.openai.com").endswith("openai.com")
    return request.provider in _STOP or self_hosted(request.provider)


def self_hosted(provider: str) -> bool:
    """Whether a provider, as in `gen_ai.provider.name`, is a server of one's own."""
    return provider in _OWN


def made_at_most(request: Request, shown: int) -> int | None:
    """Output tokens that a stream that was left can have been charged for; None: nobody knows.

    Args:
        request: what was asked.
        shown: bytes of text, thinking and tool calls that have come; 0: nothing has.
    """
    return shown if shown and request.stream and self_hosted(request.provider) else None
