"""Providers' own words on loopback: recorded shapes (`shapes/fixtures/`), served as the provider would send them."""

from __future__ import annotations

import json
import struct
import threading
import zlib
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import ttc_middleware as ttc

FIXTURES = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parent / "shapes" / "fixtures").iterdir())
}
WAYS = ["whole", "stream"]


def model_of(fixture):
    """The model's name as a bill has it."""
    return fixture["litellm"].split("/", 1)[-1]


STANDARD, DEAR = ttc.Price(1, 1), ttc.Price(100, 100)  # so that the dollars tell in which tier a call was billed
PRICES = {model_of(fixture): ttc.Price(1, 1, tiers={"flex": DEAR, "priority": DEAR}) for fixture in FIXTURES.values()}


def told(usage, tier=None):
    """A usage in the words of a fixture's truth."""
    return {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "reasoning": usage.reasoning_tokens,
        "cached": usage.cached_tokens,
        "written": usage.cache_write_tokens,
        "written_1h": usage.cache_write_1h_tokens,
        "usd": usage.usd,
        "tier": tier,
    }


def truth(fixture, **changed):
    """What the provider has billed."""
    known = {**fixture["truth"], **changed}
    return {**known, "usd": None if known["usd"] is None else Decimal(known["usd"])}


def expected(fixture, **lost):
    """What a bill says: the truth, with the dollars that `PRICES` makes of it where the provider names none."""
    billed = truth(fixture, **lost)
    if billed["usd"] is None:
        price = STANDARD if billed["tier"] is None else DEAR
        billed["usd"] = price.cost(ttc.Usage(1, billed["input"], billed["output"])).total
    return {**billed, "tier": None}


class ShapeServer:
    """Answers every request with the fixture: whole, or as a stream where that is asked; a context manager."""

    def __init__(self, fixture):
        served = self
        self.fixture = fixture
        self.paths = []

        class Handler(BaseHTTPRequestHandler):
            disable_nagle_algorithm = True  # the body would wait 40 ms for the headers to be acknowledged

            def log_message(self, *args):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
                served.paths.append(self.path)
                streams = body.get("stream") or "stream" in self.path.lower()
                if not streams:
                    self.answer("application/json", json.dumps(fixture["whole"]).encode())
                elif fixture["api"] == "bedrock":
                    events = b"".join(_frame(event) for event in fixture["stream"])
                    self.answer("application/vnd.amazon.eventstream", events)
                else:
                    done = "data: [DONE]\n\n" if fixture.get("speaks") == "chat" else ""
                    self.answer("text/event-stream", ("".join(map(_sse, fixture["stream"])) + done).encode())

            def answer(self, kind, content):
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _sse(event):
    kind = f"event: {event['type']}\n" if "type" in event else ""
    return f"{kind}data: {json.dumps(event)}\n\n"


def _frame(event):
    """One message of AWS's event stream: lengths, headers, payload, checksums."""
    [(name, payload)] = event.items()
    headers = b""
    for key, value in ((":message-type", "event"), (":event-type", name), (":content-type", "application/json")):
        headers += struct.pack("!B", len(key)) + key.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
    content = json.dumps(payload).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(content), len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + content
    return message + struct.pack("!I", zlib.crc32(message))
