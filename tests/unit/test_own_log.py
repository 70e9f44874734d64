"""One hotkey's log: what is fixed stays fixed, over restarts, and is found again under every root that was on chain."""

from __future__ import annotations

import pytest

from ledger.canonical import leaf_hash, merkle_root, sha256, verify_inclusion
from orchestra.anchoring import Envelope, OwnLog, read_envelope

A, B, C = (sha256(text) for text in (b"a", b"b", b"c"))


async def test_every_digest_is_proven_under_every_later_root(url: str) -> None:
    async with await OwnLog.open(url) as log:
        assert log.version == f"0:{merkle_root(())}"
        versions: list[str] = []
        for digest in (A, B, C):
            await log.fix(digest)
            versions.append(log.version)
        for upto, version in enumerate(versions, 1):
            for digest in (A, B, C)[:upto]:
                place = log.place(digest, version)
                assert place is not None
                assert f"{place.size}:{place.root}" == version
                assert verify_inclusion(leaf_hash(digest.encode()), place.index, place.size, place.path, place.root)
        assert log.place(B, versions[0]) is None, "it was not in it yet"
        assert log.place(A, f"2:{A}") is None, "the log never had that root"
        assert log.place(A, f"9:{A}") is None
        assert log.place(sha256(b"d")) is None


async def test_a_restart_finds_the_log_and_a_digest_is_fixed_once(url: str) -> None:
    async with await OwnLog.open(url) as log:
        await log.fix(A, B, A)
        before = log.version
    async with await OwnLog.open(url) as log:
        assert log.version == before == f"2:{merkle_root([leaf_hash(each.encode()) for each in (A, B)])}"
        await log.fix(B)
        assert log.version == before
        await log.fix(C)
        assert log.version.startswith("3:")


async def test_what_is_no_digest_is_refused_whole(url: str) -> None:
    async with await OwnLog.open(url) as log:
        with pytest.raises(ValueError, match="not a digest"):
            await log.fix(A, "0x12")
        assert log.version.startswith("0:")


def test_an_envelope_reads_as_it_was_written() -> None:
    """A golden text: other nodes read it off the chain."""
    envelope = Envelope(f"12:{A}", f"7:{B}")
    assert str(envelope) == f"o1|12:{A}|7:{B}"
    assert read_envelope(str(envelope)) == envelope
    assert read_envelope(f"o1|0:{A}|") == Envelope(f"0:{A}")


@pytest.mark.parametrize("text", [None, "", "hello", f"o2|1:{A}|", f"o1|01:{A}|", f"o1|1:{A}", f"o1|1:{A.upper()}|"])
def test_what_is_no_envelope_is_none(text: str | None) -> None:
    assert read_envelope(text) is None


def test_the_leaf_of_a_digest_is_pinned() -> None:
    leaf = leaf_hash(A.encode())
    assert leaf == "0xb5ec37d95320da7ea8359c90f85b902c5ba9631ec379067968e4a62db01543f5"
