"""Text that nobody vouches for, in a prompt: between a fence that it cannot close, and with nothing in it but text."""

from __future__ import annotations

import hashlib
import re
import secrets

_KEY = secrets.token_bytes(32)  # of this process: who writes a text cannot work out its fence

_LINE_ENDS = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
# What no reader sees and a model does: Unicode's Default_Ignorable_Code_Point (UAX #44), tags and selectors included.
_UNSEEN = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# What chat templates use to say who speaks: a server may read it as such even in the middle of a message.
_TEMPLATE = re.compile(
    r"<([|\uff5c][^|\uff5c<>\n]{1,64}[|\uff5c])>"
    r"|<(/?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|extra_\d{1,3}|think))>"
    r"|<(</?SYS>)>"
    r"|\[(/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS))\]",
    re.IGNORECASE,
)
_FENCE = re.compile(r"<(?=[\s/]{0,8}data-)", re.IGNORECASE)
_OPEN, _CLOSE = "\u2039", "\u203a"  # single angle quotation marks: read as brackets, and part of no template


def defused(text: str) -> str:
    """The text without control characters and invisible ones, and with the signs of chat templates put out of action.

    Letters, digits, punctuation and layout stay; `<|im_end|>` gets quotation marks for its brackets.
    """
    text = _UNSEEN.sub("", _LINE_ENDS.sub("\n", text))
    return _TEMPLATE.sub(_shown, _CONTROLS.sub("\ufffd", text))


def _shown(match: re.Match[str]) -> str:
    return f"{_OPEN}{next(each for each in match.groups() if each is not None)}{_CLOSE}"


def fresh() -> str:
    """A fence's number that nobody knows in advance."""
    return secrets.token_hex(16)


def keyed(name: str, text: str) -> str:
    """A fence's number that is the same for the same text, so that a prompt's beginning stays the same.

    Known to nobody who does not have this process's key.
    """
    return hashlib.blake2b(f"{name}\0{text}".encode(errors="surrogatepass"), key=_KEY, digest_size=16).hexdigest()


def fenced(name: str, text: str, number: str) -> str:
    """The text as a data block.

    No text can end its block: the number is not known to its author, and whatever looks like a fence is changed.
    """
    inside = _FENCE.sub(_OPEN, defused(text))
    return f'<data-{number} name="{name}">\n{inside}\n</data-{number}>'
