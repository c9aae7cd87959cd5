"""OpenAI's protocol without its SDK: what the adapters of other clients that speak it share with this one."""

from ._chat import Chat
from ._meter import Meter
from ._responses import Responses
from ._sizes import bound_sizes
from ._streams import AsyncMetered, AsyncReplayed, Metered, Replayed
from ._think import Spoken, note, think, told_to, with_scratchpad
from ._unscratch import has_scratchpad, unscratched, unscratched_events
from ._usage import get

__all__ = [
    "AsyncMetered", "AsyncReplayed", "Chat", "Meter", "Metered", "Replayed", "Responses", "Spoken", "bound_sizes",
    "get", "has_scratchpad", "note", "think", "told_to", "unscratched", "unscratched_events",
    "with_scratchpad",
]  # fmt: skip
