"""The Ledger's log in memory: an append-only Merkle tree (RFC 9162) that answers for any of its earlier sizes.

A leaf is one committed change, in the order of `ledger.store`; `ledger_version` is `<size>:<root>`. Definitions, which
recompute everything are in `ledger.canonical`; here every complete subtree is kept, so that a log of 100,000 changes
proves one of them in microseconds. Who vouches for a root is said by checkpoints (`ledger.checkpoint`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from ledger.canonical import merkle_root, to_bytes
from ledger.types import Hash


class MerkleLog:
    """Leaf hashes in order, with every complete subtree kept, so that roots and proofs cost a logarithm.

    100,000 leaves take about 20 MB. Appending is the only change.
    """

    def __init__(self, leaves: Iterable[str] = ()) -> None:
        self._levels: list[list[bytes]] = [[to_bytes(leaf) for leaf in leaves]]
        while len(row := self._levels[-1]) > 1:
            self._levels.append([_parent(left, right) for left, right in zip(row[::2], row[1::2], strict=False)])

    def append(self, leaf: str) -> int:
        """Add a leaf hash (`ledger.changes.change_leaf`) and return its index.

        Raises:
            ValueError: not a hash.
        """
        node, level = to_bytes(leaf), 0
        self._levels[0].append(node)
        while len(row := self._levels[level]) % 2 == 0:
            node, level = _parent(row[-2], row[-1]), level + 1
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(node)
        return self.size - 1

    @property
    def size(self) -> int:
        return len(self._levels[0])

    @property
    def version(self) -> str:
        """`<size>:<root>`, the `ledger_version`."""
        return f"{self.size}:{self.root()}"

    def leaf(self, index: int) -> Hash:
        """The leaf at `index`. Raises IndexError: no such leaf."""
        if not 0 <= index < self.size:
            raise IndexError(f"leaf {index} of {self.size}")
        return _hash(self._levels[0][index])

    def root(self, size: int | None = None) -> Hash:
        """The root of the first `size` leaves; of all of them by default. Raises IndexError: the log is shorter."""
        size = self._within(size)
        return _hash(self._subtree(0, size)) if size else merkle_root(())

    def inclusion_proof(self, index: int, size: int | None = None) -> tuple[Hash, ...]:
        """RFC 9162 §2.1.3.1: that leaf `index` stands in the tree of the first `size` leaves, nearest sibling first.

        Raises:
            IndexError: no such leaf among the first `size`.
        """
        size = self._within(size)
        if not 0 <= index < size:
            raise IndexError(f"leaf {index} of {size}")
        low, high, path = 0, size, list[bytes]()
        while high - low > 1:
            middle = low + _half(high - low)
            if index < middle:
                path.append(self._subtree(middle, high))
                high = middle
            else:
                path.append(self._subtree(low, middle))
                low = middle
        return tuple(map(_hash, reversed(path)))

    def consistency_proof(self, old: int, size: int | None = None) -> tuple[Hash, ...]:
        """RFC 9162 §2.1.4.1: that the first `size` leaves begin with the first `old`.

        Raises:
            IndexError: `old` is not between 1 and `size`, or the log is shorter.
        """
        size = self._within(size)
        if not 0 < old <= size:
            raise IndexError(f"{old} leaves of {size}")
        low, high, path = 0, size, list[bytes]()
        while old < high:
            middle = low + _half(high - low)
            if old <= middle:
                path.append(self._subtree(middle, high))
                high = middle
            else:
                path.append(self._subtree(low, middle))
                low = middle
        return tuple(map(_hash, reversed([*path, self._subtree(low, high)] if low else path)))

    def _within(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise IndexError(f"{size} leaves of {self.size}")
        return size

    def _subtree(self, low: int, high: int) -> bytes:
        """The root over leaves low..high; `low` is a multiple of a power of two that is at least `high - low`."""
        width = high - low
        if width & (width - 1) == 0:
            level = width.bit_length() - 1
            return self._levels[level][low >> level]
        middle = low + _half(width)
        return _parent(self._subtree(low, middle), self._subtree(middle, high))


def _half(width: int) -> int:
    """The largest power of two below `width`."""
    return 1 << ((width - 1).bit_length() - 1)


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _hash(value: bytes) -> Hash:
    return Hash("0x" + value.hex())
