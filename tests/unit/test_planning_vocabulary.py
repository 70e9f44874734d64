"""What texts speak of: the longest phrase counts, and a text of any length is read in one pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.planning.vocabulary import (
    _called,  # pyright: ignore[reportPrivateUsage]
    _spoken,  # pyright: ignore[reportPrivateUsage]
    concepts,
    concepts_in,
)
from orchestra.planning.words import LONGEST_WORD, stem
from orchestra.synthesis.evidence import Item
from orchestra.synthesis.lookup import MAX_STATED, stated_words


@pytest.mark.parametrize("name", sorted(concepts()))
def test_a_concept_is_spoken_of_by_its_name(name: str) -> None:
    assert name in concepts_in(name.replace("_", " "))


PARTS = sorted({word for concept in concepts().values() for phrase in concept.called for word in phrase})


@given(st.lists(st.sampled_from(PARTS) | st.just("and"), max_size=12))
def test_only_phrases_that_no_longer_one_covers_are_spoken_of(words: list[str]) -> None:
    index = _called()
    found = [
        (at, at + len(phrase), name)
        for at, word in enumerate(words)
        for phrase, name in index.get(word, ())
        if tuple(words[at : at + len(phrase)]) == phrase
    ]
    uncovered = [
        name
        for start, end, name in found
        if not any(a <= start and end <= b and b - a > end - start for a, b, _ in found)
    ]
    assert list(_spoken(words, index)) == uncovered


def test_a_page_that_says_one_phrase_for_ever_is_read_in_one_pass() -> None:
    """A comparison of every phrase with every other would take hours here."""
    once = concepts_in("image generation and web search")
    assert once
    assert concepts_in("image generation and web search and " * 40_000) == once


def test_of_a_huge_record_the_beginning_says_what_it_is_about() -> None:
    record = {"name": "Acme", "description": "gpu " * 10**6, "notes": ["x" * 10**6] * 3}
    said = stated_words(Item(1, "/data/0", record, "web", 0))
    assert said.startswith("name . Acme . description . gpu gpu")
    assert len(said) < 2 * MAX_STATED


def test_a_word_without_end_is_its_own_stem() -> None:
    assert stem("Pricing" * LONGEST_WORD) == ("Pricing" * LONGEST_WORD).casefold()
    assert stem("pricing") == stem("prices")
