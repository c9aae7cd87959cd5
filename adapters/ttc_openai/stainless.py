"""The SDK's machinery without its API, shared with the adapters of other SDKs by the same generator (Stainless).

They have the same choke point, `request(cast_to, options, *, stream, stream_cls)`, the same options, raw responses,
streams and copies of clients. Needs no openai.
"""

from ._chat import decoded
from ._client import wrapped
from ._meter import Adapter, Meter
from ._patches import Patches
from ._request import LOCAL, Request
from ._think import Spoken, think

__all__ = ["LOCAL", "Adapter", "Meter", "Patches", "Request", "Spoken", "decoded", "think", "wrapped"]
