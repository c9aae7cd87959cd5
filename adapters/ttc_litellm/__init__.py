"""LiteLLM with test-time compute: its calls, a `Router`'s included, are seen and steered inside draws.

`ttc.instrument()`, which the first scaled function calls, does this as soon as the program imports litellm. It changes
litellm's functions in place, so that `from litellm import acompletion` before it makes no difference; works for every
provider, sync and async, streams included. `wrap(litellm.acompletion, …)`, or a router, gives a copy whose calls are
scaled. `ProxyHook(…)` scales requests to LiteLLM's proxy.

Importing this imports no litellm. Where litellm is imported, it asks the network for its newest table of prices, before
anything else runs, and takes the one that it came with only after 5 s without an answer; with
`LITELLM_LOCAL_MODEL_COST_MAP=True` in the environment, at once. That is left to you, because it decides about prices.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from ._ask import ask
from ._completion import Completion
from ._patch import instrument, uninstrument
from ._responses import Responses
from ._wrap import wrap

if _TYPE_CHECKING:
    from ._proxy import ProxyHook

__all__ = ["Completion", "ProxyHook", "Responses", "ask", "instrument", "uninstrument", "wrap"]


def __getattr__(name: str) -> _Any:
    if name == "ProxyHook":  # its base is a class of litellm's
        from ._patch import checked  # noqa: PLC0415  # as above

        checked()
        from ._proxy import ProxyHook  # noqa: PLC0415  # as above

        return ProxyHook
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
