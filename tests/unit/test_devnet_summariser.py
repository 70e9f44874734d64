"""A summary is made of the text's own sentences, fits its limit, and follows the instructions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestra.devnet.subnets.summariser import count_tokens, summarise

TEXT = """RunPod lists the A100 at $1.99 an hour. RunPod offers templates.
Vast.ai is a marketplace. On Vast.ai the A100 is cheapest at $1.45 an hour.
Lambda is chosen for reliability. The harbour was quiet that morning."""


def test_the_instructions_decide_what_is_taken() -> None:
    assert summarise("One sentence: which A100 is cheapest?", TEXT, max_tokens=100) == (
        "On Vast.ai the A100 is cheapest at $1.45 an hour.",
        False,
    )
    assert "reliability" in summarise("In one sentence: which is chosen for reliability?", TEXT, max_tokens=100)[0]


def test_sentences_keep_the_order_of_the_text() -> None:
    summary, cut = summarise("Two sentences on the A100 price.", TEXT, max_tokens=100)
    assert not cut
    assert TEXT.index(summary[:20]) < TEXT.index(summary[-20:-1])


def test_repetition_is_left_out() -> None:
    text = "The A100 costs two dollars. " * 5 + "The A100 costs two dollars today. The L4 is small."
    summary, _ = summarise("Summarise in two sentences: A100 costs and L4.", text, max_tokens=100)
    assert summary.count("costs two dollars") == 1
    assert "L4 is small" in summary


def test_objects_are_told_by_label_and_value() -> None:
    runpod = '{"name": "RunPod", "pricing": {"a100_80gb": 1.99, "l4": 0.5}, "strengths": ["templates", "spot"]}'
    spoken = "name: RunPod; pricing: a100 80gb 1.99, l4 0.5; strengths: templates, spot."
    for text in (f"Offers follow.\n{runpod}", f'[{runpod}, {{"name": "Lambda"}}]'):
        assert summarise("One sentence on RunPod pricing.", text, max_tokens=100) == (spoken, False)


def test_a_limit_below_one_sentence_cuts_it() -> None:
    summary, cut = summarise("A100", TEXT, max_tokens=4)
    assert cut
    assert count_tokens(summary) <= 4
    assert summary in TEXT


def test_nothing_gives_nothing() -> None:
    assert summarise("", "", max_tokens=10) == ("", False)


SENTENCES = st.lists(st.text(alphabet="abcd XY.,1", min_size=1, max_size=40), max_size=8).map("\n".join)


@given(instructions=SENTENCES, text=SENTENCES, limit=st.integers(1, 60))
def test_every_part_of_a_summary_stands_in_the_text(instructions: str, text: str, limit: int) -> None:
    summary, _ = summarise(instructions, text, max_tokens=limit)
    assert (summary, _) == summarise(instructions, text, max_tokens=limit)
    assert count_tokens(summary) <= limit
    assert all(word.rstrip(".") in text + instructions for word in summary.split())
