"""The process behind `_aside.py`: reads questions from its standard input, a socket, and answers there.

A script that runs by itself, so it imports nothing of ttc_middleware. A question that uses up its CPU time ends the
process by SIGPROF, which reaches it inside of C code too.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import resource
import signal
import socket
import sys
from types import ModuleType
from typing import Any


def main() -> None:
    """Answer until the other end is closed."""
    with socket.socket(fileno=0) as connection:
        setup = _read(connection)
        if setup is None:
            return
        try:
            module = _prepare(setup, sys.argv[1])
        except Exception as error:  # noqa: BLE001  # such as a package that is missing
            _write(connection, {"failed": f"{type(error).__name__}: {error!s:.500}"})
            return
        _write(connection, {"ready": True})
        while (question := _read(connection)) is not None:
            _write(connection, _answered(module, question, setup["cpu_s"]))


def _prepare(setup: dict[str, Any], path: str) -> ModuleType:
    """Set the limits and load the module that knows the answers, which takes as long as it takes."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # a lower limit holds already, or the system has none
        resource.setrlimit(resource.RLIMIT_AS, (setup["memory"], setup["memory"]))
    sys.path[:] = setup["path"]
    spec = importlib.util.spec_from_file_location("_aside_module", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if hasattr(module, "prepare"):
        module.prepare()
    return module


def _answered(module: ModuleType, question: Any, cpu_s: float) -> dict[str, Any]:
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        return {"answer": module.answer(question)}
    except MemoryError:
        return {"exhausted": "ran out of memory"}
    except RecursionError:
        return {"exhausted": "is nested too deeply"}
    except Exception as error:  # noqa: BLE001  # the other end makes a VerifierFailed of it
        return {"failed": f"{type(error).__name__}: {error!s:.500}"}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _read(connection: socket.socket) -> Any | None:
    size = _receive(connection, 4)
    body = None if size is None else _receive(connection, int.from_bytes(size, "big"))
    return None if body is None else json.loads(body)


def _receive(connection: socket.socket, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(min(count - len(data), 1 << 20))
        if not part:
            return None
        data += part
    return bytes(data)


def _write(connection: socket.socket, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    connection.sendall(len(data).to_bytes(4, "big") + data)


if __name__ == "__main__":
    main()
