"""What the tests of the Anthropic adapter share."""

from __future__ import annotations

import ssl

import anthropic
import pytest
from openai_clients import exact

__all__ = ["ASKED", "async_client", "blocking_client", "exact", "streams_on_trio"]

# Making one takes longer than most tests; nothing here speaks TLS.
_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

ASKED = {"model": "claude-opus-5", "max_tokens": 4_096, "messages": [{"role": "user", "content": "how many?"}]}

# The SDK itself leaves async generators to trio's care, its bare streams too.
streams_on_trio = pytest.mark.filterwarnings(
    "ignore:Async generator '(anthropic|httpcore2?|httpx2?)\\.:ResourceWarning"
)


def blocking_client(provider, kind=anthropic.Anthropic, **options):
    options = options or {"api_key": "x"}
    return kind(base_url=provider.host, http_client=anthropic.DefaultHttpxClient(verify=_TLS), **options)


def async_client(provider, kind=anthropic.AsyncAnthropic, **options):
    options = options or {"api_key": "x"}
    return kind(base_url=provider.host, http_client=anthropic.DefaultAsyncHttpxClient(verify=_TLS), **options)
