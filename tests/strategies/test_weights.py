"""Votes that weigh: by score, log-probability, stated confidence, or a function."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import thorough

import ttc_middleware as ttc
from ttc_middleware.strategies import CISC
from ttc_middleware.strategies._weights import stated_confidence, without_confidence
from ttc_middleware.testing import Outcome, play

SCORED = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.9])).map(
            lambda each: Outcome(output=each[0], score=each[1])
        ),
        st.sampled_from("ab").map(lambda text: Outcome(output=text, verifier_failed=True)),
        st.just(Outcome(status="failed")),
    ),
    min_size=1,
    max_size=9,
)


def heaviest(votes):
    """The definition: the class with the largest sum; (answer, weight or None) in launch order."""
    known = [weight for _, weight in votes if weight is not None]
    mean = sum(map(Fraction, known)) / len(known) if known else Fraction(1)
    sums, counts = defaultdict(Fraction), defaultdict(int)
    for answer, weight in votes:
        sums[answer] += mean if weight is None else Fraction(weight)
        counts[answer] += 1
    return {answer: (total, counts[answer]) for answer, total in sums.items()}


@thorough(50)
@given(SCORED, st.data())
def test_a_vote_by_score_ends_early_with_the_class_that_weighs_most_of_all_in_any_order(outcomes, data):
    arrival = data.draw(st.permutations(range(len(outcomes))))
    played = play(ttc.SelfConsistency(len(outcomes), weight="score"), outcomes, arrival=arrival)
    judged = [each for each in outcomes if each.status == "answer"]
    counted = [each for each in judged if each.verifier_failed] or judged  # the others are rejected
    sums = heaviest([(each.output, None if each.verifier_failed else each.score) for each in counted])
    if not sums:
        assert played.winner.status == "failed"
    else:
        most = max(total for total, _ in sums.values())
        won = sums[played.winner.text][0]
        assert math.isclose(won, most, rel_tol=1e-12, abs_tol=0)  # floats that tie, almost


@thorough(50)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 8)), min_size=1, max_size=9), st.data())
def test_ending_early_changes_no_winner_where_weights_are_exact(votes, data):
    """Eighths add up exactly, so that even ties are the definition's."""
    arrival = data.draw(st.permutations(range(len(votes))))
    outcomes = [Outcome(output=text, score=eighths / 8, accepted=True) for text, eighths in votes]
    sums = heaviest([(text, eighths / 8) for text, eighths in votes])
    earliest = {text: next(place for place, each in enumerate(votes) if each[0] == text) for text in sums}
    expected = min(sums, key=lambda text: (-sums[text][0], -sums[text][1], earliest[text]))
    assert play(ttc.SelfConsistency(len(votes), weight="score"), outcomes, arrival=arrival).winner.text == expected


def test_two_votes_of_one_half_weigh_less_than_one_of_nine_tenths_and_a_half():
    outcomes = [Outcome(output=text, score=score) for text, score in [("a", 0.5), ("a", 0.3), ("b", 0.9)]]
    assert play(ttc.SelfConsistency(3), outcomes).winner.text == "a"
    assert play(ttc.SelfConsistency(3, weight="score"), outcomes).winner.text == "b"


def test_it_ends_as_soon_as_the_rest_cannot_weigh_as_much():
    surely = [Outcome(output="a", score=0.9, accepted=True)] * 7
    doubtful = [Outcome(output="a", score=0.4, accepted=True)] * 7
    strategy = ttc.SelfConsistency(7, weight="score")
    assert len(play(strategy, surely).samples) == 4  # 3.6 against 3
    assert len(play(strategy, doubtful).samples) == 6  # 2.4 against 1


def test_weights_without_a_bound_are_waited_for():
    def words(text):
        return len(text)

    played = play(ttc.SelfConsistency(5, by=lambda text: text[0], weight=words), ["a", "a", "a", "a", "b" * 9])
    assert (len(played.samples), played.winner.text) == (5, "b" * 9)


def test_a_weight_can_be_a_function_of_the_sample():
    def late(sample: ttc.Sample[str]) -> float:
        return sample.index

    assert play(ttc.SelfConsistency(3, weight=late), ["a", "a", "b"]).winner.text == "b"


@pytest.mark.parametrize("wrong", [None, math.nan, math.inf, -1, 1e300, 10**400, "3", 1j, ValueError("no")])
def test_what_is_no_weight_weighs_the_mean_of_the_others(wrong):
    def weight(text):
        if text[1:] != "?":
            return int(text[1:])
        if isinstance(wrong, Exception):
            raise wrong
        return wrong

    def vote(*texts):
        return play(ttc.SelfConsistency(len(texts), by=lambda text: text[0], weight=weight), texts).winner.text

    assert vote("a?", "b2", "c6") == "c6"  # a weighs 4
    assert vote("a?", "b3", "b2", "c1") == "b3"  # a weighs 2
    assert vote("a?", "a?", "b2", "c1") == "a?"  # 1.5 each


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        ("logprob", "no sample has a log-probability .*logprobs=True"),
        ("confidence", "no sample has a confidence, so each has one vote"),
        (CISC(of=lambda text: 2.0), "no sample has a confidence, so each has one vote: the first said 2.0"),
        (lambda text: math.nan, "no sample has a weight, so each has one vote: the first said nan"),
        (lambda text: 1 / 0, "so each has one vote: the first said ZeroDivisionError"),
    ],
)
def test_where_no_sample_says_what_it_weighs_each_has_one_vote_and_a_warning_says_so(weight, said):
    with pytest.warns(UserWarning, match=said):
        played = play(ttc.SelfConsistency(3, weight=weight), ["a", "b", "b"])
    assert played.winner.text == "b"


def logged(strategy, drawn):
    """Play with log-probabilities, which no verifier gives."""
    steps = strategy.search(ttc.Call(name="f"))
    step = next(steps)
    samples = [
        ttc.Sample(index=place, draw=step[0], call=ttc.Call(name="f"), output=text, text=text, logprob=logprob)
        for place, (text, logprob) in enumerate(drawn)
    ]
    try:
        for sent in samples:
            steps.send(sent)
    except StopIteration as end:
        return end.value.text, samples[: sent.index + 1]
    raise AssertionError("asks on")


def test_log_probabilities_weigh_as_the_mean_probability_of_a_token():
    strategy = ttc.SelfConsistency(3, weight="logprob")
    sure, half, tenth = math.log(0.9), math.log(0.5), math.log(0.1)
    assert logged(strategy, [("a", tenth), ("a", half), ("b", sure)])[0] == "b"
    assert logged(strategy, [("a", half), ("a", half), ("b", sure)])[0] == "a"
    assert logged(strategy, [("a", None), ("a", tenth), ("b", sure)])[0] == "b"  # 0.6 in all
    assert len(logged(strategy, [("a", sure), ("a", sure), ("b", sure)])[1]) == 2


def test_confidences_weigh_by_their_softmax():
    def vote(temperature):
        texts = ["7\nConfidence: 30", "7\nConfidence: 40", "8\nConfidence: 95%"]
        weigh = CISC(temperature=temperature)
        return play(ttc.SelfConsistency(3, weight=weigh), texts).winner.text[0]

    # exp(-0.55 / T) + exp(-0.65 / T) crosses 1 at T = 0.86.
    assert (vote(0.5), vote(0.8), vote(1.0)) == ("8", "8", "7")
    assert vote(0.01) == "8"


def test_a_sample_that_states_no_confidence_has_the_mean_one():
    # 0.6: above the 0.3 of b, below the 0.9 of c.
    texts = ["a", "b\nConfidence: 0.3", "c\nConfidence: 0.9"]
    assert play(ttc.SelfConsistency(3, weight="confidence"), texts).winner.text[0] == "c"
    assert play(ttc.SelfConsistency(4, weight="confidence"), [*texts, "a"]).winner.text[0] == "a"


def test_what_is_said_of_confidence_is_no_part_of_the_answer():
    texts = ["The answer is 7. Confidence: 80", "The answer is 7. Confidence: 70", "The answer is 8. Confidence: 90"]
    assert play(ttc.SelfConsistency(3, weight="confidence"), texts).index == 0


@pytest.mark.filterwarnings("ignore:SelfConsistency.weight")  # it can end before one that says has finished
@thorough(50)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 100)), min_size=1, max_size=8),
    st.sampled_from([0.01, 0.3, 1.0, 10.0]),
    st.data(),
)
def test_a_vote_by_confidence_is_the_papers_in_any_order(votes, temperature, data):
    texts = [text if sure is None else f"{text}\nConfidence: {sure}%" for text, sure in votes]
    if all(sure is None for _, sure in votes):
        return
    arrival = data.draw(st.permutations(range(len(votes))))
    strategy = ttc.SelfConsistency(len(votes), weight=CISC(temperature=temperature))
    known = [sure / 100 for _, sure in votes if sure is not None]
    confidence = [sum(known) / len(known) if sure is None else sure / 100 for _, sure in votes]
    top = max(confidence)
    sums = defaultdict(float)
    for (text, _), sure in zip(votes, confidence, strict=True):
        sums[text] += math.exp((sure - top) / temperature)
    won = play(strategy, texts, arrival=arrival).winner.text[0]
    assert sums[won] >= max(sums.values()) * (1 - 1e-9)


@pytest.mark.parametrize(
    ("text", "confidence"),
    [
        ("7\nConfidence: 85", 0.85),
        ("**Confidence:** 85%", 0.85),
        ("confidence = 0.85", 0.85),
        ("Confidence (0-100): 85", 0.85),
        ("Confidence score: 8.5/10", 0.85),
        ("Confidence level is 85 / 100.", 0.85),
        ("My confidence is 85 %", 0.85),
        ("Confidence: 0.2 … no: Confidence: 85", 0.85),
        ("Confidence - 85", 0.85),
        ("Confidence: 1", 1.0),
        ("Confidence: 1%", 0.01),
        ("Confidence: 100", 1.0),
        ("Confidence: 0", 0.0),
        ("Confidence: 101", None),
        ("Confidence: -5", None),
        ("Confidence: high", None),
        ("overconfidence 85", None),
        ("7", None),
        ("", None),
        (None, None),
    ],
)
def test_a_confidence_is_read_from_the_text(text, confidence):
    assert stated_confidence(text) == (None if confidence is None else pytest.approx(confidence))


@thorough(50)
@given(st.text(max_size=200), st.floats(0, 100))
def test_a_confidence_is_taken_out_of_any_text_again(text, sure):
    assert stated_confidence(f"{text}\nConfidence: {sure:.2f}%") == pytest.approx(float(f"{sure:.2f}") / 100)
    assert without_confidence(f"{text}\nConfidence: {sure:.2f}%").strip() == without_confidence(text).strip()


@pytest.mark.parametrize(
    "temperature", [0, 0.009, -1, math.inf, math.nan, 10**400, True, "1"], ids=lambda given: f"{given!r:.9}"
)
def test_a_temperature_is_at_least_a_hundredth(temperature):
    with pytest.raises(ValueError, match=r"CISC\(temperature=\) must be at least 0.01, got"):
        CISC(temperature=temperature)


def test_what_weighs_is_a_known_word_or_a_function():
    with pytest.raises(ValueError, match=r"SelfConsistency\(weight=\) must be \"score\", .* got 'scores'"):
        ttc.SelfConsistency(3, weight="scores")
    with pytest.raises(TypeError, match=r"SelfConsistency\(weight=\) takes an object, not a class: write CISC\(\)"):
        ttc.SelfConsistency(3, weight=CISC)
    with pytest.raises(TypeError, match=r"CISC\(of=\) must be a function of the output, got 0.5"):
        CISC(of=0.5)


def test_weighing_by_score_needs_a_verifier_and_nothing_else_does():
    assert ttc.SelfConsistency(3, weight="score").needs_verifier
    assert not replace(ttc.SelfConsistency(3, weight="score"), weight="confidence").needs_verifier
    with pytest.raises(TypeError, match="needs a verifier"):
        ttc.scale(ttc.SelfConsistency(3, weight="score"))(lambda: "7")
