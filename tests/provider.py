"""A provider on loopback that counts what it bills: a real HTTP server that speaks OpenAI's protocol, and Anthropic's.

`Provider(script)` asks the script what to answer: a function of the request's body and its number (from 0), returning a
`Reply`. Usage is deterministic: every word of the prompt and of the answer is a token.
"""

from __future__ import annotations

import base64
import gzip
import json
import select
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import Self


@dataclass
class Reply:
    """What one request gets."""

    text: str | None = "ok"
    reasoning: int = 0
    """Thinking tokens, part of the completion."""
    thought: str | None = None
    """What a message of Anthropic's shows of its thinking."""
    delay: float = 0.0
    """Seconds before the answer; a client that leaves meanwhile is counted as aborted."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: str = "the provider says no"
    fault: str | None = None
    """"html", "empty choices", "no usage", "cut json", "cut stream", "error event", "empty body", "short body",
    "reset", "slow headers", "slow body", "endless", "endless line", "endless event",
    "bomb", "no finish"."""
    cut_after: int = 2
    """Events of a stream before a fault."""
    finish: str = "stop"
    refusal: str | None = None
    tool_calls: list[tuple[str, str]] = field(default_factory=list)
    ignore_n: bool = False
    """Answer with one choice, whatever was asked."""
    pause: float = 0.0
    """Seconds between the chunks of a stream, or of what never ends."""
    chunks: list[dict[str, Any]] | None = None
    """Stream these events instead of those that make the text."""
    words: int = 1
    """Words in a chunk of a stream of chat completions."""
    spent: int | None = None
    """Tokens of the text, where they are not its words: it repeats what it goes on with, say."""
    usage: dict[str, Any] = field(default_factory=dict)
    """More fields of the usage, such as a cost."""
    choice: dict[str, Any] = field(default_factory=dict)
    """More fields of a chat completion's choice, such as vLLM's `stop_reason`."""
    logprob: float | None = None
    """Of each word of a chat completion, where the request asks for them."""


_ENOUGH = 10**9  # bytes: no client that is right takes in so much
_BOMB = 128 * 2**20  # bytes, before they are compressed

Script = Callable[[dict[str, Any], int], Reply]


@dataclass
class Billed:
    """What the provider has charged for."""

    requests: int = 0
    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    aborted: int = 0
    """Requests whose client went away before the answer was complete; not charged."""
    in_flight: int = 0
    peak: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt + self.completion


def words(body: dict[str, Any]) -> int:
    """The prompt's tokens."""
    said = body.get("messages", body.get("input", ""))
    return len(json.dumps(said).split())


class Provider:
    """The server; a context manager."""

    def __init__(self, script: Script | None = None) -> None:
        self.script: Script = script or (lambda body, number: Reply())
        self.billed = Billed()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.most_sent = 0
        """Bytes of one answer that never ends, as far as the client has taken it in."""
        self._lock = threading.Condition()
        provider = self

        class Handler(_Handler):
            pass

        Handler.provider = provider
        self._server = _Server(("127.0.0.1", 0), Handler)
        self.host = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.host}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def sockets(self) -> int:
        """Connections that are open."""
        return len(self._server.sockets)

    def settled(self) -> Billed:
        """What is billed once nothing is in flight: a client that left early is noticed some time after it left."""
        with self._lock:
            assert self._lock.wait_for(lambda: not self.billed.in_flight, timeout=30), "requests are still in flight"
            return self.billed

    def wait_for(self, requests: int) -> None:
        """Block until so many requests are in flight."""
        with self._lock:
            assert self._lock.wait_for(lambda: self.billed.in_flight >= requests, timeout=30)

    def reset(self) -> None:
        self.settled()
        with self._lock:
            self.billed = Billed()
            self.bodies.clear()
            self.headers.clear()
            self.paths.clear()

    def started(self, body: dict[str, Any], headers: dict[str, str], path: str) -> int:
        with self._lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.headers.append(headers)
            self.paths.append(path)
            self.billed.requests += 1
            self.billed.in_flight += 1
            self.billed.peak = max(self.billed.peak, self.billed.in_flight)
            self._lock.notify_all()
        return number

    def book(self, usage: dict[str, int], sign: int = 1) -> None:
        with self._lock:
            self.billed.prompt += sign * usage["prompt"]
            self.billed.completion += sign * usage["completion"]
            self.billed.reasoning += sign * usage["reasoning"]

    def ended(self) -> None:
        with self._lock:
            self.billed.in_flight -= 1
            self._lock.notify_all()

    def aborted(self) -> None:
        with self._lock:
            self.billed.aborted += 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.sockets: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.sockets.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are the tests' business, not the log's."""


class _Handler(BaseHTTPRequestHandler):
    disable_nagle_algorithm = True  # the body would wait 40 ms for the headers to be acknowledged
    protocol_version = "HTTP/1.1"
    provider: Provider
    owed: dict[str, int] | None = None
    """What this answer costs; booked before its last byte leaves, so that who has an answer finds it booked."""
    booked: dict[str, int] | None = None

    def log_message(self, *args: Any) -> None:
        pass

    def _last(self, content: bytes) -> None:
        """Send the end of an answer."""
        if self.owed is not None and self.booked is None:
            self.booked = self.owed
            self.provider.book(self.owed)
        self.wfile.write(content)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        headers = {name.lower(): value for name, value in self.headers.items()}
        number = self.provider.started(body, headers, self.path)
        self.owed = self.booked = None
        try:
            reply = self.provider.script(body, number)
            if reply.delay and self._left_within(reply.delay):
                self.provider.aborted()
                self.close_connection = True
                return
            self._answer(body, reply)
            if self.owed is not None and self.booked is None:  # a cut answer has no end
                self.provider.book(self.owed)
        except (BrokenPipeError, ConnectionResetError):
            if self.booked is not None:
                self.provider.book(self.booked, -1)
            self.provider.aborted()
            self.close_connection = True
        finally:
            self.provider.ended()

    def _left_within(self, seconds: float) -> bool:
        """Wait; True if the client hung up meanwhile."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            readable, _, _ = select.select([self.connection], [], [], min(left, 0.05))
            if readable:
                with suppress(OSError):
                    if self.connection.recv(1, socket.MSG_PEEK) == b"":
                        return True
                    time.sleep(min(left, 0.01))
        return False

    def _answer(self, body: dict[str, Any], reply: Reply) -> None:
        if reply.status != 200:
            self._json({"error": {"message": reply.error, "type": "error", "code": None}}, reply.status, reply.headers)
            return
        if reply.fault == "html":
            self._raw(b"<html><body>Bad gateway</body></html>", "text/html")
            return
        n = 1 if reply.ignore_n else int(body.get("n") or 1)
        visible = len((reply.text or "").split()) + sum(len(args.split()) + 1 for _, args in reply.tool_calls)
        visible = visible if reply.spent is None else reply.spent
        usage = {"prompt": words(body), "completion": n * (visible + reply.reasoning), "reasoning": n * reply.reasoning}
        self.owed = usage
        kind = self.path.split("?")[0].rsplit("/", 1)[-1]
        if kind == "messages" or "/invoke" in self.path or "awPredict" in self.path:  # Bedrock's, and Vertex's
            body = {"model": self.path.split("/")[-2 if "/invoke" in self.path else -1], **body}
            answer, events = _message(body, reply, usage), _message_events
        elif kind == "responses":
            answer, events = _response(body, reply, usage), _events
        else:
            answer, events = _completion(body, reply, usage, n), partial(_chunks, body=body, words=reply.words)
        if self._broken(json.dumps(answer).encode(), reply, streamed=bool(body.get("stream"))):
            return
        if body.get("stream") or self.path.endswith("-response-stream"):
            self._stream(events(answer), reply)
        else:
            self._json(answer, 200, reply.headers)

    def _broken(self, answer: bytes, reply: Reply, *, streamed: bool) -> bool:
        """Send what is no answer; False where an answer is meant."""
        if reply.fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise ConnectionResetError
        if reply.fault == "slow headers":
            self._go_on(b"HTTP/1.1 200 OK\r\n", reply)
        if reply.fault in ("cut json", "empty body"):
            self._raw(answer[:40] if reply.fault == "cut json" else b"", "application/json")
            return True
        if reply.fault not in ("slow body", "endless", "bomb", "short body") or streamed:
            return False
        self.send_response(200)
        self.send_header("content-type", "application/json")
        if reply.fault == "bomb":
            self.send_header("content-encoding", "gzip")
            self.send_header("connection", "close")
        else:
            self.send_header("content-length", str(_ENOUGH))
        self.end_headers()
        if reply.fault == "bomb":
            self.wfile.write(gzip.compress(b" " * _BOMB + answer))
        elif reply.fault != "short body":
            self._go_on(b" " if reply.fault == "slow body" else b" " * 65_536, reply)
        if reply.fault != "bomb":
            self._last(answer)
        self.close_connection = True
        return True

    def _go_on(self, piece: bytes, reply: Reply) -> None:
        """Send this again and again, until the client has had enough; slowly, one byte at a time."""
        sent = 0
        while sent < _ENOUGH:
            step = piece if str(reply.fault).startswith("endless") else piece[sent % len(piece) :][:1]
            self.wfile.write(step)
            self.wfile.flush()
            sent += len(step)
            self.provider.most_sent = max(self.provider.most_sent, sent)
            pause = reply.pause if str(reply.fault).startswith("endless") else reply.pause or 0.05
            if pause and self._left_within(pause):
                break
        self.close_connection = True
        raise BrokenPipeError

    def _stream(self, events: list[dict[str, Any]], reply: Reply) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        if reply.fault == "endless line":
            self.wfile.write(b"data: ")
            self._go_on(b"x" * 65_536, reply)
        if reply.fault == "endless event":
            self._go_on(b"data: x\n" * 8_192, reply)
        if reply.fault in ("slow body", "endless"):
            talks = [event for event in events if "delta" in event or (event.get("choices") or [{}])[0].get("delta")]
            talks = [event for event in talks if "usage" not in event]  # Anthropic's last word
            talk = "".join(f"data: {json.dumps(event)}\n\n" for event in talks).encode()
            self._go_on(b": patience\n" if reply.fault == "slow body" else talk, reply)
        events = events if reply.chunks is None else reply.chunks
        if reply.fault in ("cut stream", "error event"):
            events = events[: reply.cut_after]
        if reply.fault == "no finish":
            events = [event for event in events if not any(c.get("finish_reason") for c in event.get("choices", ()))]
        if reply.fault == "error event":
            named = {"type": "error"} if "type" in events[0] else {}
            events.append({**named, "error": {"message": reply.error, "type": "server_error"}})
        for place, event in enumerate(events, 1):
            if reply.pause and self._left_within(reply.pause):
                raise BrokenPipeError
            kind = f"event: {event['type']}\n" if "type" in event else ""
            framed = self.path.endswith("-response-stream")
            send = self._last if place == len(events) else self.wfile.write
            send(_frame(event) if framed else f"{kind}data: {json.dumps(event)}\n\n".encode())
        if reply.fault != "cut stream" and "type" not in events[0]:
            self.wfile.write(b"data: [DONE]\n\n")

    def _json(self, answer: dict[str, Any], status: int, headers: dict[str, str]) -> None:
        self._raw(json.dumps(answer).encode(), "application/json", status, headers)

    def _raw(self, content: bytes, kind: str, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self._last(content)


def _completion(body: dict[str, Any], reply: Reply, usage: dict[str, int], n: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
    if reply.tool_calls:
        message["tool_calls"] = [
            {"id": f"call_{place}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for place, (name, arguments) in enumerate(reply.tool_calls)
        ]
    finish = "tool_calls" if reply.tool_calls else reply.finish
    choices: list[dict[str, Any]] = [
        {"index": place, "message": message, "finish_reason": finish, **reply.choice} for place in range(n)
    ]
    if reply.logprob is not None and body.get("logprobs"):
        for choice in choices:
            choice["logprobs"] = _logprobs(reply, reply.text or "")
    answer = {
        "id": f"chatcmpl-{time.monotonic_ns()}",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model", "mock"),
        "choices": [] if reply.fault == "empty choices" else choices,
        "usage": {
            "prompt_tokens": usage["prompt"],
            "completion_tokens": usage["completion"],
            "total_tokens": usage["prompt"] + usage["completion"],
            "completion_tokens_details": {"reasoning_tokens": usage["reasoning"]},
            "prompt_tokens_details": {"cached_tokens": 0},
            **reply.usage,
        },
    }
    if reply.fault == "no usage":
        del answer["usage"]
    return answer


def _logprobs(reply: Reply, text: str) -> dict[str, Any]:
    words = [{"token": word, "logprob": reply.logprob, "bytes": None, "top_logprobs": []} for word in text.split()]
    return {"content": words, "refusal": None}


def _chunks(answer: dict[str, Any], body: dict[str, Any], words: int) -> list[dict[str, Any]]:
    base = {**{key: answer[key] for key in ("id", "created", "model")}, "object": "chat.completion.chunk"}
    chunks: list[dict[str, Any]] = []
    for choice in answer["choices"]:
        message, place = choice["message"], choice["index"]

        def chunk(delta: dict[str, Any], finish: str | None = None, place: int = place) -> dict[str, Any]:
            return {**base, "choices": [{"index": place, "delta": delta, "finish_reason": finish}]}

        chunks.append(chunk({"role": "assistant", "content": ""}))
        chunks += [chunk({"content": piece}) for piece in _pieces(message["content"] or "", words)]
        tokens = choice.get("logprobs", {}).get("content", [])
        for token, each in zip(tokens, chunks[len(chunks) - len(tokens) :], strict=True):
            each["choices"][0]["logprobs"] = {"content": [token], "refusal": None}
        if message["refusal"]:
            chunks.append(chunk({"refusal": message["refusal"]}))
        for position, call in enumerate(message.get("tool_calls", [])):
            chunks.append(chunk({"tool_calls": [{**call, "index": position}]}))
        chunks.append(chunk({}, choice["finish_reason"]))
    if (body.get("stream_options") or {}).get("include_usage") and "usage" in answer:
        chunks.append({**base, "choices": [], "usage": answer["usage"]})
    return chunks


def _pieces(text: str, words: int = 1) -> list[str]:
    parts = text.split(" ") if text else []
    pieces = [" ".join(parts[place : place + words]) for place in range(0, len(parts), words)]
    return [piece if place == 0 else f" {piece}" for place, piece in enumerate(pieces)]


def _response(body: dict[str, Any], reply: Reply, usage: dict[str, int]) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "output_text", "text": reply.text or "", "annotations": []}]
    if reply.refusal:
        content = [{"type": "refusal", "refusal": reply.refusal}]
    output: list[dict[str, Any]] = [
        {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}
    ]
    output += [
        {
            "id": f"fc_{place}", "type": "function_call", "call_id": f"call_{place}", "name": name,
            "arguments": arguments, "status": "completed",
        }
        for place, (name, arguments) in enumerate(reply.tool_calls)
    ]  # fmt: skip
    cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(reply.finish)
    return {
        "id": f"resp_{time.monotonic_ns()}",
        "object": "response",
        "created_at": 0,
        "model": body.get("model", "mock"),
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": cut} if cut else None,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None
        if reply.fault == "no usage"
        else {
            "input_tokens": usage["prompt"],
            "output_tokens": usage["completion"],
            "total_tokens": usage["prompt"] + usage["completion"],
            "output_tokens_details": {"reasoning_tokens": usage["reasoning"]},
            "input_tokens_details": {"cached_tokens": 0},
        },
    }


def _events(answer: dict[str, Any]) -> list[dict[str, Any]]:
    started = {**answer, "status": "in_progress", "output": [], "usage": None}
    item = answer["output"][0]
    part = item["content"][0]
    text = part.get("text", "")
    place = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": started},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []} for piece in _pieces(text)),
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": f"response.{answer['status']}", "response": answer},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _frame(event: dict[str, Any]) -> bytes:
    """An event in AWS's binary event stream: lengths, headers, the payload, and checksums of all that."""
    headers = b""
    for name, value in {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}.items():
        headers += bytes([len(name)]) + name.encode() + b"\x07" + len(value).to_bytes(2, "big") + value.encode()
    payload = json.dumps({"bytes": base64.b64encode(json.dumps(event).encode()).decode()}).encode()
    message = (16 + len(headers) + len(payload)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    message += zlib.crc32(message).to_bytes(4, "big") + headers + payload
    return message + zlib.crc32(message).to_bytes(4, "big")


def fresh() -> None:
    """Forget what the process has learnt of earlier providers: to it they are all one server, 127.0.0.1."""
    from ttc_middleware import _calls, _caps, _context, _draws, _faults, _pace  # noqa: PLC0415  # for tests of the library only

    _faults._budgets.clear()
    _calls._refused.clear()
    _caps._most.clear()
    _pace._seen.clear()
    _draws.NO_CHOICES.clear()
    _context._warned.clear()
    _context.SETTINGS.prices = {}
    for module in ("ttc_openai._request", "ttc_litellm._calls"):
        if module in sys.modules:
            sys.modules[module]._refused.clear()


def _message(body: dict[str, Any], reply: Reply, usage: dict[str, int]) -> dict[str, Any]:
    counted: dict[str, Any] = {"input_tokens": usage["prompt"], "output_tokens": usage["completion"]}
    if usage["reasoning"]:
        counted["output_tokens_details"] = {"thinking_tokens": usage["reasoning"]}
    content: list[dict[str, Any]] = [{"type": "text", "text": reply.text or ""}] if reply.text is not None else []
    if reply.thought:
        content.insert(0, {"type": "thinking", "thinking": reply.thought, "signature": "s"})
    content += [
        {"type": "tool_use", "id": f"toolu_{place}", "name": name, "input": json.loads(arguments)}
        for place, (name, arguments) in enumerate(reply.tool_calls)
    ]
    finish = {"stop": "end_turn", "length": "max_tokens"}.get(reply.finish, reply.finish)
    return {
        "id": f"msg_{time.monotonic_ns()}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [] if reply.fault == "empty choices" else content,
        "stop_reason": "tool_use" if reply.tool_calls else finish,
        "stop_sequence": None,
        "usage": None if reply.fault == "no usage" else {**counted, **reply.usage},
    }


def _message_events(answer: dict[str, Any]) -> list[dict[str, Any]]:
    # The start knows the prompt, the end what came of it.
    usage = answer["usage"] or {}
    prompt = {name: count for name, count in usage.items() if name != "output_tokens_details"}
    started = {**answer, "content": [], "stop_reason": None, "usage": {**prompt, "output_tokens": 1}}
    ended = {name: usage[name] for name in ("output_tokens", "output_tokens_details") if name in usage}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": started}]
    for place, block in enumerate(answer["content"]):
        kind = block["type"]
        if kind == "text":
            empty = {**block, "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"])]
        elif kind == "thinking":
            empty = {**block, "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": block["thinking"]}]
        else:
            empty = {**block, "input": {}}
            deltas = [
                {"type": "input_json_delta", "partial_json": piece} for piece in _pieces(json.dumps(block["input"]))
            ]
        events.append({"type": "content_block_start", "index": place, "content_block": empty})
        events += [{"type": "content_block_delta", "index": place, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": place})
    ending = {"stop_reason": answer["stop_reason"], "stop_sequence": None}
    return [*events, {"type": "message_delta", "delta": ending, "usage": ended}, {"type": "message_stop"}]
