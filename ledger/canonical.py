"""Bytes that two machines agree on: strict JSON in, canonical JSON (RFC 8785) out, SHA-256 and Merkle trees (RFC 9162).

Everything that is hashed or signed goes through here. What is read is refused where two parsers could disagree
(duplicate keys, NaN, integers that a double cannot hold), because a proof over an ambiguous document proves nothing.
Hashes are written as `0x` and 64 lower-case hex digits.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from typing import Any, NoReturn, cast

import rfc8785

from ledger.types import JSON, Hash

MAX_DEPTH = 64
MAX_SAFE_INTEGER = 2**53 - 1
DEFAULT_MAX_BYTES = 1 << 20
DEFAULT_MAX_VALUES = 200_000
"""So many values a document may hold. An empty list takes 3 bytes on the wire and 60 in memory, and a second for every
million of them."""

HASH_PATTERN = r"^0x[0-9a-f]{64}$"
_HASH = re.compile(HASH_PATTERN)
# Everything up to and with the next mark (a bracket; in the second, a comma too) outside a string, or to the end. They
# match at any place, and possessively; an unfinished string runs to the end: linear whatever is thrown at them.
_STRING = rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'
_TO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+([\[\]{}]?)", re.DOTALL)
_TO_MARK = re.compile(rb'(?:[^"\[\]{},]++|' + _STRING + rb")*+([\[\]{},]?)", re.DOTALL)


class StrictJSONError(ValueError):
    """A document that strict JSON refuses.

    `code` is stable: too_large, too_deep, too_many_values, duplicate_key, bad_number, bad_text, malformed.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def parse_strict(
    raw: bytes,
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
    max_depth: int = MAX_DEPTH,
    max_values: int = DEFAULT_MAX_VALUES,
) -> JSON:
    """Parse one JSON document, cheapest refusal first: size, depth and number of values (a scan without building
    anything), then content. Values are counted as opening brackets and commas.

    Raises:
        StrictJSONError: over `max_bytes`, `max_depth` or `max_values`; not UTF-8; a lone surrogate; a duplicate key;
            NaN or an infinity; an integer beyond 2^53 - 1; or anything that is not JSON.
    """
    if len(raw) > max_bytes:
        raise StrictJSONError("too_large", f"{len(raw)} bytes, at most {max_bytes}")
    _check_shape(raw, max_depth, max_values)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise StrictJSONError("bad_text", "not UTF-8") from None
    try:
        value: JSON = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
    except StrictJSONError:
        raise
    except (ValueError, RecursionError) as error:
        raise StrictJSONError("malformed", str(error)[:120]) from None
    if "\\u" in text:
        _refuse_lone_surrogates(value)
    return value


def _check_shape(raw: bytes, max_depth: int, max_values: int) -> None:
    opened = raw.count(b"[") + raw.count(b"{")
    crowded = opened + raw.count(b",") > max_values  # counted with what stands in strings: then look closer
    depth = values = 0
    for piece in (_TO_MARK if crowded else _TO_BRACKET).finditer(raw):
        mark = piece[1]
        if mark == b"[" or mark == b"{":
            depth += 1
            values += 1
            if depth > max_depth:
                raise StrictJSONError("too_deep", f"nested deeper than {max_depth}")
        elif mark == b",":
            values += 1
        elif mark:
            depth -= 1
        if values > max_values:
            raise StrictJSONError("too_many_values", f"more than {max_values} values")


def _object(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise StrictJSONError("duplicate_key", "an object names a key twice")
    return result


def _integer(digits: str) -> int:
    if len(digits) > 17 or abs(value := int(digits)) > MAX_SAFE_INTEGER:
        raise StrictJSONError("bad_number", "an integer beyond 2^53 - 1; write it as a string of digits")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise StrictJSONError("bad_number", "a number beyond what a double holds")
    if _reads_as_unsafe_integer(value):
        raise StrictJSONError("bad_number", "a whole number beyond 2^53 - 1; write it as a string of digits")
    return value


def _reads_as_unsafe_integer(value: float) -> bool:
    """RFC 8785 writes whole doubles below 10^21 as plain digits, which a strict reader would then refuse."""
    return MAX_SAFE_INTEGER < abs(value) < 1e21


def is_exact(value: float) -> bool:
    """Can JSON that is hashed carry this number? Not beyond 2^53 where it is whole, and nothing infinite."""
    if isinstance(value, int):
        return abs(value) <= MAX_SAFE_INTEGER
    return math.isfinite(value) and not _reads_as_unsafe_integer(value)


def _constant(name: str) -> NoReturn:
    raise StrictJSONError("bad_number", f"{name} is not JSON")


def _refuse_lone_surrogates(value: JSON) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise StrictJSONError("bad_text", "a lone surrogate") from None


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value; `parse_strict` reads them back as an equal value.

    Almost every document is one that the C encoder of the standard library writes with the same bytes, some ten times
    faster; `_is_plain` knows which. A property test holds the two ways equal.

    Raises:
        ValueError: the value holds a whole number beyond 2^53 - 1 (below 10^21, if a float), a non-finite float, a lone
            surrogate or something that is not JSON.
    """
    try:
        if _is_plain(value):
            return _encode(value).encode()
        _refuse_unsafe(value)
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise ValueError(f"cannot be canonicalised: {error}") from None


_encode = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


def _is_plain(value: Any) -> bool:
    """Would `_encode` write this as RFC 8785 does? Not so where keys beyond ASCII sort by UTF-16, where a float is
    whole or takes an exponent, and perhaps not for subclasses of the JSON types.
    """
    pending: list[Any] = [value]
    for item in pending:  # grows while it is walked
        kind = cast("type[Any]", type(item))
        if kind is str or kind is bool or item is None:
            continue
        if kind is dict:
            if not _has_ascii_keys(item):
                return False
            pending.extend(item.values())
        elif kind is list or kind is tuple:
            pending.extend(item)
        elif kind is int:
            if not -MAX_SAFE_INTEGER <= item <= MAX_SAFE_INTEGER:
                return False
        elif kind is not float or not 1e-4 <= abs(item) < 1e15 or item.is_integer():
            return False
    return True


def _has_ascii_keys(value: dict[Any, Any]) -> bool:
    try:
        return "".join(value).isascii()
    except TypeError:
        return False


def _refuse_unsafe(value: Any) -> None:
    if isinstance(value, float):
        if _reads_as_unsafe_integer(value):
            raise ValueError("cannot be canonicalised: a whole number beyond 2^53 - 1; write it as a string of digits")
    elif isinstance(value, dict):
        for item in cast("dict[Any, Any]", value).values():
            _refuse_unsafe(item)
    elif isinstance(value, list | tuple):
        for item in cast("list[Any]", value):
            _refuse_unsafe(item)


def sha256(data: bytes) -> Hash:
    """`0x` + hex SHA-256 of the bytes."""
    return Hash("0x" + hashlib.sha256(data).hexdigest())


def digest(value: Any) -> Hash:
    """SHA-256 of the canonical JSON of a value."""
    return sha256(canonical(value))


def is_hash(value: object) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def to_bytes(value: str) -> bytes:
    """The 32 bytes of a hash.

    Raises:
        ValueError: not `0x` and 64 lower-case hex digits.
    """
    if not is_hash(value):
        raise ValueError("not a hash: expected 0x and 64 lower-case hex digits")
    return bytes.fromhex(value[2:])


# RFC 9162, section 2.1: Merkle trees with domain-separated leaves (0x00) and nodes (0x01).


def leaf_hash(data: bytes) -> Hash:
    """RFC 9162 leaf: SHA-256(0x00 || data)."""
    return sha256(b"\x00" + data)


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(n: int) -> int:
    """The largest power of two smaller than n."""
    return 1 << ((n - 1).bit_length() - 1)


def _root(hashes: Sequence[bytes]) -> bytes:
    if not hashes:
        return hashlib.sha256(b"").digest()
    level = list(hashes)
    while len(level) > 1:
        paired = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    return level[0]


def merkle_root(leaves: Sequence[str]) -> Hash:
    """RFC 9162 root over leaf hashes in order; of none, SHA-256 of nothing."""
    return Hash("0x" + _root([to_bytes(leaf) for leaf in leaves]).hex())


def inclusion_proof(leaves: Sequence[str], index: int) -> tuple[Hash, ...]:
    """RFC 9162 §2.1.3.1: the audit path of leaf `index`, nearest sibling first.

    Raises:
        IndexError: no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of {len(leaves)}")
    return tuple(Hash("0x" + part.hex()) for part in _path([to_bytes(leaf) for leaf in leaves], index))


def _path(hashes: Sequence[bytes], index: int) -> list[bytes]:
    if len(hashes) <= 1:
        return []
    k = _split(len(hashes))
    if index < k:
        return [*_path(hashes[:k], index), _root(hashes[k:])]
    return [*_path(hashes[k:], index - k), _root(hashes[:k])]


def verify_inclusion(leaf: str, index: int, size: int, proof: Sequence[str], root: str) -> bool:
    """RFC 9162 §2.1.3.2: does `proof` show that `leaf` stands at `index` of the tree of `size` with `root`?

    False, too, for anything that is not a hash: a proof comes from a stranger.
    """
    if not 0 <= index < size or not all(map(is_hash, (leaf, root, *proof))):
        return False
    fn, sn, current = index, size - 1, to_bytes(leaf)
    for part in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            current = _node(to_bytes(part), current)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            current = _node(current, to_bytes(part))
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and current == to_bytes(root)


def consistency_proof(leaves: Sequence[str], old: int) -> tuple[Hash, ...]:
    """RFC 9162 §2.1.4.1: that the tree over `leaves` begins with the tree over the first `old` of them.

    Raises:
        IndexError: `old` is not between 1 and the number of leaves.
    """
    if not 0 < old <= len(leaves):
        raise IndexError(f"{old} leaves of {len(leaves)}")
    return tuple(Hash("0x" + part.hex()) for part in _subproof([to_bytes(leaf) for leaf in leaves], old, True))


def _subproof(hashes: Sequence[bytes], old: int, known: bool) -> list[bytes]:
    if old == len(hashes):
        return [] if known else [_root(hashes)]
    k = _split(len(hashes))
    if old <= k:
        return [*_subproof(hashes[:k], old, known), _root(hashes[k:])]
    return [*_subproof(hashes[k:], old - k, False), _root(hashes[:k])]


def verify_consistency(old: int, size: int, old_root: str, root: str, proof: Sequence[str]) -> bool:
    """RFC 9162 §2.1.4.2: does `proof` show that the tree of `size` with `root` begins with that of `old`?

    At equal sizes the roots are equal and the proof empty. The empty tree begins every log and proves nothing: `old`
    of 0 is False, as is anything that is not a hash.
    """
    if not 0 < old <= size or not all(map(is_hash, (old_root, root, *proof))):
        return False
    if old == size:
        return not proof and old_root == root
    if not proof:
        return False
    path = [to_bytes(part) for part in (proof if old & (old - 1) else (old_root, *proof))]
    fn, sn = old - 1, size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = path[0]
    for part in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first, second = _node(part, first), _node(part, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = _node(second, part)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and first == to_bytes(old_root) and second == to_bytes(root)


def as_object(value: JSON) -> dict[str, JSON]:
    """The value as an object.

    Raises:
        StrictJSONError: it is something else.
    """
    if not isinstance(value, dict):
        raise StrictJSONError("malformed", "expected an object")
    return cast("dict[str, JSON]", value)
