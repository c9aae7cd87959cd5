"""The tree of a search: its figures, what prints, and the picture."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from decimal import Decimal
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttc_middleware as ttc
from ttc_middleware.testing import play

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = 'a <script>alert("&")</script> ]]> \x00\x1b[31m \ud800 \u202e \ufffe'


def sample(
    index: int, parent: ttc.Sample[str] | None = None, text: str | None = "said", **given: object
) -> ttc.Sample[str]:
    usage = ttc.Usage(1, 100 + index, 10, usd=Decimal(index + 1) / 1000)
    draw = ttc.Draw(
        parent=parent, extend=None if parent is None else parent.text, kind="answer" if parent is None else "step"
    )
    fields: dict[str, object] = {"usage": usage, "text": text, "draw": draw, **given}
    return ttc.Sample(index=index, call=ttc.Call(name="shop:answer"), output=text or "", **fields)  # type: ignore[arg-type]  # of many types


def result(samples: list[ttc.Sample[str]], winner: int | None = None) -> ttc.Result[str]:
    won = next((each for each in samples if each.index == winner), None)
    return ttc.Result(
        output="" if won is None else won.output,
        accepted=won is not None and won.accepted,
        bill=ttc.Bill(),
        samples=tuple(samples),
        winner=won,
        stop_reason="decided",
        name="shop:answer",
        strategy="Some(<strategy>, 'x' & 3)",
    )


def grown(parents: list[int | None]) -> list[ttc.Sample[str]]:
    """Samples that were drawn from those with these launch orders."""
    samples: list[ttc.Sample[str]] = []
    for index, parent in enumerate(parents):
        score = ttc.Verdict(index % 11 / 10, accepted=False) if index % 3 else None
        samples.append(sample(index, None if parent is None else samples[parent], f"step {index}\n", verdict=score))
    return samples


@st.composite
def forests(draw: st.DrawFn) -> list[int | None]:
    size = draw(st.integers(0, 40))
    return [draw(st.none() | st.integers(0, index - 1)) if index else None for index in range(size)]


@given(forests(), st.randoms(use_true_random=False), st.integers(0, 39))
def test_every_sample_is_in_the_tree_once_and_visits_and_costs_add_up(
    parents: list[int | None], random: object, won: int
) -> None:
    samples = grown(parents)
    shuffled = list(samples)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random
    tree = result(shuffled, won).tree
    assert [node.sample for node in tree.nodes] == samples
    assert [node.parent for node in tree.nodes] == parents
    assert sum(root.visits for root in tree.roots) == len(samples)
    below = {node.sample.index: {node.sample.index} for node in tree.nodes}
    for node in reversed(tree.nodes):
        for child in node.children:
            assert child.parent == node.sample.index
            assert child.depth == node.depth + 1
            below[node.sample.index] |= below[child.sample.index]
        mine = [each.usage for each in samples if each.index in below[node.sample.index]]
        assert node.visits == len(mine)
        assert node.usage.tokens == sum(usage.tokens for usage in mine)
        assert node.usage.usd == sum(usage.usd or 0 for usage in mine)
        assert node.usage.calls == len(mine)
    assert tree.usage.tokens == sum(each.usage.tokens for each in samples)
    assert tree.usage.usd == sum(each.usage.usd or 0 for each in samples)
    on_path = [node for node in tree.nodes if node.chosen]
    assert [node.sample.index for node in on_path] == sorted(ancestors(parents, won))


def ancestors(parents: list[int | None], index: int) -> set[int]:
    path: set[int] = set()
    step: int | None = index if index < len(parents) else None
    while step is not None:
        path.add(step)
        step = parents[step]
    return path


@pytest.mark.parametrize(
    ("strategy", "shape"),
    [
        (ttc.BestOfN(3, stop="all"), [(None, 0, 1, False), (None, 0, 1, True), (None, 0, 1, False)]),
        (ttc.Refine(2), [(None, 0, 3, True), (0, 1, 2, True), (1, 2, 1, False)]),
    ],
)
def test_best_of_n_is_a_star_and_refine_a_chain(
    strategy: ttc.Strategy, shape: list[tuple[int | None, int, int, bool]]
) -> None:
    played = play(strategy, [0.1, 0.3, 0.2])
    tree = result(list(played.samples), played.index).tree
    assert [(node.parent, node.depth, node.visits, node.chosen) for node in tree.nodes] == shape


def test_a_parent_that_did_not_finish_or_was_launched_later_makes_a_root() -> None:
    stranger = sample(9)
    tree = result([sample(0, stranger), sample(1, sample(1)), sample(2, sample(0))]).tree
    assert [node.parent for node in tree.nodes] == [None, None, 0]


def test_a_cost_that_is_not_known_of_one_sample_is_not_known_of_its_ancestors() -> None:
    first = sample(0)
    priced, unpriced = sample(1, first), sample(2, first, usage=ttc.Usage(1, 5, 5))
    tree = result([first, priced, unpriced]).tree
    assert [node.usage.usd for node in tree.nodes] == [None, Decimal("0.002"), None]


@pytest.mark.parametrize("shape", ["chain", "star", "tree"])
def test_a_tree_of_a_thousand_samples_is_built_in_linear_time(shape: str) -> None:
    def calls(size: int) -> int:
        shapes: dict[str, list[int | None]] = {
            "chain": [index - 1 if index else None for index in range(size)],
            "star": [None] * size,
            "tree": [(index - 1) // 3 if index else None for index in range(size)],
        }
        whole, count = result(grown(shapes[shape]), size - 1), 0

        def counted(_frame: FrameType, event: str, _arg: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(counted)
        try:
            tree = whole.tree
        finally:
            sys.setprofile(None)
        assert len(tree.nodes) == size
        return count

    assert calls(1000) < 2.1 * calls(500)


def test_a_tree_prints_with_the_winners_path_marked_and_costs_of_branches() -> None:
    samples = grown([None, 0, 0, 2])
    lines = str(result(samples, 3).tree).splitlines()
    assert lines == [
        "Some(<strategy>, 'x' & 3) shop:answer: not accepted, 4 samples, 446 tokens $0.01",
        "└*0, 110 tokens $0.001 (4 visits: 446 tokens $0.01): step 0",
        "  ├ 1 0.10, 111 tokens $0.002: step 1",
        "  └*2 0.20, 112 tokens $0.003 (2 visits: 225 tokens $0.007): step 2",
        "    └*3, 113 tokens $0.004: step 3",
    ]


def test_a_step_prints_what_it_adds_to_the_partial_answer() -> None:
    first = sample(0, text="one\n")
    printed = str(result([first, sample(1, first, text="one\ntwo\n")]).tree)
    assert printed.endswith(": two")


@pytest.mark.parametrize(
    ("usd", "said"),
    [("12.346", "$12.35"), ("0.5", "$0.5"), ("0.00012", "$0.00012"), ("0.00000001", "<$0.000001"), ("0", "tokens")],
)
def test_dollars_are_never_said_to_be_none_where_there_are_some(usd: str, said: str) -> None:
    tree = result([sample(0, text="", usage=ttc.Usage(1, 5, 5, usd=Decimal(usd)))]).tree
    assert str(tree).endswith(said)


@given(forests())
def test_what_prints_counts_every_sample(parents: list[int | None]) -> None:
    assert len(str(result(grown(parents)).tree).splitlines()) == len(parents) + 1


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_of_a_thousand_samples_two_hundred_print_and_the_others_are_counted(step: int) -> None:
    samples = grown([(index - 1) // step if index and step < 1000 else None for index in range(1000)])
    lines = str(result(samples, 999).tree).splitlines()
    counted = [int(line.split("… ")[1].split()[0].replace(",", "")) for line in lines if line.endswith(" more")]
    assert sum(counted) == 800
    assert len(lines) - len(counted) <= 202
    assert any("*999" in line for line in lines)
    assert max(map(len, lines)) <= 100


def test_what_a_model_wrote_can_drive_no_terminal_and_break_no_picture(tmp_path: Path) -> None:
    tree = result([sample(0, text=HOSTILE)], 0).tree
    printed = str(tree)
    assert "\x1b" not in printed
    assert len(printed.splitlines()) == 2
    tree.draw(tmp_path / "tree.svg")
    root = ET.parse(tmp_path / "tree.svg").getroot()
    assert root.find(f".//{SVG}script") is None
    assert 'a <script>alert("&")</script>' in "".join(root.itertext())


@pytest.mark.parametrize("size", [0, 1, 5, 60, 1000])
def test_the_picture_has_a_mark_for_every_sample_inside_its_frame_and_loads_nothing(size: int, tmp_path: Path) -> None:
    parents = [(index - 1) // 3 if index else None for index in range(size)]
    tree = result(grown(parents), size - 1).tree
    tree.draw(tmp_path / "tree.svg")
    text = (tmp_path / "tree.svg").read_text()
    root = ET.fromstring(text)
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    marks = [each for each in root.iter(f"{SVG}circle") if each.find(f"{SVG}title") is not None]
    assert len(marks) == size
    places = [(float(mark.attrib["cx"]), float(mark.attrib["cy"])) for mark in marks]
    assert len(set(places)) == size
    assert all(0 < x < width and 90 < y < height for x, y in places)
    bold = [
        each
        for each in root.iter(f"{SVG}path")
        if each.attrib.get("class") == "edge chosen" and "C" in each.attrib["d"]
    ]
    assert len(bold) == len(ancestors(parents, size - 1) if size else ())
    assert "href" not in text
    assert text.count("http") == 1  # the namespace


def test_siblings_keep_their_order_and_parents_stand_in_the_middle(tmp_path: Path) -> None:
    tree = result(grown([None, 0, 0, 0])).tree
    tree.draw(tmp_path / "tree.svg")
    root = ET.parse(tmp_path / "tree.svg").getroot()
    titled = [each for each in root.iter(f"{SVG}circle") if each.find(f"{SVG}title") is not None]
    heights = [float(each.attrib["cy"]) for each in titled]
    assert heights[1] < heights[2] < heights[3]
    assert heights[0] == heights[2]


def test_failed_samples_are_crosses_and_scores_colours(tmp_path: Path) -> None:
    samples = [
        sample(0, status="failed", fault="timeout", text=None),
        sample(1, verdict=ttc.Verdict(0.0, accepted=False)),
        sample(2, verdict=ttc.Verdict(1.0, accepted=True)),
    ]
    result(samples, 2).tree.draw(tmp_path / "tree.SVG")
    root = ET.parse(tmp_path / "tree.SVG").getroot()
    titled = [each for each in root.iter() if each.find(f"{SVG}title") is not None and each is not root]
    assert [each.attrib.get("fill", each.attrib["class"]) for each in titled] == ["failed", "#440154", "#fde725"]


@pytest.mark.parametrize("name", ["tree.png", "tree", "tree.svg.html"])
def test_other_endings_than_svg_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the path must end in '\.svg', not .*" + name):
        result([]).tree.draw(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_rows_hold_what_a_model_wrote_only_where_it_is_asked_for(tmp_path: Path) -> None:
    samples = grown([None, 0])
    samples.append(sample(2, usage=ttc.Usage(0), gaps={"nothing observed": 1}, text=HOSTILE))
    tree = result(samples, 1).tree
    tree.to_jsonl(tmp_path / "rows.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert rows[1] == {
        "index": 1,
        "parent": 0,
        "kind": "step",
        "whole": False,
        "status": "answer",
        "score": 0.1,
        "accepted": False,
        "chosen": True,
        "visits": 1,
        "tokens": 111,
        "tokens_below": 111,
    }
    assert rows[0]["visits"] == 2
    assert rows[0]["tokens_below"] == 221
    assert rows[2]["tokens"] is None
    assert tree.to_dict() == {
        "name": "shop:answer",
        "strategy": "Some(<strategy>, 'x' & 3)",
        "winner": 1,
        "samples": rows,
    }
    tree.to_jsonl(tmp_path / "rows.jsonl", content=True)
    told = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row.pop("text") for row in told] == ["step 0\n", "step 1\n", HOSTILE]
    assert told == rows
