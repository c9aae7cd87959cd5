"""Anthropic clients with test-time compute: `client = ttc_anthropic.wrap(AsyncAnthropic(), ttc.SelfConsistency(8))`.

Works with the clients of every platform (Anthropic, Bedrock, Vertex, Foundry, AWS, Google Cloud), async and sync:
messages and beta messages, `parse()`, streams and stream helpers, tool runners, raw responses.
"""

from ._ask import ask
from ._messages import Messages
from ._wrap import instrument, uninstrument, wrap

__all__ = ["Messages", "ask", "instrument", "uninstrument", "wrap"]
