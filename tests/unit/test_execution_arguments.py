"""From Refs to values."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.execution.arguments import MissingArgument, resolve
from orchestra.planning.plan import Ref, Task

OUTPUTS: dict[str, Any] = {
    "s": {"results": [{"url": "https://a", "title": "A"}, {"url": "https://b", "title": None}]},
    "e": {"data": [{"name": "x", "price": 1.5}]},
    "none": {"results": []},
}


def chat(text: Any) -> Task:
    return Task("c", "chat_completion", "chat", {"instructions": "say", "text": text})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        (Ref("s", "results[0].url"), "https://a"),
        ([Ref("s", "results[0].title"), "and", Ref("s", "results[1].title")], "A\n\nand"),
        ([Ref("gone", "text"), Ref("s", "results[0].url")], "https://a"),
        (Ref("e", "data"), '{"name":"x","price":1.5}'),
        ([Ref("s", "results[*].url"), Ref("e", "data[0].price")], "https://a\n\nhttps://b\n\n1.5"),
    ],
)
def test_what_the_capability_wants_as_a_string_is_joined(text: Any, expected: str) -> None:
    assert resolve(chat(text), OUTPUTS) == {"instructions": "say", "text": expected}


@pytest.mark.parametrize("text", [Ref("none", "results[0].url"), [Ref("none", "results[0].url")], Ref("gone", "x"), ""])
def test_a_required_argument_that_comes_out_empty_is_named(text: Any) -> None:
    with pytest.raises(MissingArgument, match="text of chat_completion is empty"):
        resolve(chat(text), OUTPUTS)


def test_the_cause_names_the_ref_that_gave_nothing() -> None:
    task = Task("f", "web_scraping", "fetch", {"url": Ref("none", "results[0].url")})
    with pytest.raises(MissingArgument, match=r"results\[0\]\.url of 'none' gave nothing"):
        resolve(task, OUTPUTS)


def test_an_optional_argument_that_is_null_is_left_out() -> None:
    task = Task("s2", "web_search", "search", {"query": "q", "limit": Ref("none", "limit")})
    assert resolve(task, OUTPUTS) == {"query": "q"}


def test_lists_and_objects_keep_their_shape_where_no_string_is_wanted() -> None:
    social = Task("p", "social_search", "posts", {"keywords": [Ref("e", "data[0].name"), "y"]})
    assert resolve(social, OUTPUTS) == {"keywords": ["x", "y"]}
    extract = Task("x", "structured_extraction", "x", {"url": "u", "fields": {"name": "str", "n": Ref("e", "gone")}})
    assert resolve(extract, OUTPUTS) == {"url": "u", "fields": {"name": "str"}}


def test_a_path_that_is_no_jmespath_is_a_cause_and_not_a_crash() -> None:
    with pytest.raises(MissingArgument, match="cannot be read"):
        resolve(chat(Ref("s", "results[")), OUTPUTS)


def test_a_capability_without_a_contract_takes_its_arguments_as_they_are() -> None:
    assert resolve(Task("z", "image_generation", "z", {"prompt": ["a", Ref("gone", "b")]}), {}) == {"prompt": ["a"]}
