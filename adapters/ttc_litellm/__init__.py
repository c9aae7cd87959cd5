"""LiteLLM with test-time compute: its calls, a `Router`'s included, are seen and steered inside draws.

`ttc.instrument()`, which the first scaled function calls, does this as soon as the program imports litellm. It changes
litellm's functions in place, so that `from litellm import acompletion` before it makes no difference; works for every
provider, sync and async, streams included. `wrap(litellm.acompletion, …)`, or a router, gives a copy whose calls are
scaled.
"""

from ._ask import ask
from ._completion import Completion
from ._patch import instrument, uninstrument
from ._responses import Responses
from ._wrap import wrap

__all__ = ["Completion", "Responses", "ask", "instrument", "uninstrument", "wrap"]
