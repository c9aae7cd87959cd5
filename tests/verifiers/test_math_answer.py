from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path

import pytest

from ttc_middleware._errors import VerifierFailed
from ttc_middleware._types import Verdict
from ttc_middleware.verifiers import math_answer
from ttc_middleware.verifiers.math_answer import MathAnswer, math_classes

pytestmark = pytest.mark.anyio
pytest.importorskip("math_verify")


async def right(answer, output, tolerance=0.0):
    verdict = await MathAnswer(answer, tolerance=tolerance).check(output)
    assert (verdict.feedback is None) is (verdict.score == 1) is verdict.accepted
    return verdict.accepted


@pytest.mark.parametrize(
    ("answer", "same"),
    [
        (r"\frac12", [r"\frac{1}{2}", "0.5", "50 %", r"50\%", "1/2", "½", r"\boxed{\dfrac{1}{2}}", ".5"]),
        ("50", ["50%", "50.0", "5*10", "$50$", "fifty? No: the answer is 50.", r"x = 50", r"50\text{ cm}"]),
        (r"\sqrt8", [r"2\sqrt2", r"2\sqrt{2}", "2*sqrt(2)", "2√2", "2.828427", "√8"]),
        (r"0.\overline{3}", ["1/3", "0.333333", "0.(3)"]),
        ("1e5", ["100000", "100,000", r"10^5", r"1.0\times 10^{5}", "10**5", 100_000]),
        ("10!", ["3628800", r"\frac{11!}{11}"]),
        ("1234", ["1 234", r"1\,234", "1{,}234", r"\$1,\!234"]),
        ("5/3", ["1 2/3", r"1\frac{2}{3}"]),
        ("-3", ["\u22123", r"\boxed{-3}", "x = -3", "the answer is: -3"]),
        ("x^2-1", ["(x-1)(x+1)", r"$x^{2} - 1$", r"f(x) = x^2-1"]),
        (r"\{1, 2\}", ["2, 1", r"\{2,1\}", r"\boxed{1} and \boxed{2}", "x=1, x=2", "1 and 2"]),
        ("[1, 2)", [r"1 \le x < 2", r"[1,2)", r"$\left[1, 2\right)$"]),
        ("(1, 2, 3)", ["(1,2,3)", "(1.0, 2, 3)", r"(1, \frac{4}{2}, 3)"]),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", [r"\begin{bmatrix} 1 \\ 2 \end{bmatrix}"]),
        ("2\\pi", ["6.283185", "2 pi", "2π"]),
        ("yes", ["Yes", r"\boxed{\text{yes}}"]),
        (5, ["5", 5, 5.0, "The final answer is $5$, as $2+3=5$. I hope it is correct.", "**5**", "#### 5"]),
    ],
)  # fmt: skip
async def test_every_way_of_writing_the_result_is_right(answer, same):
    for output in same:
        assert await right(answer, output), output


@pytest.mark.parametrize(
    ("answer", "others"),
    [
        (r"\frac12", ["0.51", "2", "1/2 or 1/3", "0.5 %", "", "no idea", "-0.5", "0.50001"]),
        ("50", ["0.5", "5", r"\boxed{50}, \boxed{51}", "500"]),
        (r"2\sqrt3", ["2", "3", r"2 \cdot 3"]),
        ("5", ["5!", r"\frac{0}{0}", r"\infty", "1/0", r"\infty - \infty", "x", r"\emptyset"]),
        ("5", ["2 3", r"\frac{5", r"x=5\foo{", r"2 + \foo{5} 5", "$5 or $6", "5 or 6", r"\begin{pmatrix} 1 & 5"]),
        ("5", [r"\boxed{\begin{pmatrix} 1 & 5" + "\\\\" * 40 + r"\end{pmatrix}}"]),
        ("1.6e-19", ["0", "0.0", "1.6", "1.7e-19"]),
        ("0", ["1.6e-19", "0.0000001", r"0.\overline{3}"]),
        ("1/3", ["0.333", "333333/1000000", "0.33334"]),
        ("1234567.89", ["1234568.50"]),
        (r"\pi", ["3.14", "22/7"]),
        ("(1, 2)", ["(2, 1)", "1", "[1, 2]"]),
        ("x = 5", ["y = 5", "x = 6"]),
        ("x^2-1", ["(x-1)^2", "x^2", "y^2-1"]),
        ("yes", ["no"]),
    ],
)
async def test_another_result_is_rejected(answer, others):
    for output in others:
        assert not await right(answer, output), output


async def test_the_feedback_shows_what_was_read_and_not_what_is_right():
    verifier = MathAnswer("41")
    assert await verifier.check(r"So it is \boxed{42}.") == Verdict(
        0.0, 'The answer "So it is \\boxed{42}." is wrong.', accepted=False
    )
    assert (await verifier.check("The answer is 42.")).feedback == 'The answer "42." is wrong.'
    assert (await verifier.check("no idea at all, sorry!")).feedback.startswith("No mathematical answer is found")


async def test_tolerance_is_a_part_of_the_right_number():
    assert await right("3.14", r"\pi", tolerance=0.01)
    assert await right("200", "201", tolerance=0.01)
    assert not await right("200", "203", tolerance=0.01)
    assert await right("1.6e-19", "1.602e-19", tolerance=0.01)
    assert not await right("1.6e-19", "0", tolerance=0.5)
    assert await right("(100, 200)", "(101, 199)", tolerance=0.01)
    assert await right(r"\{1, 2\}", "1.99, 1.01", tolerance=0.01)
    assert not await right(r"\{1, 2\}", "1.9, 1.01", tolerance=0.01)


async def test_each_of_several_answers_is_right_and_they_may_depend_on_the_call():
    verifier = MathAnswer(lambda problem: problem["answers"])
    assert verifier.parameters == {"problem"}
    assert (await verifier.check("4", arguments={"problem": {"answers": ["2", "4"]}})).accepted
    assert not (await verifier.check("3", arguments={"problem": {"answers": ["2", 4]}})).accepted


HOSTILE = [
    r"9^9^9^9",
    "9**9**9**9",
    "10**10**10",
    r"(10^9)!",
    "factorial(10**9)",
    "__import__('os').system('touch {path}')",
    "().__class__.__bases__[0].__subclasses__()",
    r"\input{{/etc/passwd}}",
    "(" * 150 + "5" + ")" * 150,
    r"\sqrt{" * 100 + "5" + "}" * 100,
    "5+" * 2000 + "5",
    "\\boxed{" * 600 + "5" + "}" * 600,
    "$" * 4000,
    "answer " * 600,
    "answer is $" * 400,
    "a" * 100_000,
    "\ud800",
    "\x00",
    "5" * 4000,
]


async def test_hostile_expressions_are_rejected_and_run_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(math_answer, "_ASIDE", replace(math_answer._ASIDE, cpu_s=20.0))  # ends by itself, or fails
    path = tmp_path / "written"
    for text in HOSTILE:
        output = text.replace("{path}", str(path))
        assert not await right("41", output), text
    assert not path.exists()
    assert await right("41", "41")


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_never_ends_is_rejected_and_the_next_answer_judged(monkeypatch):
    monkeypatch.setattr(math_answer, "_ASIDE", replace(math_answer._ASIDE, cpu_s=0.6))
    verdict = await MathAnswer("5").check(r"\boxed{9^{9^{9^9}}}")
    assert verdict.accepted is False
    assert "cannot be compared: it took more than 0.6 s of CPU. Simplify it." in verdict.feedback
    assert await right("5", "5")
    with pytest.raises(VerifierFailed, match=r"the right answer .* cannot be compared"):
        await MathAnswer(r"9^{9^{9^9}}").check("5")


async def test_a_right_answer_that_cannot_be_read_is_an_error():
    with pytest.raises(ValueError, match=r"no mathematics that can be read: '\\\\frac\{1'"):
        await MathAnswer(["5", r"\frac{1"]).check("6")


def test_wrong_arguments_are_refused():
    for answer in ("", [], ["5", " "]):
        with pytest.raises(ValueError, match="not empty"):
            MathAnswer(answer)
    with pytest.raises(ValueError, match="at most 2,000 characters, not 3,000"):
        MathAnswer("1" * 3000)
    with pytest.raises(TypeError, match="text or a number"):
        MathAnswer(None)
    for tolerance in (-0.1, 1, float("nan")):
        with pytest.raises(ValueError, match="tolerance is at least 0 and below 1"):
            MathAnswer("5", tolerance=tolerance)


async def test_what_is_no_text_is_an_error_and_what_is_nothing_a_rejection():
    with pytest.raises(TypeError, match="not in list"):
        await MathAnswer("5").check([5])
    assert not (await MathAnswer("5").check(None)).accepted


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(math_answer, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "ttc-middleware\[math\]"'):
        MathAnswer("5")


async def test_equal_answers_are_in_one_class():
    texts = [r"\boxed{\frac12}", "The answer is 0.5", "2", "1/2", "", "50 %", "dunno, sorry!", "2.0", "Dunno,  sorry!"]
    assert await math_classes(texts) == [0, 0, 1, 0, None, 0, 2, 1, 2]
    assert await math_classes([]) == []


async def test_classes_are_transitive_whatever_the_order():
    # What math-verify's equality connects and must not be: 0.5 = 50 % = 50, and (1,2) = {1,2} = {2,1} = (2,1).
    texts = ["50", "50 %", "0.5", "(1,2)", "1, 2", "2, 1", "(2,1)", "1/3", "0.333333", "333333/1000000"]
    partition = {
        frozenset({0}),
        frozenset({1, 2}),
        frozenset({3}),
        frozenset({4, 5}),
        frozenset({6}),
        frozenset({7, 8, 9}),
    }
    for seed in range(2):
        order = random.Random(seed).sample(range(len(texts)), len(texts))
        classes = await math_classes([texts[at] for at in order])
        found = itertools.groupby(sorted(zip(classes, order, strict=True)), key=lambda pair: pair[0])
        assert {frozenset(at for _, at in pairs) for _, pairs in found} == partition


def test_the_host_never_imports_sympy():
    source = Path(math_answer.__file__).read_text()
    assert "import sympy" not in source
    assert "import math_verify" not in source
