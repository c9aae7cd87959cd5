"""Going on with a partial answer: asking a server to, finding out whether it does, and reading the whole answer.

Chat APIs begin a new answer after an assistant's message; servers of one's own can go on with it:

- llama.cpp (read in its code, and tried with xllamacpp 2026.10) does so wherever the last message is an assistant's,
  and gives the whole answer back, the partial one included. A chat template with thinking of its own puts an empty
  block of thinking before whatever is partial, unless the thoughts come as `reasoning_content`, whose block it leaves
  open until `continue_final_message` is "content".
- vLLM (its documentation, "extra parameters" of chat completions) does so with `continue_final_message=True` and
  `add_generation_prompt=False`, and gives the whole answer back with `echo=True`.

Both ignore what is meant for the other. Whoever gives a made-up word back has been given it to go on with: an answer of
one token has no room for that word, so it is not the model's own.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Literal, Optional, cast

from ttc_middleware import Call
from ttc_middleware.seam import get

Way = Literal["no", "text", "thoughts"]
"""How a server goes on: not at all; with any text; and with thoughts, in the block that its template has for them."""

OPEN, CLOSE = "<think>\n", "</think>"
_SWITCH = "continue_final_message"
_WORDS: Mapping[str, Any] = {
    _SWITCH: True, "add_generation_prompt": False, "echo": True,
    "reasoning_format": "none",  # llama.cpp: the thoughts stay in the text, where they were
}  # fmt: skip
_BINDS = (
    "response_format", "grammar", "json_schema", "structured_outputs", "guided_json", "guided_regex", "guided_choice",
    "guided_grammar", "tools", "tool_choice", "functions", "function_call",
)  # fmt: skip
"""What binds an answer, and not the thoughts before it."""
_WORD = "qzx-7f3a-vortle-91"
_REFUSED = range(400, 500)
_LATER = (401, 403, 408, 409, 425, 429)

Place = tuple[Optional[str], Optional[int], str]
"""Host, port and model."""
ways: dict[Place, Way] = {}
"""What is known by now."""


def asking(body: Mapping[str, Any], text: str, way: Way) -> dict[str, Any]:
    """A request to go on with a text.

    Args:
        body: the request's keywords.
        text: the partial answer.
        way: how its server goes on.
    """
    message = {"role": "assistant", "content": text}
    words = dict(_WORDS)
    if text.startswith(OPEN) and CLOSE not in text:
        body = {name: value for name, value in body.items() if name not in _BINDS}
    if way == "thoughts" and text.startswith(OPEN):
        thoughts, closed, rest = text.removeprefix(OPEN).partition(CLOSE)
        thoughts, rest = thoughts.removesuffix("\n") if closed else thoughts, rest.removeprefix("\n\n")
        # Without any, the server would take it for no message at all.
        message = {"role": "assistant", "content": rest, "reasoning_content": thoughts or "\n"}
        if closed:
            words[_SWITCH] = "content"
        words["chat_template_kwargs"] = {"enable_thinking": True, **(body.get("chat_template_kwargs") or {})}
    return {**body, "messages": [*(body.get("messages") or ()), message], **words}


def apart(response: Any, body: Mapping[str, Any], asked: Mapping[str, Any]) -> Any:
    """The response to a request to go on, with thoughts that are complete where servers put them; others as they are.

    They are taken off the text and come as `message.reasoning_content`.

    Args:
        response: of the SDK.
        body: what was sent.
        asked: what the caller asked.
    """
    choices: list[Any] = get(response, "choices") or []
    if not body.get(_SWITCH) or _SWITCH in asked or not choices or not hasattr(response, "model_copy"):
        return response
    return response.model_copy(update={"choices": [_apart(choice) for choice in choices]})


def _apart(choice: Any) -> Any:
    text = get(choice, "message", "content")
    if not isinstance(text, str) or not text.startswith(OPEN) or CLOSE not in text:
        return choice
    thoughts, _, answer = text.removeprefix(OPEN).partition(CLOSE)
    new = {"content": answer.lstrip(), "reasoning_content": thoughts.strip()}
    return choice.model_copy(update={"message": choice.message.model_copy(update=new)})


def finding_out(call: Call, place: Place) -> Generator[Call, Any, Way]:
    """Ask a server, with one or two requests of one token, how it goes on: yields each, is sent its response or error.

    Raises:
        Exception: what the server says when it is busy, say, or the key is wrong; the next call asks again.
    """
    if place not in ways:
        way: Way = "no"
        for tried, text in (("text", _WORD), ("thoughts", OPEN + _WORD)):
            response = yield _question(call, text, cast("Way", tried))
            if _given_back(response, _WORD) is False:
                break
            way = cast("Way", tried)
        ways[place] = way
    return ways[place]


def _question(call: Call, text: str, way: Way) -> Call:
    asked = call.arguments
    limit = "max_completion_tokens" if "max_completion_tokens" in asked else "max_tokens"
    body = {"model": asked.get("model"), "messages": [{"role": "user", "content": "Hello."}], limit: 1}
    return Call(name=call.name, arguments=asking(body, text, way))


def _given_back(response: Any, word: str) -> bool:
    status = getattr(response, "status_code", None)
    if isinstance(response, BaseException):
        if status not in _REFUSED or status in _LATER:
            raise response
        return False
    choices = get(response, "choices") or [None]
    return word in str(get(choices[0], "message", "content") or "")
