"""The right edge of a Merkle log: enough to append and to name the root, in a logarithm of memory.

`ledger.log.MerkleLog` keeps every subtree because it proves things; whoever only wants to know what a log would become
keeps this. Immutable, so that trying a batch costs nothing to undo.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from ledger.canonical import merkle_root, to_bytes
from ledger.types import Hash


@dataclass(frozen=True, slots=True)
class Frontier:
    """`peaks` are the roots of the complete subtrees of a log of `size` leaves, largest first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def extended(self, leaves: Iterable[str]) -> Frontier:
        """The frontier after these leaf hashes. Raises ValueError: not a hash."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            node, count = to_bytes(leaf), size
            while count & 1:
                node, count = _parent(peaks.pop(), node), count >> 1
            peaks.append(node)
            size += 1
        return Frontier(size, tuple(peaks))

    @property
    def root(self) -> Hash:
        if not self.peaks:
            return merkle_root(())
        node = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            node = _parent(peak, node)
        return Hash("0x" + node.hex())

    @property
    def version(self) -> str:
        """`<size>:<root>`, the `ledger_version`."""
        return f"{self.size}:{self.root}"


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
