"""A local OpenAI-compatible server in a process of its own.

Why a process, when xllamacpp can also serve from threads of ours: taking its server down while a request runs hangs,
holding the GIL, so there would be no stopping in time; a crash in native code would take the program along; it logs to
the program's stderr, past Python; and the environment that tames its threads must be there before they are.
A process is stopped by ending it: it has nothing to save.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from urllib.parse import urlsplit

from typing_extensions import Self

from ttc_middleware import TTCError

from ._model import SMOLLM2, model_file
from ._prime import prime, slash

_CHILD = Path(__file__).with_name("_child.py")
_START_SECONDS = 120.0
_MAX_PARALLEL = 256  # llama.cpp's LLAMA_MAX_SEQ
_MIN_CONTEXT = 256  # it rounds up to multiples of this
_MAX_PORT = 65535
_MANY_THREADS = 8  # so small a model has little to share out among more
# How long an idle thread of the decoder spins before it sleeps. OpenMP's default costs nothing on an idle machine, and
# nearly everything on a busy one, where the spinning threads keep the one that they wait for from running.
_SPIN = "1000"
_KEPT_MIB = 256  # of prompts that were read before
_ERRORS_AND_WARNINGS, _EVERYTHING = 2, 3


class ServerFailed(TTCError):
    """Raised when the model's server does not start; the message ends with the last lines of its log."""


class Server:
    """A model that is being served; `close()` it, or use it in a `with` block. Made by `serve`."""

    base_url: str
    """For any OpenAI client: "http://127.0.0.1:PORT/v1". There is no key; clients that insist on one may send any."""
    model: str
    """The name to send as `model`."""

    def __init__(
        self, process: subprocess.Popen[bytes], base_url: str, model: str, *, parallel: int, folder: str
    ) -> None:
        self._process = process
        self.base_url = base_url
        self.model = model
        self._parallel = parallel
        self._folder = Path(folder)
        # Goes with the server, or with this process where nobody closes it.
        self._tidy = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def prime(self, messages: Sequence[Mapping[str, Any]]) -> int:
        """Read the beginning that prompts to come share, once, so that each of them reads only what differs.

        The server serves its `parallel` requests from as many slots, none of which knows what another has read: 8
        requests with the same examples before their question read these 8 times. After this, any slot has them; the
        bill shows it as `cached_tokens`. Long examples are worth it from the first fan-out on; later requests find them
        anyway, as long as no slot has been asked something else meanwhile.

        Blocks until it is read, and the copies until each slot has nothing else to do: call it before the fan-out. It
        is asked past your clients, so no bill has it. What the slots had read before is forgotten.

            read = server.prime([{"role": "user", "content": EXAMPLES}])       # prompts: EXAMPLES + question

        Args:
            messages: the shared beginning as chat messages; of the last one too, a beginning is enough.

        Returns:
            The tokens that were read.

        Raises:
            PrimingFailed: the server refuses, because this is longer than its context, say; or it is closed.
        """
        return prime(self.base_url, messages, self._parallel, self._folder)

    def close(self) -> None:
        """Stop the server at once, whatever it is generating; nothing is left of it. May be called twice."""
        _end(self._process)
        self._tidy()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "running" if self._process.poll() is None else "closed"
        return f"<{type(self).__name__} of {self.model} at {self.base_url}, {state}>"


def serve(
    model: str | os.PathLike[str] | None = None,
    *,
    parallel: int = 8,
    context: int = 2048,
    port: int = 0,
    threads: int | None = None,
    quiet: bool = True,
) -> Server:
    """Serve a model on this machine, by default the small one that comes along (SmolLM2-135M-Instruct, Apache-2.0).

    Returns as soon as it answers requests: after about a second, and after a download of 93 MB the first time where
    the model's package is not installed. Blocks until then; in an event loop use a thread
    (`await anyio.to_thread.run_sync(ttc_local.serve)`) where a second matters.

        with ttc_local.serve() as server:
            client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none")

    The server listens on 127.0.0.1 only, decodes up to `parallel` requests together, and ends with the `with` block,
    with `close()`, or with this process, however that ends. Requests without a `seed` differ from each other.

    Two things to know of llama.cpp's server, measured on xllamacpp 2026.10: with `n` > 1 its `usage` counts the
    completion of one choice only, so ask for one choice a request where tokens are billed; and closing the connection
    stops a streamed generation at the next token, another one after a second in which no request ended or streamed.

    Args:
        model: A GGUF file; None for the embedded model.
        parallel: Requests decoded together, 1 to 256; more are queued. Each takes `context` tokens of memory.
        context: The tokens of one request, prompt and completion together; at least 256, in steps of 256.
        port: 0 for one that is free.
        threads: CPU threads; None for the CPUs of this process, at most 8.
        quiet: Keep the log for error messages; else it goes to stderr.

    Raises:
        ValueError: An argument out of range, or a file that is no GGUF.
        FileNotFoundError: No such file.
        OSError: The port is in use.
        ModuleNotFoundError: xllamacpp is not installed; it comes with the extra `local`.
        ModelUnavailable: The embedded model is not here and cannot be fetched.
        ServerFailed: The server did not start.
    """
    _check("parallel", parallel, 1, _MAX_PARALLEL)
    _check("context", context, _MIN_CONTEXT, None)
    _check("port", port, 0, _MAX_PORT)
    _check("threads", threads, 1, None)
    if importlib.util.find_spec("xllamacpp") is None:
        raise ModuleNotFoundError('ttc_local needs xllamacpp: pip install "ttc-middleware[local]"', name="xllamacpp")
    _check_free(port)
    path = model_file() if model is None else _gguf(Path(model))
    name = SMOLLM2.name if model is None else path.stem
    options = {
        "path": str(path),
        "name": name,
        "parallel": parallel,
        "context": context,
        "port": port,
        "threads": min(_cpus(), _MANY_THREADS) if threads is None else threads,
        "kept_mib": _KEPT_MIB,
        "verbosity": _ERRORS_AND_WARNINGS if quiet else _EVERYTHING,
    }
    folder = tempfile.mkdtemp(prefix="ttc-slots-")
    with tempfile.TemporaryFile() as log:
        process = _spawn({**options, "slots": slash(folder)}, log if quiet else None)
        try:
            address = _address(process)
            return Server(process, f"{address}/v1", name, parallel=parallel, folder=folder)
        except BaseException as error:
            _end(process)
            shutil.rmtree(folder, ignore_errors=True)
            if not isinstance(error, _NotReady):
                raise
            log.seek(0)
            tail = log.read().decode(errors="replace").strip().splitlines()[-12:]
            raise ServerFailed(
                f"the server of {path} did not start: {error}\n" + ("\n".join(tail) if quiet else "its log is above")
            ) from None


class _NotReady(Exception):
    """The server is not there, and why."""


def _spawn(options: Mapping[str, object], log: IO[bytes] | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  # this interpreter and our own file
        [sys.executable, str(_CHILD), json.dumps(options)],
        stdin=subprocess.PIPE,  # its end tells the child that we are gone
        stdout=subprocess.PIPE,
        stderr=log,
        env={"GOMP_SPINCOUNT": _SPIN, **os.environ, "PYTHONSAFEPATH": "1"},
        start_new_session=True,  # Ctrl-C is for us: what is in the `with` block may still want to talk to it
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
    )


def _address(process: subprocess.Popen[bytes]) -> str:
    """Wait for the server's address and for its first healthy answer."""
    assert process.stdout is not None
    stdout = process.stdout
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
    try:
        address = lines.get(timeout=_START_SECONDS).decode().strip()
    except queue.Empty:
        raise _NotReady(f"not ready after {_START_SECONDS:.0f} s") from None
    if not address:
        raise _NotReady(f"it ended with code {process.wait()}")
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)  # past any proxy
    try:
        connection.request("GET", "/health")
        if (status := connection.getresponse().status) != http.client.OK:
            raise _NotReady(f"/health answers {status}")
    except (OSError, http.client.HTTPException) as error:
        raise _NotReady(f"/health does not answer: {error!r}") from error
    finally:
        connection.close()
    return address


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _check(name: str, value: int | None, least: int, most: int | None) -> None:
    if value is None or (value >= least and (most is None or value <= most)):
        return
    rule = f"at least {least}" if most is None else f"{least} to {most}"
    raise ValueError(f"{name} must be {rule}, not {value}")


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        if sys.platform != "win32":  # there it would allow a port that is in use; here one that has just been freed
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise OSError(error.errno, f"port must be free on 127.0.0.1: {port} is not ({error.strerror})") from None


def _gguf(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"model must be a GGUF file: there is none at {path}")
    if path.is_dir():
        raise ValueError(f"model must be a GGUF file: {path} is a directory")
    with path.open("rb") as stream:
        start = stream.read(4)
    if start != b"GGUF":
        raise ValueError(f"model must be a GGUF file, whose first bytes are b'GGUF': {path} starts with {start!r}")
    return path.absolute()


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
