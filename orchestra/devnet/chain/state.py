"""Chain storage as the runtime sees it: typed items, layered writes, and reads at any retained block.

Values are exactly what the SDK decodes from the real chain (ints, bools, SS58 strings, dicts, lists, tuples where SCALE
has tuples), keyed by the real pallet and item names; so a read needs no translation and a test can encode every value
with the real type. `History` keeps, for each key, the values of the last blocks, which makes a read pinned to a block
hash a plain lookup. `State` is a history at one block plus a stack of uncommitted layers: an extrinsic that fails drops
its layer, a block that commits hands its single layer to the store.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from orchestra.devnet.chain.items import Item

Key: TypeAlias = tuple[Any, ...]
Changes: TypeAlias = dict[tuple[Item, Key], Any]

ABSENT: Final = object()
"""A value that says: no such entry (a deletion, in a layer)."""


class History:
    """Every key's values over the retained blocks. Reading before `horizon` is refused by the caller, not here."""

    def __init__(self) -> None:
        self._entries: dict[Item, dict[Key, tuple[list[int], list[Any]]]] = {}

    def get(self, item: Item, key: Key, block: int) -> Any:
        """The value at the end of `block`, or ABSENT."""
        entry = self._entries.get(item, {}).get(key)
        if entry is None:
            return ABSENT
        blocks, values = entry
        index = bisect_right(blocks, block)
        return values[index - 1] if index else ABSENT

    def keys(self, item: Item) -> Iterator[Key]:
        """Every key of an item that exists at some retained block."""
        return iter(self._entries.get(item, {}))

    def record(self, block: int, changes: Changes) -> None:
        """Add one block's changes."""
        for (item, key), value in changes.items():
            blocks, values = self._entries.setdefault(item, {}).setdefault(key, ([], []))
            blocks.append(block)
            values.append(value)

    def forget(self, horizon: int) -> None:
        """Drop what no block from `horizon` on can see."""
        for entries in self._entries.values():
            for blocks, values in entries.values():
                obsolete = max(0, bisect_right(blocks, horizon) - 1)
                del blocks[:obsolete], values[:obsolete]
            gone = [key for key, (blocks, values) in entries.items() if values == [ABSENT] and blocks[0] <= horizon]
            for key in gone:
                del entries[key]


class State:
    """Storage at one block with writes on top.

    Reads give the item's default when there is no entry, as a `ValueQuery` does (`None` for an `OptionQuery`). Values
    are never mutated in place: read, copy, put.
    """

    def __init__(self, history: History, block: int) -> None:
        self.block = block
        self._history = history
        self._layers: list[Changes] = []

    def get(self, item: Item, *key: Any) -> Any:
        value = self.raw(item, key)
        return item.default if value is ABSENT else value

    def has(self, item: Item, *key: Any) -> bool:
        return self.raw(item, key) is not ABSENT

    def raw(self, item: Item, key: Key) -> Any:
        """The entry itself, or ABSENT."""
        for layer in reversed(self._layers):
            if (item, key) in layer:
                return layer[item, key]
        return self._history.get(item, key, self.block)

    def pairs(self, item: Item, *prefix: Any) -> list[tuple[Key, Any]]:
        """All `(rest of the key, value)` under a key prefix, ordered by key."""
        keys = {key for key in self._history.keys(item) if key[: len(prefix)] == prefix}
        for layer in self._layers:
            keys.update(key for it, key in layer if it is item and key[: len(prefix)] == prefix)
        found = ((key[len(prefix) :], self.raw(item, key)) for key in sorted(keys))
        return [(key, value) for key, value in found if value is not ABSENT]

    def put(self, item: Item, *key_and_value: Any) -> None:
        """`put(item, *key, value)`."""
        *key, value = key_and_value
        if len(key) != item.keys:
            raise ValueError(f"{item.pallet}.{item.name} takes {item.keys} keys, got {len(key)}")
        self._layers[-1][item, tuple(key)] = value

    def remove(self, item: Item, *key: Any) -> None:
        self._layers[-1][item, key] = ABSENT

    @contextmanager
    def layer(self) -> Generator[Changes]:
        """Collect the writes made inside. They merge into the layer below on success and vanish on an exception.

        The outermost layer has nothing below: its changes are what the caller got, to commit or to drop.
        """
        changes: Changes = {}
        self._layers.append(changes)
        try:
            yield changes
        except BaseException:
            self._layers.pop()
            raise
        self._layers.pop()
        if self._layers:
            self._layers[-1].update(changes)


def changed(history: History, block: int, changes: Mapping[tuple[Item, Key], Any]) -> Changes:
    """The changes that differ from what is stored, so that a rewrite of the same value costs nothing."""
    return {at: value for at, value in changes.items() if history.get(*at, block) != value}
