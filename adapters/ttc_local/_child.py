"""The process that `serve` starts: llama.cpp's server, for as long as the parent holds our standard input open.

Run by its path with one argument, the options as JSON; prints the address once requests are welcome.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
from typing import Any


def _main() -> None:
    options = json.loads(sys.argv[1])
    parent = os.getppid()
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever llama.cpp prints belongs to the log
    gone = threading.Thread(target=_leave_with_the_pipe, daemon=True)
    gone.start()
    try:
        server = _start(options)
    except RuntimeError as error:
        sys.exit(str(error))  # llama.cpp has logged the reason
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # end at once: taking the server down in good order may hang
    os.write(answer, f"{server.listening_address}\n".encode())
    os.close(answer)
    # A process forked from the parent holds the pipe open too, and may outlive it.
    while os.getppid() == parent:
        gone.join(1.0)
    os._exit(0)


def _leave_with_the_pipe() -> None:
    os.read(0, 1)  # nothing is ever written to it, so this returns at its end
    os._exit(0)


def _start(options: dict[str, Any]) -> Any:
    xllamacpp: Any = importlib.import_module("xllamacpp")  # untyped; and only now is stdout the log
    params = xllamacpp.CommonParams()
    params.model.path = options["path"]
    params.model_alias = {options["name"]}
    params.hostnames = ["127.0.0.1"]
    params.port = options["port"]
    params.n_parallel = options["parallel"]
    params.n_ctx = options["parallel"] * options["context"]
    params.cont_batching = True
    params.cpuparams.n_threads = options["threads"]
    params.cpuparams_batch.n_threads = options["threads"]
    params.verbosity = options["verbosity"]
    params.fit_params = False  # the sizes above are meant
    # A slot that is asked something else keeps what it had read, for its next request; unlimited, up to 8 GiB.
    params.cache_ram_mib = options["kept_mib"]
    params.slot_save_path = options["slots"]
    params.ui = False
    params.endpoint_slots = False  # it shows everybody's prompts
    params.cors_origins = ""  # no web page may talk to it
    params.offline = True
    return xllamacpp.Server(params)


if __name__ == "__main__":
    _main()
