"""A server of reward models on loopback, in the forms of vLLM, SGLang and llama.cpp."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from typing_extensions import Self


class RewardServer:
    """A context manager: answers each request with what `script(path, body)` returns.

    That is JSON, or bytes that are sent as they are, or a function of the handler.
    """

    def __init__(self, script) -> None:
        self.requests = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            disable_nagle_algorithm = True  # the body would wait 40 ms for the headers to be acknowledged
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                server.requests.append((self.path, body, dict(self.headers)))
                said = script(self.path, body)
                if callable(said):
                    said(self)
                    return
                content = said if isinstance(said, bytes) else json.dumps(said).encode()
                send(self, 200, content)

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Clients that hang up are the tests' business, not the log's."""


def send(handler, status, content, **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("content-length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def trickles(seconds):
    """An answer that never ends, a byte at a time."""

    def answer(handler):
        handler.send_response(200)
        handler.end_headers()
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.01)

    return answer
