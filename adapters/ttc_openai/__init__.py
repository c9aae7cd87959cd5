"""OpenAI clients with test-time compute: `client = ttc_openai.wrap(AsyncOpenAI(), ttc.SelfConsistency(8))`.

Works with openai 2 and 3, with Azure's clients, and with every server that speaks the protocol: async and sync, chat
completions and responses, `parse()`, streams and stream helpers, raw responses.
"""

from ._ask import ask
from ._chat import Chat
from ._responses import Responses
from ._wrap import instrument, uninstrument, wrap

__all__ = ["Chat", "Responses", "ask", "instrument", "uninstrument", "wrap"]
