"""A language model on your own machine: SmolLM2-135M behind an OpenAI-compatible server, no account, no key."""

from ._ask import ask
from ._model import ModelUnavailable, model_file
from ._prime import PrimingFailed
from ._server import Server, ServerFailed, serve
from ._tasks import MAX_TOKENS, PROMPT, STOP, TASKS, TEMPERATURE, Task, load_tasks

__all__ = [
    "MAX_TOKENS",
    "PROMPT",
    "STOP",
    "TASKS",
    "TEMPERATURE",
    "ModelUnavailable",
    "PrimingFailed",
    "Server",
    "ServerFailed",
    "Task",
    "ask",
    "load_tasks",
    "model_file",
    "serve",
]
