"""What the tests of the OpenAI adapter share."""

from __future__ import annotations

import ssl

import openai
import pytest

# Making one takes longer than most tests; nothing here speaks TLS.
_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

CHAT = {"model": "m", "messages": [{"role": "user", "content": "how many?"}]}
ASKED = {"model": "m", "input": "how many?"}

# The SDK itself leaves async generators to trio's care, its bare streams too.
streams_on_trio = pytest.mark.filterwarnings("ignore:Async generator '(openai|httpcore2?|httpx2?)\\.:ResourceWarning")


def blocking_client(provider, kind=openai.OpenAI, **options):
    http = openai.DefaultHttpxClient(verify=_TLS)
    return kind(base_url=provider.url, api_key="x", http_client=http, **options)


def async_client(provider, kind=openai.AsyncOpenAI, **options):
    http = openai.DefaultAsyncHttpxClient(verify=_TLS)
    return kind(base_url=provider.url, api_key="x", http_client=http, **options)


def exact(bill, provider):
    """The bill is the provider's own, to the token."""
    billed, total = provider.settled(), bill.total
    known = (total.calls, total.input_tokens, total.output_tokens, total.reasoning_tokens)
    assert known == (billed.requests, billed.prompt, billed.completion, billed.reasoning)
    assert bill.status == "exact"
