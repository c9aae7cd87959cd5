"""What providers refuse about thinking, by their documentation, and a server on loopback that refuses it.

Written from the providers' pages alone, model by model, without a look at the library's own table: `refusal()` says why
a request would be answered with 400, and `RuleServer` records every request and answers so.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

L, M, H, X = "low", "medium", "high", "xhigh"
# OpenAI: the efforts that each model names in "Supported values are: …", on chat completions.
OPENAI = {
    "gpt-4o": None,
    "gpt-4.1-mini": None,
    "gpt-5-chat-latest": None,
    "gpt-5": {"minimal", L, M, H},
    "gpt-5-mini-2025-08-07": {"minimal", L, M, H},
    "gpt-5-codex": {L, M, H},
    "gpt-5.1": {"none", L, M, H},
    "gpt-5.1-codex": {L, M, H},
    "gpt-5.1-chat-latest": {M},
    "gpt-5.2": {"none", L, M, H, X},
    "gpt-5.4-mini": {"none", L, M, H, X},
    "gpt-5.5": {"none", L, M, H, X},
    "gpt-5.6-luna": {"none", L, M, H, X},
    "o1": {L, M, H},
    "o3": {L, M, H},
    "o4-mini": {L, M, H},
}
RESPONSES = {
    **OPENAI,
    "gpt-5.6-luna": {"none", L, M, H, X, "max"},
    "gpt-5-pro": {H},
    "gpt-5.2-pro": {M, H, X},
    "o3-pro": {L, M, H},
}
OPENAI_MOST = {"o1": 100_000, "o3": 100_000, "o4-mini": 100_000, "o3-pro": 100_000, "gpt-5-pro": 272_000}
# Anthropic: (modes of thinking, efforts of output_config, most output tokens).
BUDGET = ({"enabled", "disabled"}, set(), 64_000)
ANTHROPIC = {
    "claude-3-5-haiku-20241022": (set(), set(), 8_192),
    "claude-3-7-sonnet-20250219": BUDGET,
    "claude-opus-4-1-20250805": ({"enabled", "disabled"}, set(), 32_000),
    "claude-sonnet-4-5": BUDGET,
    "claude-haiku-4-5-20251001": BUDGET,
    "claude-opus-4-6": ({"enabled", "adaptive", "disabled"}, {L, M, H, "max"}, 128_000),
    "claude-sonnet-4-6": ({"enabled", "adaptive", "disabled"}, {L, M, H, "max"}, 128_000),
    "claude-opus-4-7": ({"adaptive", "disabled"}, {L, M, H, X, "max"}, 128_000),
    "claude-opus-4-8": ({"adaptive", "disabled"}, {L, M, H, X, "max"}, 128_000),
    "claude-opus-5": ({"adaptive", "disabled"}, {L, M, H, X, "max"}, 128_000),
    "claude-sonnet-5": ({"adaptive", "disabled"}, {L, M, H, X, "max"}, 128_000),
    "claude-haiku-5-5": ({"adaptive", "disabled"}, {L, M, H, X, "max"}, 128_000),
    "claude-sonnet-5-5": ({"adaptive"}, {L, M, H, X, "max"}, 128_000),
    "claude-fable-5": ({"adaptive"}, {L, M, H, X, "max"}, 128_000),
}
NO_SAMPLING = tuple(name for name, (modes, _, _) in ANTHROPIC.items() if "adaptive" in modes and "enabled" not in modes)
NEVER_FORCED = ("claude-fable-5",)
# Gemini: a range of thinkingBudget (0 apart), or the values of thinkingLevel.
GEMINI = {
    "gemini-2.5-pro": (128, 32_768, False),
    "gemini-2.5-flash": (1, 24_576, True),
    "gemini-2.5-flash-lite": (512, 24_576, True),
    "gemini-3-pro-preview": {L, H},
    "gemini-3.1-pro-preview": {L, M, H},
    "gemini-3-flash-preview": {"minimal", L, M, H},
    "gemini-3.8-flash": {L, M, H},
}
XAI = {"grok-3-mini": {L, H}, "grok-4.3": {"none", L, M, H}, "grok-4.5": {L, M, H}, "grok-4-0709": None}
MISTRAL = {"mistral-medium-latest": {"none", H}, "mistral-small-2603": {"none", H}, "codestral-2508": None}
SAMPLING = {"temperature", "top_p", "top_k", "logprobs"}
OWN = {  # parameters of one provider that another calls unknown
    "reasoning_effort", "reasoning", "thinking", "enable_thinking", "thinking_budget", "thinking_token_budget",
    "reasoning_budget_tokens", "chat_template_kwargs", "custom_params", "output_config", "extra_body",
}  # fmt: skip


def refusal(host, path, body):
    """Why this request gets a 400; None: it is served."""
    if path.endswith("/messages"):
        return anthropic(body)
    if "generateContent" in path:
        return gemini(path, body)
    for name, rules in HOSTS.items():
        if name in host or f"/{name}/" in path:
            return rules(body)
    return openai(body, responses=path.endswith("/responses"))


def strange(body, *known):
    unknown = OWN.intersection(body) - set(known)
    return f"unrecognized request argument: {unknown}" if unknown else None


def openai(body, *, responses):
    model, table = body["model"], RESPONSES if responses else OPENAI
    efforts = table[model]
    said = strange(body, "reasoning" if responses else "reasoning_effort")
    effort = (body.get("reasoning") or {}).get("effort") if responses else body.get("reasoning_effort")
    limit = body.get("max_output_tokens") if responses else body.get("max_completion_tokens", body.get("max_tokens"))
    most = OPENAI_MOST.get(model, 128_000 if efforts else 16_384)
    if said is None and limit is not None and limit > most:
        return f"max_tokens is too large: {limit}; {model} supports at most {most}"
    if efforts is None:
        return said or (f"reasoning is not supported with {model}" if effort is not None else None)
    if said is None and "max_tokens" in body and not responses:
        return "use max_completion_tokens"
    if said is None and effort is not None and effort not in efforts:
        return f"unsupported value {effort}; {model} supports {efforts}"
    thinks = effort != "none" and (effort is not None or "none" not in efforts)
    if said is None and thinks and SAMPLING.intersection(body) and body.get("temperature") != 1:
        return "temperature does not support other values than the default with this model"
    if (
        said is None
        and model.startswith("gpt-5.6")
        and not responses
        and body.get("tools")
        and effort not in (None, "none")
    ):
        return "function tools with reasoning_effort are not supported; use /v1/responses or none"
    return said


def anthropic(body):  # noqa: C901  # one line a rule
    model = body["model"]
    modes, efforts, most = ANTHROPIC[model]
    thinking, config = body.get("thinking") or {}, body.get("output_config") or {}
    kind, budget = thinking.get("type"), thinking.get("budget_tokens")
    choice = (body.get("tool_choice") or {}).get("type")
    if strange(body, "thinking", "output_config"):
        return strange(body, "thinking", "output_config")
    if body["max_tokens"] > most:
        return f"max_tokens: {body['max_tokens']} > {most}"
    if kind is not None and kind not in modes:
        return f"thinking.type.{kind} is not supported for this model"
    if config.get("effort") is not None and config["effort"] not in efforts:
        return f"effort {config['effort']} is not supported for this model"
    if kind == "enabled" and not 1_024 <= budget < body["max_tokens"]:
        return "budget_tokens must be at least 1024 and less than max_tokens"
    if kind != "enabled" and budget is not None:
        return "budget_tokens is of enabled thinking only"
    if kind in ("enabled", "adaptive") and SAMPLING.intersection(body) and body.get("temperature") != 1:
        return "temperature may only be set to 1 when thinking is enabled"
    if model in NO_SAMPLING and SAMPLING.intersection(body):
        return "temperature, top_p and top_k are not supported"
    if kind == "enabled" and choice in ("any", "tool"):
        return "thinking may not be enabled when tool_choice forces tool use"
    if model == "claude-opus-5" and kind == "disabled" and config.get("effort") in (X, "max"):
        return "with thinking disabled, effort is at most high"
    return None


def gemini(path, body):
    allowed = GEMINI[path.split("/models/")[1].split(":")[0]]
    config = (body.get("generationConfig") or {}).get("thinkingConfig") or {}
    budget, level = config.get("thinkingBudget"), config.get("thinkingLevel")
    if (body.get("generationConfig") or {}).get("max_output_tokens", 0) > 65_536:
        return "maxOutputTokens is out of range"
    if budget is not None and level is not None:
        return "you can only set one of thinking budget and thinking level"
    if isinstance(allowed, set):
        if budget is not None:
            return "thinking budget is not supported for this model"
        return f"thinking level {level} is not supported" if level is not None and level not in allowed else None
    least, most, off = allowed
    if level is not None:
        return "thinking level is not supported for this model"
    if budget is not None and not (least <= budget <= most or (off and budget == 0)):
        return f"the thinking budget {budget} is invalid; choose a value between {least} and {most}"
    return None


def qwen(body):
    on = body.get("enable_thinking")
    if strange(body, "enable_thinking", "thinking_budget"):
        return strange(body, "enable_thinking", "thinking_budget")
    if on and body["model"] == "qwen3-32b" and not body.get("stream"):
        return "parameter.enable_thinking must be set to false for non-streaming calls"
    if on and body.get("tool_choice") not in (None, "auto", "none"):
        return "tool_choice does not support being set to required or object in thinking mode"
    budget = body.get("thinking_budget")
    return None if budget is None or 1 <= budget <= 38_912 else f"thinking_budget {budget} is out of range"


def deepseek(body):
    kind, effort = (body.get("thinking") or {}).get("type"), body.get("reasoning_effort")
    if strange(body, "thinking", "reasoning_effort"):
        return strange(body, "thinking", "reasoning_effort")
    if kind not in (None, "enabled", "disabled") or set(body.get("thinking") or {}) - {"type"}:
        return "thinking.type must be enabled or disabled"
    return None if effort in (None, L, H, "max") else f"reasoning_effort must be low, high or max, got {effort}"


def efforts_of(table):
    def rules(body):
        allowed, effort = table[body["model"]], body.get("reasoning_effort")
        if strange(body, "reasoning_effort"):
            return strange(body, "reasoning_effort")
        if effort is not None and (allowed is None or effort not in allowed):
            return f"{body['model']} does not support reasoning_effort {effort}"
        return None

    return rules


def openrouter(body):
    asked = body.get("reasoning") or {}
    if strange(body, "reasoning"):
        return strange(body, "reasoning")
    if "effort" in asked and "max_tokens" in asked:
        return "only one of reasoning.effort and reasoning.max_tokens can be specified"
    if asked.get("effort") not in (None, "none", "minimal", L, M, H, X):
        return "reasoning.effort is none of its values"
    budget, limit = asked.get("max_tokens"), body.get("max_tokens")
    if budget is not None and (budget < 1_024 or (limit is not None and budget >= limit)):
        return "max_tokens must be strictly higher than the reasoning budget, which is at least 1024"
    return None


def served(*names):
    def rules(body):
        budgets = [body.get("thinking_token_budget"), body.get("reasoning_budget_tokens")]
        wrong = [each for each in budgets if each is not None and (not isinstance(each, int) or each < 0)]
        return strange(body, *names, "chat_template_kwargs") or (
            f"a budget must be from 0, got {wrong}" if wrong else None
        )

    return rules


HOSTS = {
    "dashscope": qwen,
    "api.deepseek.com": deepseek,
    "deepseek": deepseek,
    "api.x.ai": efforts_of(XAI),
    "xai": efforts_of(XAI),
    "mistral": efforts_of(MISTRAL),
    "openrouter": openrouter,
    "vllm": served("thinking_token_budget"),
    "sglang": served("custom_params"),
    "llama": served("reasoning_budget_tokens"),
}

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
CHAT = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE,
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}],
}  # fmt: skip
MESSAGE = {
    "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": None,
    "content": [{"type": "text", "text": "ok"}], "usage": {"input_tokens": 5, "output_tokens": 2},
}  # fmt: skip
RESPONSE = {
    "id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed", "tools": [],
    "parallel_tool_calls": True, "tool_choice": "auto",
    "output": [{"type": "message", "id": "o", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "ok", "annotations": []}]}],
    "usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7, "input_tokens_details": {"cached_tokens": 0},
              "output_tokens_details": {"reasoning_tokens": 0}},
}  # fmt: skip
GENERATED = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7},
}


class RuleServer:
    """Records every request; refuses what the provider that is meant would refuse."""

    def __init__(self):
        self.seen = []
        self.refused = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            disable_nagle_algorithm = True  # the body would wait 40 ms for the headers to be acknowledged
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                path, host = self.path.split("?")[0], self.headers.get("host", "")
                why = refusal(host, path, body)
                outer.seen.append(body)
                if why is not None:
                    outer.refused.append((why, body))
                answer = {"error": {"message": why, "type": "invalid_request_error"}} if why else _answer(path)
                content = json.dumps(answer).encode()
                self.send_response(400 if why else 200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _answer(path):
    if path.endswith("/messages"):
        return MESSAGE
    if path.endswith("/responses"):
        return RESPONSE
    return GENERATED if "generateContent" in path else CHAT


class Elsewhere(httpx.HTTPTransport):
    """Takes requests for any host to a server on loopback; the Host header stays."""

    def __init__(self, port):
        super().__init__()
        self._port = port

    def handle_request(self, request):
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return super().handle_request(request)
