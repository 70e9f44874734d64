"""Golden vectors of RFC 8785 (its own examples) and RFC 9162 (from transparency-dev/merkle), and what is refused."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest

from ledger import canonical as c

# RFC 8785 ------------------------------------------------------------------------------------------------------------


def test_the_example_of_rfc_8785() -> None:
    source = rb"""{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }"""
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert c.canonical(c.parse_strict(source)) == expected.encode()


def test_keys_sort_by_utf_16_units() -> None:
    members = {
        "€": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "😀": "Emoji: Grinning Face",
        "\x80": "Control",
        "ö": "Latin Small Letter O With Diaeresis",
    }
    order = ["\r", "1", "\x80", "ö", "€", "😀", "\ufb33"]
    expected = b"{" + b",".join(c.canonical(key) + b":" + c.canonical(members[key]) for key in order) + b"}"
    assert c.canonical(members) == expected


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"),
        ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_of_rfc_8785_appendix_b(bits: str, expected: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert c.canonical(value) == expected.encode()


@pytest.mark.parametrize("bits", ["4340000000000000", "c340000000000000", "4430000000000000", "444b1ae4d6e2ef4e"])
def test_whole_doubles_that_nobody_could_read_back_are_refused(bits: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    with pytest.raises(ValueError, match=r"2\^53"):
        c.canonical(value)
    with pytest.raises(ValueError, match=r"2\^53"):
        c.canonical({"ключ": [value]})


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 2**53, -(2**53), "\ud800", {1: 2}, {"\ud800": 1}, b"", {1, 2}]
)
def test_what_is_not_canonical_json_is_refused(value: Any) -> None:
    for wrapped in (value, [value], {"a": value}):
        with pytest.raises(ValueError):
            c.canonical(wrapped)


def test_what_nests_without_end_is_refused() -> None:
    with pytest.raises(ValueError):
        c.canonical(_nested(100_000))


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


# strict JSON ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"a":1,"a":1}', "duplicate_key"),
        (b'[{"a":1,"\\u0061":2}]', "duplicate_key"),
        (b"NaN", "bad_number"),
        (b"[-Infinity]", "bad_number"),
        (b"1e999", "bad_number"),
        (b"9007199254740992", "bad_number"),
        (b"-9007199254740992", "bad_number"),
        (b"1e16", "bad_number"),
        (b"9007199254740992.0", "bad_number"),
        (b"1" * 5000, "bad_number"),
        (b'"\\ud800"', "bad_text"),
        (b'{"\\udfff":1}', "bad_text"),
        (b'"\xff"', "bad_text"),
        (b'"\xed\xa0\x80"', "bad_text"),
        (b"", "malformed"),
        (b"{} {}", "malformed"),
        (b"\xef\xbb\xbf{}", "malformed"),
        (b"'a'", "malformed"),
        (b"[1,]", "malformed"),
        (b"01", "malformed"),
        (b'"a\nb"', "malformed"),
        (b'"unfinished', "malformed"),
        (b'"unfinished\\', "malformed"),
        (b"[" * 65 + b"]" * 65, "too_deep"),
        (b'[{"a":' * 33 + b"1" + b"}]" * 33, "too_deep"),
    ],
)
def test_ambiguous_documents_are_refused(raw: bytes, code: str) -> None:
    with pytest.raises(c.StrictJSONError) as refused:
        c.parse_strict(raw)
    assert refused.value.code == code


@pytest.mark.parametrize("item", [b"[]", b"{}", b'{"a":1}', b"0", b'""'])
def test_too_many_values_are_refused_before_one_is_built(item: bytes) -> None:
    raw = b"[" + (item + b",") * c.DEFAULT_MAX_VALUES + b"unbuilt"
    with pytest.raises(c.StrictJSONError, match="too_many_values"):
        c.parse_strict(raw, max_bytes=len(raw))
    with pytest.raises(c.StrictJSONError, match="malformed"):
        c.parse_strict(raw, max_bytes=len(raw), max_values=3 * c.DEFAULT_MAX_VALUES)


def test_as_many_values_as_allowed_and_any_number_of_commas_in_a_text() -> None:
    assert c.parse_strict(b"[1,[],{}]", max_values=5) == [1, [], {}]
    with pytest.raises(c.StrictJSONError, match="too_many_values"):
        c.parse_strict(b"[1,[],{}]", max_values=4)
    assert c.parse_strict(b'["' + b",[{" * 100_000 + b'"]', max_values=1) == [",[{" * 100_000]


def test_a_document_over_the_size_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(c.StrictJSONError) as refused:
        c.parse_strict(b"\xff" * 11, max_bytes=10)
    assert refused.value.code == "too_large"


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"9007199254740991", 2**53 - 1),
        (b"-9007199254740991", -(2**53) + 1),
        (b"-0", 0),
        (b"1e21", 1e21),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"[[[{{{' + b"[" * 100 + b'"', "[[[{{{" + "[" * 100),
        (b'"\\"[' + b"[" * 100 + b'"', '"[' + "[" * 100),
        (b"[" * 64 + b"]" * 64, _nested(63)),
        (b"[" + b"[[]]," * 100 + b"0]", [[[]]] * 100 + [0]),
    ],
)
def test_what_strict_json_reads(raw: bytes, value: Any) -> None:
    assert c.parse_strict(raw) == value


def test_as_object() -> None:
    assert c.as_object({"a": 1}) == {"a": 1}
    with pytest.raises(c.StrictJSONError, match="object"):
        c.as_object([1])


# hashes --------------------------------------------------------------------------------------------------------------


def test_hashes_are_written_in_one_way() -> None:
    good = "0x" + "ab" * 32
    assert c.is_hash(good)
    assert c.to_bytes(good) == bytes.fromhex("ab" * 32)
    for bad in (good + "\n", good.upper(), good[2:], good[:-1], good + "a", "", None, 7):
        assert not c.is_hash(bad)
    with pytest.raises(ValueError, match="0x"):
        c.to_bytes(good + "\n")


def test_digest_is_sha256_of_the_canonical_bytes() -> None:
    assert (
        c.digest({"b": [1.5, None], "a": "é"}) == "0x" + hashlib.sha256('{"a":"é","b":[1.5,null]}'.encode()).hexdigest()
    )


# RFC 9162: inputs, roots and paths of transparency-dev/merkle (testonly/constants.go), which RFC 6962 shares

LEAVES = [bytes.fromhex(x) for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
LEAVES.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATHS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


@pytest.mark.parametrize("size", range(9))
def test_merkle_roots(size: int) -> None:
    assert c.merkle_root([c.leaf_hash(leaf) for leaf in LEAVES[:size]]) == "0x" + ROOTS[size]


@pytest.mark.parametrize(("index", "size"), PATHS)
def test_inclusion_paths(index: int, size: int) -> None:
    leaves = [c.leaf_hash(leaf) for leaf in LEAVES[:size]]
    path = c.inclusion_proof(leaves, index)
    assert list(path) == ["0x" + part for part in PATHS[index, size]]
    assert c.verify_inclusion(leaves[index], index, size, path, "0x" + ROOTS[size])


def test_an_inclusion_proof_of_something_else_fails() -> None:
    leaves = [c.leaf_hash(leaf) for leaf in LEAVES]
    path, root = c.inclusion_proof(leaves, 5), "0x" + ROOTS[8]
    assert not c.verify_inclusion(leaves[4], 5, 8, path, root)
    assert not c.verify_inclusion(leaves[5], 4, 8, path, root)
    assert not c.verify_inclusion(leaves[5], 5, 8, path[:-1], root)
    assert not c.verify_inclusion(leaves[5], 5, 8, (*path, leaves[0]), root)
    assert not c.verify_inclusion(leaves[5], 8, 8, path, root)
    assert not c.verify_inclusion(leaves[5], 5, 8, ("garbage", *path[1:]), root)
    assert not c.verify_inclusion("0x", 5, 8, path, root)
    with pytest.raises(IndexError):
        c.inclusion_proof(leaves, 8)
