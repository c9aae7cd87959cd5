from __future__ import annotations

import pytest

from ttc_middleware._errors import VerifierFailed
from ttc_middleware._types import Verdict
from ttc_middleware.verifiers.logic import Logic

pytestmark = pytest.mark.anyio
pytest.importorskip("z3")

PREMISES = "(set-logic ALL) (declare-const x Int) (assert (> x 2)) ; at least three\n(check-sat)"
SQUARE = "(declare-const x Int) (assert (= (* x x) 49))"
FUNCTION = "(declare-fun f (Int) Int) (declare-const y Int) (assert (= (f 3) 4)) (assert (>= (f 4) (f 3)))"
SOCRATES = """
(declare-sort Thing 0) (declare-fun man (Thing) Bool) (declare-fun mortal (Thing) Bool) (declare-const socrates Thing)
(assert (forall ((t Thing)) (=> (man t) (mortal t)))) (assert (man socrates))
"""
FERMAT = """
(declare-const a Int) (declare-const b Int) (declare-const c Int)
(assert (and (> a 1) (> b 1) (> c 1) (= (+ (* a a a) (* b b b)) (* c c c))))
"""


async def accepts(kind, problem, output, **limits):
    verdict = await Logic(kind, problem, **limits).check(output)
    assert (verdict.feedback is None) is (verdict.score == 1) is verdict.accepted
    return verdict.accepted


@pytest.mark.parametrize(
    "output",
    [
        "(assert (> x 1))",
        "```smt2\n(declare-const x Int)\n(assert (> x 1))\n(check-sat)\n(get-model)\n```",
        "So we know: (assert (> x 1)).",
        "(declare-const y Int) (assert (> (+ x (* y y)) 2))",
        "(define-fun twice ((n Int)) Int (* 2 n)) (assert (> (twice x) 5))",
        "(assert (> x 1)) (assert (not (= x 0)))",
        "(assert (! (> |x| 1) :named conclusion))",
    ],
)
async def test_a_conclusion_that_follows_is_right(output):
    assert await accepts("entailment", PREMISES, output)


async def test_a_conclusion_that_does_not_follow_is_rejected_with_an_example():
    verdict = await Logic("entailment", PREMISES).check("(assert (> x 3))")
    said = "The conclusion does not follow: the premises can hold without it, as where x = 3."
    assert verdict == Verdict(0.0, said, accepted=False)


async def test_premises_may_be_about_anything():
    assert await accepts("entailment", SOCRATES, "(assert (mortal socrates))")
    assert not await accepts("entailment", SOCRATES, "(assert (forall ((t Thing)) (man t)))")


@pytest.mark.parametrize(
    "output",
    [
        "(assert true)",  # says nothing
        "(assert (or (> x 0) (<= x 0)))",
        "(assert (let ((x 5)) (> x 3)))",
        "(assert false)",  # contradicts the premises
        "(assert false) (assert (> x 3))",
        "(assert (> x 3)) (assert (not (> x 3)))",
        "(declare-const y Int) (assert (= y x))",  # holds for some y only
        "(define-fun-rec f ((n Int)) Int (+ 1 (f n))) (assert (= (f 0) 0))",  # proves anything
        "(define-fun x () Int 5) (assert (> x 3))",  # another x
        "(define-fun |x| () Bool true) (assert x)",
        "(declare-const x Real) (assert (> x 1))",
        "(declare-fun |x| (Int) Bool) (assert (> x 1))",
        "(declare-fun > (Int Int) Bool) (assert (> x 3))",
        "(define-fun not ((b Bool)) Bool b) (assert (not (> x 3)))",
        "(assert (> x 1))) (assert false",
        "(push) (assert (> x 1)) (pop)",
        "(reset) (assert (> x 1))",
        '(include "/etc/passwd") (assert (> x 1))',
        '(echo "x") (assert (> x 1))',
        "(assert (> y 1))",
        "(assert x)",
        "(assert)",
        "()",
        "(assert (> x 1)",
        '(assert (= "\\" (assert (> x 1)) ; "))',
        "(assert |a\\|)",
        "(assert (> x 1\x00))",
        "(assert (> x １))",  # noqa: RUF001  # full width
        "x is more than 1",
        "",
        "(" * 100_000,
        "(" * 190 + ")" * 190,
        "(assert " + "(not " * 190 + "true" + ")" * 191,
        "x" * 300_000,
    ],
)
async def test_nothing_follows_for_free(output):
    assert not await accepts("entailment", PREMISES, output)


async def test_recursive_definitions_are_refused_since_they_can_contradict_themselves():
    verdict = await Logic("entailment", PREMISES).check("(define-fun-rec f () Int 1) (assert (> x 1))")
    assert verdict.feedback.endswith("(define-fun-rec f () Int 1) is no declaration, definition or assertion.")


async def test_options_of_an_answer_never_reach_z3(tmp_path):
    path = tmp_path / "written"
    options = f'(set-option :diagnostic-output-channel "{path}") (set-option :smtlib2_log "{path}")'
    assert await accepts("entailment", PREMISES, f"{options} (assert (> x 1))")
    assert not path.exists()


async def test_without_premises_a_conclusion_is_a_theorem():
    assert await accepts("entailment", "(declare-const p Bool)", "(assert (or p (not p)))")
    assert not await accepts("entailment", "(declare-const p Bool)", "(assert p)")


@pytest.mark.parametrize("kind", ["entailment", "consistency"])
async def test_premises_that_contradict_each_other_are_an_error(kind):
    with pytest.raises(ValueError, match="contradict each other"):
        await accepts(kind, "(declare-const p Bool) (assert p) (assert (not p))", "(assert p)")


async def test_what_is_possible_is_consistent():
    assert await accepts("consistency", PREMISES, "(assert (= (mod x 7) 0))")
    assert await accepts("consistency", PREMISES, "(declare-const y Int) (assert (= y (* 2 x)))")
    said = (await Logic("consistency", PREMISES).check("(assert (< x 0))")).feedback
    assert said == "The assertions contradict the premises."
    said = (await Logic("consistency", PREMISES).check("(assert (< x 5)) (assert (> x 5))")).feedback
    assert said == "The assertions contradict each other."
    assert not await accepts("consistency", PREMISES, "(declare-const y Int)")


@pytest.mark.parametrize(
    ("problem", "output"),
    [
        (SQUARE, "sat"),
        (SQUARE, "The answer is **sat**."),
        (SQUARE, "(define-fun x () Int (- 7))"),
        (SQUARE, "sat\n(\n  (define-fun x () Int\n    7)\n)"),
        (SQUARE, "(model (define-fun x () Int 7))"),
        (SQUARE, "((x 7))"),
        (SQUARE, "```\n(define-const x Int 7)\n```"),
        (FUNCTION, "(define-fun f ((a Int)) Int (+ a 1))"),
        (FUNCTION, "((y 0)) (define-fun f ((a Int)) Int 4)"),
        ("(declare-const p Bool) (assert p) (assert (not p))", "unsat"),
    ],
)
async def test_an_answer_that_satisfies_the_problem_is_right(problem, output):
    assert await accepts("answer", problem, output)


@pytest.mark.parametrize(
    ("problem", "output"),
    [
        (SQUARE, "unsat"),
        (SQUARE, "sat or unsat"),
        (SQUARE, "unsat ((x 7))"),
        (SQUARE, "((x 8))"),
        (SQUARE, "((x 8)) sat"),
        (SQUARE, "((x 8) (x 7))"),
        (SQUARE, "((x x))"),
        (SQUARE, "((x true))"),
        (SQUARE, "((y 7))"),
        (SQUARE, "((* 7))"),
        (SQUARE, "(define-fun x ((a Int)) Int 7)"),
        (SQUARE, "(define-fun x () Int (ite true 7 (include)))"),
        (SQUARE, "(define-fun = ((a Int) (b Int)) Bool true)"),
        (SQUARE, "(assert false)"),
        (SQUARE, "maybe"),
        (FUNCTION, "(define-fun f ((a Int)) Int a)"),
        (FUNCTION, "((f 4))"),
        (FUNCTION, "(define-fun f (((a b) Int)) Int 4)"),
        (FUNCTION, "((y 7))"),  # whatever f is, they would have to hold
        ("(declare-const p Bool) (assert p) (assert (not p))", "sat"),
        ("(declare-const p Bool) (assert p) (assert (not p))", "((p true))"),
    ],
)
async def test_an_answer_that_does_not_is_rejected(problem, output):
    assert not await accepts("answer", problem, output)


async def test_what_z3_cannot_decide_is_not_judged():
    with pytest.raises(VerifierFailed, match=r"did not decide within its limits: it took more than 0\.2 s of CPU"):
        await accepts("answer", FERMAT, "sat", seconds=0.2)
    assert await accepts("answer", SQUARE, "sat")


async def test_the_problem_may_depend_on_the_call():
    verifier = Logic("entailment", lambda premises: premises)
    assert verifier.parameters == {"premises"}
    assert (await verifier.check("(assert (> x 1))", arguments={"premises": PREMISES})).accepted
    with pytest.raises(ValueError, match=r"the problem is not one: unknown constant z"):
        await verifier.check("(assert true)", arguments={"premises": "(assert (> z 1))"})
    with pytest.raises(ValueError, match="is no SMT-LIB: a bracket is not closed"):
        await verifier.check("(assert true)", arguments={"premises": "(assert"})


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="kind is one of entailment, consistency, answer, not 'proof'"):
        Logic("proof", PREMISES)
    with pytest.raises(ValueError, match=r"\(push\) is no declaration, definition or assertion"):
        Logic("answer", "(push)")
    with pytest.raises(ValueError, match="declares and asserts nothing"):
        Logic("answer", "(check-sat)")
    with pytest.raises(TypeError, match="text in SMT-LIB, not 1"):
        Logic("answer", 1)
    with pytest.raises(ValueError, match="seconds are more than 0"):
        Logic("answer", PREMISES, seconds=0)
    with pytest.raises(ValueError, match="at least 128 MiB"):
        Logic("answer", PREMISES, memory=1000)


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr("ttc_middleware.verifiers.logic.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "ttc-middleware\[logic\]"'):
        Logic("answer", PREMISES)


async def test_a_premise_said_again_is_no_conclusion():
    problem = "(declare-const p Bool)(declare-const q Bool)(assert p)(assert (=> p q))"
    verdict = await Logic("entailment", problem).check("(assert p)")
    assert verdict.accepted is False
    assert "only repeats a premise" in verdict.feedback
    assert (await Logic("entailment", problem).check("(assert (and p q))")).accepted
