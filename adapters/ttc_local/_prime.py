"""Reading a shared beginning of prompts once, for all slots of a server.

A slot of llama.cpp keeps the prompt that it has read last, and reads only what differs of the next; from another slot
it takes nothing, so of a cold fan-out each slot reads the whole prompt. Nor does `n` help later requests: the slots
that answer beside the first forget the prompt. But a slot can be saved to a file, and a file restored into any slot
(llama.cpp's server, `--slot-save-path`): some 23 kB a token for the embedded model, and milliseconds.
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ttc_middleware import TTCError

_SECONDS = 600.0
_FILE = "primed"


class PrimingFailed(TTCError):
    """Raised when a server refuses to read a prompt, or to copy it to its other slots."""


def prime(base_url: str, messages: Sequence[Mapping[str, Any]], slots: int, folder: Path) -> int:
    """Have one slot read a prompt, and copy what it has read to the others.

    Returns:
        The tokens that were read.
    """
    server = urlsplit(base_url).netloc
    asked = {"messages": list(messages), "max_tokens": 1, "id_slot": 0}
    read = _post(server, "/v1/chat/completions", asked)["usage"]["prompt_tokens"]
    if slots > 1:
        try:
            _post(server, "/slots/0?action=save", {"filename": _FILE})
            for slot in range(1, slots):
                _post(server, f"/slots/{slot}?action=restore", {"filename": _FILE})
        finally:
            (folder / _FILE).unlink(missing_ok=True)
    return int(read)


def _post(server: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    connection = http.client.HTTPConnection(server, timeout=_SECONDS)  # past any proxy
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        said = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise PrimingFailed(f"the server at {server} must answer {path}: {error!r}") from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise PrimingFailed(f"the server answers {path} with {response.status}: {said.decode(errors='replace'):.500}")
    answer: dict[str, Any] = json.loads(said)
    return answer


def slash(folder: str) -> str:
    """A folder's path as llama.cpp wants it: it puts file names right behind."""
    return os.path.join(folder, "")  # noqa: PTH118  # pathlib drops the slash
