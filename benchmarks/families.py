"""Task families that the embedded model gets right now and then: from nearly always to one time in twenty.

SmolLM2-135M cannot do mathematics, and it need not: a search is measured on whatever a single draw solves with some
probability, provided that a program can tell. Problems are made by seeded generators, in two splits: prompts and sizes
were chosen on "tune", figures are of "test". A question belongs to a split by its hash, so the two never overlap.

Answers are lines, one step a line, without a line break at the end; a llama.cpp grammar holds the model to the form (of
a partial answer that is gone on with, it binds only what is new). `verify` says whether a whole answer is right,
`prefix` what a partial one is worth: both are programs that cost no tokens.

    uv run --all-extras --group dev python benchmarks/families.py [name …]     a single draw's rate, on "tune"
    … benchmarks/families.py story6 --temperature 0.4 --split test --problems 24 --samples 16
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import ttc_middleware as ttc

Split: TypeAlias = Literal["shots", "tune", "test"]
TEMPERATURE = 0.8


@dataclass(frozen=True)
class Problem:
    """A question with its one right answer, or the goal that right ones reach."""

    family: str
    index: int
    """Its place in the split."""
    question: str
    shown: str
    """A right answer, as the prompt's examples show it."""
    goal: Any = None
    """What `verify` needs beside that."""


class Worth(NamedTuple):
    """What the lines of a partial answer are worth."""

    score: float
    """From 0 to 1."""
    right: bool = False
    """Whether they would do as a whole answer."""
    bad: int | None = None
    """The first line, from 0, that no right answer has there; None: none is known to be."""


@dataclass(frozen=True)
class Family:
    """Problems of one kind, and how their answers are asked for and judged.

    Args:
        name: as the tables call it.
        about: what the model is asked to do, in a line.
        grammar: of a whole answer, in llama.cpp's GBNF.
        max_tokens: of a whole answer.
        make: from a random generator to a question, an answer that is right, and the goal.
        worth: of the lines of a partial answer, what they are worth.
        steps: whether answers have more lines than one.
        step_tokens: of a line.
        ends: an expression that a whole answer has and a partial one has not, where the model does not end by itself.
        shots: examples in the prompt.
    """

    name: str
    about: str
    grammar: str
    max_tokens: int
    make: Callable[[random.Random], tuple[str, str, Any]] = field(repr=False)
    worth: Callable[[list[str], Problem], Worth] = field(repr=False)
    steps: bool = True
    step_tokens: int = 12
    ends: str | None = None
    shots: int = 5

    def problems(self, split: Split, n: int) -> list[Problem]:
        """The first n of a split, the same ones every time."""
        chance = random.Random(f"{self.name} {split}")
        found: dict[str, Problem] = {}
        for _ in range(1_000 * n):
            question, shown, goal = self.make(chance)
            if _split(question) == split and question not in found:
                found[question] = Problem(self.name, len(found), question, shown, goal)
            if len(found) == n:
                break
        if len(found) < n:
            raise ValueError(f"{self.name} has only {len(found)} problems in {split!r}, not {n}")
        return list(found.values())

    def messages(self, problem: Problem) -> list[dict[str, str]]:
        """The prompt: examples, the same for all problems (a prefix that servers cache), then the question."""
        said: list[dict[str, str]] = []
        for shot in self.problems("shots", self.shots):
            said.append({"role": "user", "content": shot.question})
            said.append({"role": "assistant", "content": shot.shown})
        return [*said, {"role": "user", "content": problem.question}]

    def request(self, problem: Problem) -> dict[str, Any]:
        """The keywords of a chat completion, but for the model."""
        body = {"grammar": self.grammar, "cache_prompt": True}
        return {
            "messages": self.messages(problem),
            "temperature": TEMPERATURE,
            "max_tokens": self.max_tokens,
            "extra_body": body,
        }

    def verify(self, text: str, problem: Problem) -> bool:
        """Whether a whole answer is right."""
        return self.worth(_lines(text), problem).right

    def prefix(self, text: str, problem: Problem) -> float:
        """What a partial answer is worth, from 0 to 1; a line without its break counts as one."""
        return self.worth(_lines(text), problem).score

    def answer(self, text: str) -> str | None:
        """What votes: the lines, None for no answer."""
        return "\n".join(_lines(text)) or None

    def judge(self, problem: Problem) -> Judge:
        """The verifier of a call."""
        return Judge(self, problem)


@dataclass(frozen=True)
class Judge:
    """Accepts what is right, scores a prefix by what it is worth, and says where its first mistake is."""

    family: Family
    problem: Problem

    def check(self, output: str, *, arguments: Mapping[str, Any] | None = None) -> ttc.Verdict:  # noqa: ARG002  # the protocol's
        text = output or ""
        worth, right, bad = self.family.worth(_lines(text), self.problem)
        first_bad = None if bad is None else _begin(text, bad)
        return ttc.Verdict(1.0 if right else min(worth, 0.99), accepted=right, first_bad=first_bad)


def _split(question: str) -> Split:
    place = hashlib.sha256(question.encode()).digest()[0] % 8
    return "shots" if place == 0 else "tune" if place < 4 else "test"


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _begin(text: str, line: int) -> int:
    """The characters before one of the lines of a text that are not blank."""
    place, begins = 0, list[int]()
    for each in text.splitlines(keepends=True):
        if each.strip():
            begins.append(place)
        place += len(each)
    return begins[line]


def _of_known(lines: list[str], problem: Problem) -> Worth:
    """Where each next line is either the right one or a mistake: the share that is there; next to nothing after one."""
    wanted = problem.shown.split("\n")
    right = next((k for k, line in enumerate(lines) if k >= len(wanted) or line != wanted[k]), len(lines))
    if right < len(lines):
        return Worth(0.1 * right / len(wanted), bad=right)
    return Worth((1 + right) / (1 + len(wanted)), right == len(wanted))


_THINGS = ("soup", "film", "room", "hotel", "coffee", "show", "book", "song", "meal", "train", "beach", "garden")
_GOOD = ("great", "lovely", "excellent", "wonderful", "delicious", "superb", "fantastic", "beautiful", "amazing")
_BAD = ("awful", "terrible", "horrible", "disgusting", "dreadful", "boring", "ugly", "nasty", "broken")


def _moods(chance: random.Random) -> tuple[str, str, Any]:
    good = chance.random() < 0.5
    word = chance.choice(_GOOD if good else _BAD)
    start = chance.choice(("The {} was {}.", "What a {}, so {}!", "I found the {} {}."))
    return start.format(chance.choice(_THINGS), word), "good" if good else "bad", None


def _sums(n: int) -> Callable[[random.Random], tuple[str, str, Any]]:
    def make(chance: random.Random) -> tuple[str, str, Any]:
        terms = [chance.randint(1, 9) for _ in range(n)]
        lines, total = [], terms[0]
        for term in terms[1:]:
            lines.append(f"{total}+{term}={total + term}")
            total += term
        return f"Add {' '.join(map(str, terms))}", "\n".join(lines), None

    return make


def _sorting(n: int) -> Callable[[random.Random], tuple[str, str, Any]]:
    def make(chance: random.Random) -> tuple[str, str, Any]:
        numbers = chance.sample(range(1, 10), n)
        return f"Sort: {' '.join(map(str, numbers))}", "\n".join(map(str, sorted(numbers))), None

    return make


_MOVES = {"left": (-1, 0), "right": (1, 0), "up": (0, 1), "down": (0, -1)}
_FIELD = 3


def moved(at: tuple[int, int], move: str) -> tuple[int, int] | None:
    """The transition function: where a move leads; None off the field, and for a word that is none."""
    if move not in _MOVES:
        return None
    x, y = at[0] + _MOVES[move][0], at[1] + _MOVES[move][1]
    return (x, y) if max(abs(x), abs(y)) <= _FIELD else None


def _walking(least: int, most: int) -> Callable[[random.Random], tuple[str, str, Any]]:
    def make(chance: random.Random) -> tuple[str, str, Any]:
        while True:
            x, y = chance.randint(-_FIELD, _FIELD), chance.randint(-_FIELD, _FIELD)
            if least <= abs(x) + abs(y) <= most:
                break
        ways = ["right" if x > 0 else "left"] * abs(x) + ["up" if y > 0 else "down"] * abs(y)
        chance.shuffle(ways)
        wanted = [f"{ways.count(name)} {name}" for name in _MOVES if name in ways]
        chance.shuffle(wanted)
        # Shown with detours, or the model would give up before it has moved at all.
        moves = [*ways]
        for there, back in (("up", "down"), ("left", "right")):
            place = chance.randint(0, len(moves) - 1)
            moves[place:place] = [there, back]
        start = chance.choice(string.ascii_uppercase)
        return f"From {start} go {' and '.join(wanted)}", "\n".join(moves), (x, y)

    return make


def _reaching(lines: list[str], problem: Problem) -> Worth:
    """Nearer is better; a move off the field is a mistake; who comes by the goal has reached it."""
    x, y = problem.goal
    far, at = abs(x) + abs(y), (0, 0)
    nearest = far
    for place, line in enumerate(lines):
        to = moved(at, line)
        if to is None:
            return Worth(0.0, bad=place)
        at = to
        nearest = abs(x - at[0]) + abs(y - at[1])
        if not nearest:
            return Worth(1.0, right=True)
    return Worth(max(0.0, 1 - nearest / (far + 2)))


_NOUNS = (
    "apple", "bell", "bird", "boat", "book", "bread", "bridge", "castle", "cat", "chair", "cloud", "coat", "cow",
    "crown", "dog", "door", "drum", "farm", "fire", "fish", "flower", "forest", "garden", "gold", "hat", "horse",
    "house", "island", "key", "king", "lamp", "letter", "milk", "mirror", "moon", "mountain", "mouse", "queen",
    "rain", "ring", "river", "road", "sheep", "ship", "shoe", "snow", "song", "star", "stone", "storm", "sun",
    "sword", "table", "tower", "train", "tree", "village", "wall", "wind", "window", "wolf",
)  # fmt: skip


def _stories(n: int) -> Callable[[random.Random], tuple[str, str, Any]]:
    def make(chance: random.Random) -> tuple[str, str, Any]:
        words = chance.sample(_NOUNS, n)
        asked = f"Tell a story in {n} sentences, one a line. Use these words in this order, one in each sentence: "
        return f"{asked}{', '.join(words)}.", "\n".join(f"There was a {word}." for word in words), tuple(words)

    return make


def _telling(lines: list[str], problem: Problem) -> Worth:
    """A sentence without its word is a mistake, and so is one that was there before."""
    words: tuple[str, ...] = problem.goal
    right = 0
    for word, line in zip(words, lines, strict=False):
        if not re.search(rf"\b{word}s?\b", line.lower()) or line in lines[:right]:
            return Worth(0.1 * right / len(words), bad=right)
        right += 1
    if len(lines) > len(words):
        return Worth(0.0, bad=right)
    return Worth((1 + right) / (1 + len(words)), right == len(words))


def _story(n: int) -> Family:
    grammar = f'root ::= line ("\\n" line){{{n - 1}}}\nline ::= [A-Z] [a-zA-Z\',; -]{{8,90}} "."'
    ends = rf"\A(?:[^\n]+\n){{{n - 1}}}[^\n]+\.\Z"
    about = f"a story in {n} sentences, each with a given word"
    return Family(f"story{n}", about, grammar, 40 * n, _stories(n), _telling, step_tokens=40, ends=ends, shots=0)


_NUMBERS = 'root ::= [1-9] ("\\n" [1-9]){0,8}'
_EQUATIONS = 'root ::= line ("\\n" line){0,7}\nline ::= [0-9]{1,2} "+" [0-9] "=" [0-9]{1,2}'
_WALK = 'root ::= move ("\\n" move){0,9}\nmove ::= "up" | "down" | "left" | "right"'

FAMILIES = {
    each.name: each
    for each in (
        Family("mood", "what a sentence says of a thing", 'root ::= "good" | "bad"', 4, _moods, _of_known, steps=False),
        Family("add3", "running sums of three digits, one a line", _EQUATIONS, 36, _sums(3), _of_known),
        Family("sort3", "three digits in order, one a line", _NUMBERS, 20, _sorting(3), _of_known),
        Family("sort4", "four digits in order, one a line", _NUMBERS, 20, _sorting(4), _of_known),
        Family("sort6", "six digits in order, one a line", _NUMBERS, 20, _sorting(6), _of_known),
        Family("walk", "moves on a field of 7 by 7 to a goal", _WALK, 30, _walking(2, 3), _reaching),
        _story(4),
        _story(6),
    )
}


def main() -> None:
    from record import rate  # noqa: PLC0415  # that imports this

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", default=list(FAMILIES), choices=list(FAMILIES), metavar="family")
    parser.add_argument("--split", choices=("tune", "test"), default="tune")
    parser.add_argument("--problems", type=int, default=8)
    parser.add_argument("--samples", type=int, default=8, help="of each problem")
    parser.add_argument("--temperature", type=float, default=TEMPERATURE, help="what is recorded has %(default)s")
    asked = parser.parse_args()
    families = [FAMILIES[name] for name in asked.families]
    rate(families, asked.problems, asked.samples, asked.split, temperature=asked.temperature)


if __name__ == "__main__":
    main()
