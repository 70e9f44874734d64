"""RFC 6901, section 5 as a table, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.schema import PointerError, leaf_pointers, resolve_pointer, set_pointer, split_pointer

RFC: dict[str, Any] = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", RFC),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_the_examples_of_the_rfc(pointer: str, value: Any) -> None:
    assert resolve_pointer(RFC, pointer) == value


@pytest.mark.parametrize(
    "pointer",
    [
        "foo",
        "#/foo",
        "/none",
        "/foo/2",
        "/foo/-",
        "/foo/01",
        "/foo/+1",
        "/foo/-1",
        "/foo/x",
        "/foo/0/x",
        "/m~n",
        "/m~2n",
        "/" + "a" * 5000,
        "/foo/" + "9" * 30,
        "/foo/٠",
    ],
)
def test_what_names_nothing_is_refused(pointer: str) -> None:
    with pytest.raises(PointerError) as refused:
        resolve_pointer(RFC, pointer)
    assert len(str(refused.value)) < 400


def test_splitting_unescapes() -> None:
    assert split_pointer("") == ()
    assert split_pointer("/a~1b/~01/") == ("a/b", "~1", "")


def test_leaves_in_document_order() -> None:
    data: Any = {"b": [1, {"c": None}, []], "a/~": {}, "z": {"y": "x"}}
    assert list(leaf_pointers(data).items()) == [
        ("/b/0", 1),
        ("/b/1/c", None),
        ("/b/2", []),
        ("/a~1~0", {}),
        ("/z/y", "x"),
    ]
    assert leaf_pointers(5) == {"": 5}


def test_leaves_of_a_deep_document() -> None:
    data: Any = 1
    for _ in range(2000):
        data = [data]
    assert leaf_pointers(data) == {"/0" * 2000: 1}


def test_set_replaces_adds_and_appends_in_place() -> None:
    data: Any = {"a": [1, 2], "b": {}}
    assert set_pointer(data, "/a/0", 9) is data
    set_pointer(data, "/a/2", 3)
    set_pointer(data, "/a/-", 4)
    set_pointer(data, "/b/x~1y", "z")
    assert data == {"a": [9, 2, 3, 4], "b": {"x/y": "z"}}
    assert set_pointer(data, "", 5) == 5


@pytest.mark.parametrize("pointer", ["/none/x", "/a/5", "/a/x", "/a/0/x", "a"])
def test_set_needs_a_parent(pointer: str) -> None:
    with pytest.raises(PointerError):
        set_pointer({"a": [1, 2]}, pointer, 0)
