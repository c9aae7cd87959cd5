"""Telling thoughts from answers, in every way that models write them down."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttc_middleware as ttc

TAGS = [
    "<think>", "</think>", "<thinking>", "</thinking>", "[THINK]", "[/THINK]", "<seed:think>", "</seed:think>",
    "◁think▷", "◁/think▷", "<|START_THINKING|>", "<|END_THINKING|>",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>hm</think>42", ("hm", "42", True)),
        ("<think>\nhm\n</think>\n\n42", ("\nhm\n", "\n\n42", True)),
        ("<thinking>hm</thinking>42", ("hm", "42", True)),
        ("<THINK>hm</Think>42", ("hm", "42", True)),
        ("[THINK]hm[/THINK]42", ("hm", "42", True)),
        ("<seed:think>hm</seed:think>42", ("hm", "42", True)),
        ("◁think▷hm◁/think▷42", ("hm", "42", True)),
        ("<|START_THINKING|>hm<|END_THINKING|>42", ("hm", "42", True)),
        ("<|channel>thought\nhm<channel|>42", ("hm", "42", True)),
        ("42", ("", "42", True)),
        ("", ("", "", True)),
        ("hm</think>42", ("hm", "42", True)),  # opened in the prompt
        ("<think>hm", ("hm", "", False)),  # cut
        ("<think>a<think>b</think>c</think>42", ("abc", "42", True)),
        ("<think>a</think>4<think>b</think>2", ("ab", "42", True)),
        ("<think>a</think>4<think>b", ("ab", "4", False)),
        ("<think></think>42", ("", "42", True)),
        ("I think <b>so</b>, if 1 < 2", ("", "I think <b>so</b>, if 1 < 2", True)),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>42<|return|>",
         ("hm", "42", True)),
        ("<|channel|>analysis<|message|>hm", ("hm", "", False)),
        ("<|channel|>commentary<|message|>a<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{}",
         ("a", "{}", True)),
    ],
)  # fmt: skip
def test_each_dialect_is_told_apart(text, expected):
    assert ttc.extract_thinking(text) == expected


def block(**fields):
    return SimpleNamespace(**fields)


@pytest.mark.parametrize(
    "said",
    [
        {"choices": [{"message": {"content": "42", "reasoning_content": "hm"}}]},
        {"choices": [{"message": {"content": "42", "reasoning": "hm"}}]},
        block(choices=[block(message=block(content="<think>hm</think>42"))]),
        {"role": "assistant", "content": "42", "reasoning_content": "hm"},
        {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "42"}]},
        block(content=[block(type="thinking", thinking="hm"), block(type="text", text="42")]),
        {"content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            {"type": "text", "text": "42"},
        ]},
        {"output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"type": "message", "content": [{"type": "output_text", "text": "42"}]},
        ]},
    ],
)  # fmt: skip
def test_thinking_in_fields_of_its_own_is_read_too(said):
    assert ttc.extract_thinking(said) == ("hm", "42", True)


def test_both_kinds_at_once_are_put_together():
    said = {"content": "<think>b</think>42", "reasoning_content": "a"}
    assert ttc.extract_thinking(said) == ("a\nb", "42", True)


@pytest.mark.parametrize(
    "said", [None, 5, [], {}, {"choices": []}, {"choices": [None]}, {"content": [None, 3]}, object()]
)
def test_what_is_no_response_has_neither(said):
    assert ttc.extract_thinking(said) == ("", "", True)


def letters(text):
    return sorted(text)


@given(st.lists(st.one_of(st.sampled_from(TAGS), st.text(alphabet="ab <>/[]think|", max_size=6)), max_size=30))
def test_nothing_is_lost_but_the_tags(pieces):
    text = "".join(pieces)
    thinking, answer, _ = ttc.extract_thinking(text)
    tags = re.compile("|".join(map(re.escape, TAGS)), re.IGNORECASE)
    assert letters(thinking + answer) == letters(tags.sub("", text))


@given(st.text(max_size=200))
def test_a_text_without_tags_is_all_answer(text):
    if not any(tag.lower() in text.lower() for tag in TAGS):
        assert ttc.extract_thinking(text) == ("", text, True)


HARMONY = [
    "<|start|>",
    "<|channel|>",
    "<|message|>",
    "<|end|>",
    "<|return|>",
    "<|constrain|>",
    "analysis",
    "final",
    " a",
]


@given(st.lists(st.sampled_from([*HARMONY, *TAGS]), max_size=40))
def test_mangled_channels_never_raise_and_invent_nothing(pieces):
    text = "".join(pieces)
    thinking, answer, _ = ttc.extract_thinking(text)
    assert len(thinking) + len(answer) <= len(text)


@pytest.mark.parametrize(
    "evil",
    [
        "<think>",
        "</think>",
        "<",
        "<|start|>",
        "<|start|>a",
        "<|channel|>",
        "<|channel|>a ",
        "<|message|>",
        "[THINK",
        " ",
    ],
)
def test_hostile_text_takes_time_in_proportion_to_its_length(evil):
    def seconds(times):
        text = "<|message|>" * (len(evil) % 2) + evil * times
        best = 9.0
        for _ in range(3):
            started = time.process_time()
            ttc.extract_thinking(text)
            best = min(best, time.process_time() - started)
        return best

    assert seconds(64_000) < 40 * max(seconds(4_000), 0.0005)  # 16 times the text; squared it would be 256 times
