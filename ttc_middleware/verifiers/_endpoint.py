"""Where a reward model is served: what its server wants to be sent, and where in its answer the scores are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import SplitResult

from ttc_middleware._errors import VerifierFailed
from ttc_middleware._usage import Usage

from ._fence import defused
from ._http import address, number, post


@dataclass(frozen=True, eq=False)
class Endpoint:
    """An outcome reward model behind HTTP; the last word of its path says what it is asked, and how it answers.

    - `/rerank`, `/v1/rerank`, `/v2/rerank`: the task is the query, the answer the only document. vLLM and llama.cpp
      (started with `--reranking`) answer in Jina's form, {"results": [{"index", "relevance_score"}]}, SGLang with
      [{"index", "score"}].
    - `/score`, `/v1/score`: vLLM's, the task as `text_1` and the answer as `text_2`. With `label_token_ids` in `extra`
      it is SGLang's, where a generative model says how probable each label is as the next token: the score is that of
      the first label.
    - `/pooling`: vLLM's, the task as the user's message and the answer as the assistant's, put into the model's chat
      template by the server. A model that scores tokens is read at the last one.

    Whether the score is a logit or a probability depends on the model and on the server's settings (vLLM: `extra=
    {"use_activation": False}`), and is for `RewardModel(scale=)` to say. Signs of chat templates in task and answer are
    put out of action before they are sent. A request has a connection of its own, and follows no redirects.

    Args:
        url: http or https, without user, query and fragment.
        model: sent as `model`, where given.
        headers: of the request, such as {"authorization": "Bearer …"}.
        extra: more fields of the request.
        timeout: seconds for the whole request.

    Raises:
        ValueError: an address that is none, or of another path; a timeout that is not positive.
    """

    url: str
    model: str | None = field(default=None, kw_only=True)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], kw_only=True, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any], kw_only=True)
    timeout: float = field(default=60.0, kw_only=True)
    _parts: SplitResult = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_parts", checked(self.url, self.timeout, ("rerank", "score", "pooling")))

    async def score(self, prompt: str, answer: str) -> tuple[float, Usage | None]:
        """The raw score of an answer to a prompt, and what the server says that it took.

        Raises:
            VerifierFailed: the server does not answer, or not in its form.
        """
        asked, said = defused(prompt), defused(answer)
        kind = self._parts.path.rstrip("/").rpartition("/")[2]
        if kind == "rerank":
            body: dict[str, Any] = {"query": asked, "documents": [said]}
        elif kind == "pooling":
            body = {"messages": turns(asked, said)}
        elif "label_token_ids" in self.extra:
            body = {"query": asked, "items": [said], "apply_softmax": True}
        else:
            body = {"text_1": asked, "text_2": said}
        answered = await send(self._parts, body, self)
        return number(_READ[kind](answered), "a reward"), usage_of(answered)


@dataclass(frozen=True, eq=False)
class StepEndpoint:
    """A process reward model behind vLLM's `/pooling`: a scorer for `ProcessReward`.

    The steps are the assistant's message, each with the separator after it; the server answers with one vector of class
    probabilities for each separator, such as for Qwen/Qwen2.5-Math-PRM-7B (Zhang et al. 2025, arXiv:2501.07301). A
    separator, or a sign of a chat template, inside of a step is put out of action before it is sent.

    Args:
        url: http or https, ending in /pooling.
        model: sent as `model`, where given.
        separator: the model's own sign for the end of a step.
        positive: which of the classes means that a step is right; -1 is the last.
        system: the system message that the model was trained with; None: none.
        headers: of the request.
        extra: more fields of the request.
        timeout: seconds for the whole request.

    Raises:
        ValueError: an address that is none, or of another path; an empty separator; a timeout that is not positive.
    """

    url: str
    model: str | None = field(default=None, kw_only=True)
    separator: str = field(default="<extra_0>", kw_only=True)
    positive: int = field(default=-1, kw_only=True)
    system: str | None = field(
        default="Please reason step by step, and put your final answer within \\boxed{}.", kw_only=True
    )
    headers: Mapping[str, str] = field(default_factory=dict[str, str], kw_only=True, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any], kw_only=True)
    timeout: float = field(default=60.0, kw_only=True)
    _parts: SplitResult = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.separator:
            raise ValueError("separator is the model's sign for the end of a step; it is empty")
        object.__setattr__(self, "_parts", checked(self.url, self.timeout, ("pooling",)))

    async def __call__(self, prompt: str, steps: Sequence[str]) -> list[float]:
        """The probability of each step to be right; raises as `score()` does."""
        return (await self.score(prompt, steps))[0]

    async def score(self, prompt: str, steps: Sequence[str]) -> tuple[list[float], Usage | None]:
        """The probability of each step to be right, and what the server says that it took.

        Raises:
            VerifierFailed: the server does not answer, or not with a vector for each step.
        """
        said = "".join(f"{defused(step).replace(self.separator, ' ')}{self.separator}" for step in steps)
        first = [] if self.system is None else [{"role": "system", "content": self.system}]
        answered = await send(self._parts, {"messages": [*first, *turns(defused(prompt), said)]}, self)
        vectors = _only(_field(answered, "data"), "data")
        if not isinstance(vectors, list) or len(cast("Sequence[Any]", vectors)) != len(steps):
            raise VerifierFailed(f"/pooling must answer with a vector for each of the {len(steps)} steps")
        scores = [number(_at(vector, self.positive), "a step's score") for vector in cast("Sequence[Any]", vectors)]
        return scores, usage_of(answered)


def checked(url: str, timeout: float, kinds: Sequence[str]) -> SplitResult:
    """Check what an endpoint is given.

    Raises:
        ValueError: the rule and the value.
    """
    parts = address(url)
    if parts.path.rstrip("/").rpartition("/")[2] not in kinds:
        raise ValueError(f"an endpoint's path ends in {' or '.join(f'/{kind}' for kind in kinds)}, not {url!r}")
    if not 0 < timeout < float("inf"):
        raise ValueError(f"timeout is a positive number of seconds, not {timeout!r}")
    return parts


def turns(prompt: str, answer: str) -> list[dict[str, str]]:
    """Task and answer as a conversation."""
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


async def send(parts: SplitResult, body: Mapping[str, Any], endpoint: Endpoint | StepEndpoint) -> Any:
    """Send a request with the endpoint's own fields."""
    model = {} if endpoint.model is None else {"model": endpoint.model}
    return await post(parts, {**body, **model, **endpoint.extra}, endpoint.headers, endpoint.timeout)


def usage_of(answered: Any) -> Usage | None:
    """The tokens that the server says it took; there is no price for them."""
    counts: Any = cast("Mapping[str, Any]", answered).get("usage") if isinstance(answered, dict) else None
    if not isinstance(counts, dict):
        return None
    said = cast("Mapping[str, Any]", counts)
    tokens = said.get("prompt_tokens", said.get("total_tokens"))
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
        return None
    return Usage(calls=1, input_tokens=tokens, reasoning_tokens=0)


def _reranked(answered: Any) -> Any:
    one = _only(answered if isinstance(answered, list) else _field(answered, "results"))
    return _field(one, "relevance_score" if "relevance_score" in one else "score")


def _scored(answered: Any) -> Any:
    if isinstance(answered, dict) and "scores" in answered:  # SGLang's: probabilities of the labels, for each item
        return _at(_only(_field(answered, "scores")), 0)
    return _field(_only(_field(answered, "data")), "score")


def _pooled(answered: Any) -> Any:
    value = _only(_field(answered, "data"), "data")
    if isinstance(value, list) and value and isinstance(value[-1], list):
        value = cast("Sequence[Any]", value)[-1]  # of a model that scores tokens
    return _only(value)


_READ = {"rerank": _reranked, "score": _scored, "pooling": _pooled}


def _field(answered: Any, name: str) -> Any:
    if not isinstance(answered, dict) or name not in answered:
        raise VerifierFailed(f"the server's answer must have {name!r}, got {answered!r:.200}")
    return cast("dict[str, Any]", answered)[name]


def _only(values: Any, name: str | None = None) -> Any:
    if not isinstance(values, list) or len(cast("Sequence[Any]", values)) != 1:
        raise VerifierFailed(f"the server must answer with one score for one answer, got {values!r:.200}")
    one = cast("Sequence[Any]", values)[0]
    return one if name is None else _field(one, name)


def _at(values: Any, place: int) -> Any:
    if not isinstance(values, list) or not -len(cast("Sequence[Any]", values)) <= place < len(
        cast("Sequence[Any]", values)
    ):
        raise VerifierFailed(f"the server must answer with a score for each class, got {values!r:.200}")
    return cast("Sequence[Any]", values)[place]
