"""Thought and answer are parted by the marks of every family, wherever a piece of the stream ends."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llama.thoughts import FAMILIES, Family, Part, Thought, Thoughts, can_think

GPT_OSS = (
    "<|channel|>analysis<|message|>one<|end|><|start|>assistant<|channel|>commentary<|message|>two<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Yes."
)
TEXTS = [
    ("<think>hm, well</think>\n\nYes.", "", "hm, well", "Yes."),
    ("\n <think>\nhm\n</think>Yes <think>no</think>", "", "hm\n", "Yes <think>no</think>"),
    ("still thinking</think> Yes.", "<|im_start|>assistant\n<think>\n", "still thinking", "Yes."),
    ("never done", "<think>", "never done", ""),
    ("<think>never done </thi", "", "never done </thi", ""),
    ("<thing> is a word", "", "", "<thing> is a word"),
    ("<th", "", "", "<th"),
    ("  Yes.", "", "", "Yes."),
    ("Yes.", "<think>\n\n</think>\n\n", "", "Yes."),
    ("<think>one</think> <think>two</think>Yes.", "", "one\n\ntwo", "Yes."),
    ("Here are my reasoning steps: none.", "", "", "Here are my reasoning steps: none."),
    ("<|channel|>final<|message|>Yes.<|end|>no", "<|start|>assistant", "", "Yes."),
    ("Yes.<|close|>response<|sep|><|close|>message<|sep|>", "<|open|>response<|sep|>", "", "Yes."),
    (
        GPT_OSS,
        "<|start|>assistant",
        "one\n\ntwo",
        "Yes.",
    ),
    (
        "Hm<|END_THINKING|><|START_RESPONSE|>Yes.<|END_RESPONSE|>",
        "<|CHATBOT_TOKEN|><|START_THINKING|>",
        "Hm",
        "Yes.",
    ),
]


def pieces(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[begin:end] for begin, end in pairwise(places)]


def parted(thoughts: Thoughts, parts: list[str]) -> tuple[str, str]:
    found = [piece for part in parts for piece in thoughts.split(part)]
    found += thoughts.split("", last=True)
    thought = "".join(piece.text for piece in found if isinstance(piece, Thought))
    assert all(piece.text if isinstance(piece, Thought) else piece for piece in found)
    return thought, "".join(piece for piece in found if isinstance(piece, str))


@pytest.mark.parametrize(("text", "prompt", "thought", "answer"), TEXTS)
@given(cuts=st.lists(st.integers(0, 200), max_size=40))
def test_a_thought_is_parted_wherever_the_text_is_cut(
    text: str, prompt: str, thought: str, answer: str, cuts: list[int]
) -> None:
    assert parted(Thoughts("", prompt), pieces(text, cuts)) == (thought, answer)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: f"{family.opens}{family.answer}")
def test_each_familys_marks_are_known_cut_at_every_place(family: Family) -> None:
    template = f"{family.opens}{family.answer}"
    marked = f"{family.opens}\nOne [2] <b>thing</b>.{family.closes}{family.lead}{family.answer}\n\nIt was [1]."
    whole = f"{marked}{family.ends}"
    expected = ("One [2] <b>thing</b>.", "It was [1].")
    for opened in (False, True):
        text = whole.removeprefix(family.opens) if opened else whole
        prompt = f"assistant{family.opens}\n" if opened else f"user: <think>?\n{family.lead}"
        for place in range(len(text) + 1):
            thoughts = Thoughts(template, prompt)
            assert thoughts.part is (Part.THOUGHT if opened else Part.SEAM)
            assert parted(thoughts, [text[:place], text[place:]]) == expected
        thoughts = Thoughts(template, prompt)
        assert parted(thoughts, list(text)) == expected
        assert thoughts.done == bool(family.ends)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: f"{family.opens}{family.answer}")
def test_what_closes_a_thought_begins_the_answer(family: Family) -> None:
    thoughts = Thoughts(f"{family.opens}{family.answer}", family.opens)
    assert parted(thoughts, ["Well", thoughts.to_answer, "It was."]) == ("Well", "It was.")


def test_a_templates_own_tags_are_marks() -> None:
    template = "{% set begin = '<mm:think>' %}{% set end = '</mm:think>' %}"
    assert can_think(template)
    assert parted(Thoughts(template), ["<mm:think>Well</mm:think>Yes."]) == ("Well", "Yes.")
    assert parted(Thoughts(""), ["<mm:think>Well"]) == ("", "<mm:think>Well")
    assert not can_think("{% for m in messages %}<|im_start|>{{ m.content }}<|end|>{% endfor %}")


def test_blanks_alone_are_an_answer_at_last() -> None:
    thoughts = Thoughts("")
    assert list(thoughts.split("\n" * 60)) == []
    assert thoughts.part.value == "seam"
    assert list(thoughts.split("\n" * 60)) == []
    assert thoughts.part.value == "answer"
    assert list(thoughts.split(" Yes")) == ["Yes"]


@pytest.mark.parametrize("text", ["Yes.\nuser: No", "\nuser: No", "<think>\nuser: he</think>\n\nYes.\nuser: No"])
@given(cuts=st.lists(st.integers(0, 200), max_size=40))
def test_the_answer_ends_before_a_stop_and_a_thought_does_not(text: str, cuts: list[int]) -> None:
    thoughts = Thoughts("", "assistant:", ("\nuser:", "\nassistant:"))
    thought, answer = parted(thoughts, pieces(text, cuts))
    assert (thought.strip(), answer) == ("user: he" if "he" in text else "", "Yes." if "Yes" in text else "")
    assert thoughts.done
