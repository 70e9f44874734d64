"""The chain on disk: SQLite, one writer, one transaction for each block.

A block's changes, its header, its extrinsics with their outcomes and its events are written together or not at all,
with WAL and `synchronous=FULL`, and only after the commit does anybody hear of them: a killed process loses nothing
that it acknowledged and repeats nothing. All retained state is also held in memory (`History`), which reads are served
from, so SQLite is read once, at start.

Retention: the state of the last `STATE_BLOCKS` blocks (a real node keeps 256), headers and bodies of the last
`BODY_BLOCKS`; what is older goes every `PRUNE_EVERY` blocks.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from orchestra.devnet.chain.extrinsic import Extrinsic
from orchestra.devnet.chain.genesis import Genesis, build
from orchestra.devnet.chain.items import ALL
from orchestra.devnet.chain.runtime import Block, Outcome, changes_root
from orchestra.devnet.chain.state import ABSENT, Changes, History, changed
from orchestra.devnet.chain.wire import digest, dumps, loads

STATE_BLOCKS: Final = 512
BODY_BLOCKS: Final = 8192
PRUNE_EVERY: Final = 256
LOCK_DEADLINE: Final = 1.0
NO_PARENT: Final = "0x" + "00" * 32

_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE storage (
    pallet TEXT NOT NULL, item TEXT NOT NULL, key TEXT NOT NULL, block INTEGER NOT NULL, value TEXT,
    PRIMARY KEY (pallet, item, key, block)
) WITHOUT ROWID;
CREATE TABLE blocks (
    number INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, header TEXT NOT NULL, events TEXT NOT NULL
);
CREATE TABLE extrinsics (
    hash TEXT PRIMARY KEY, block INTEGER NOT NULL, position INTEGER NOT NULL, error TEXT, fee INTEGER NOT NULL,
    body TEXT NOT NULL, UNIQUE (block, position)
) WITHOUT ROWID;
"""


def _nobody(active: bool) -> None:
    """Nobody wants to know about transactions."""


class WrongChain(Exception):
    """The database belongs to another network than the genesis file says."""


@dataclass(frozen=True)
class Included:
    """Where an extrinsic ended up."""

    block: int
    block_hash: str
    outcome: Outcome


@dataclass(frozen=True)
class Stored:
    """A block as it rests on disk."""

    number: int
    hash: str
    header: dict[str, Any]
    events: list[dict[str, Any]]
    extrinsics: list[Extrinsic]


class Store:
    """Owns the database and the history. One instance at a time; close it.

    `in_transaction(active)` is told when a write transaction opens and closes, for tests that want to kill the process
    inside one.
    """

    def __init__(self, path: Path, genesis: Genesis, in_transaction: Callable[[bool], None] | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=LOCK_DEADLINE, isolation_level=None)
        self._in_transaction = in_transaction or _nobody
        try:
            self._open(genesis)
        except BaseException:
            self._db.close()
            raise

    def _open(self, genesis: Genesis) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self.history = History()
        if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            self._create(genesis)
        self.genesis_hash: str = self._meta("genesis")
        if self.genesis_hash != genesis.hash:
            raise WrongChain(f"the database holds {self.genesis_hash}, the genesis file is {genesis.hash}")
        self._load()

    def close(self) -> None:
        self._db.close()

    # Writing ----------------------------------------------------------------------------------------------------------

    def _create(self, genesis: Genesis) -> None:
        changes = build(genesis)
        header = {
            "number": 0, "parentHash": NO_PARENT, "timestamp": genesis.timestamp,
            "extrinsicsRoot": digest([]), "stateRoot": changes_root(changes), "genesis": genesis.hash,
        }  # fmt: skip
        self._db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.strip().split(";\n"):
            self._db.execute(statement)
        self._db.execute("INSERT INTO meta VALUES ('genesis', ?)", (genesis.hash,))
        self._write(Block(0, genesis.hash, header, (), (), [], changes), changes)
        self._db.execute("COMMIT")

    def commit(self, block: Block) -> None:
        """Make a block part of the chain, durably. Raises sqlite3.Error, after which the process must not go on."""
        changes = changed(self.history, block.number - 1, block.changes)
        self._in_transaction(True)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._write(block, changes)
            if block.number % PRUNE_EVERY == 0:
                self._prune(block.number)
            self._db.execute("COMMIT")
        finally:
            self._in_transaction(False)
        self.history.record(block.number, changes)
        if block.number % PRUNE_EVERY == 0:
            self.history.forget(block.number - STATE_BLOCKS)
        self.number, self.hash = block.number, block.hash

    def _write(self, block: Block, changes: Changes) -> None:
        self._db.execute(
            "INSERT INTO blocks VALUES (?, ?, ?, ?)",
            (block.number, block.hash, dumps(block.header), dumps(block.events)),
        )
        self._db.executemany(
            "INSERT INTO storage VALUES (?, ?, ?, ?, ?)",
            (
                (item.pallet, item.name, dumps(list(key)), block.number, None if value is ABSENT else dumps(value))
                for (item, key), value in changes.items()
            ),
        )
        self._db.executemany(
            "INSERT INTO extrinsics VALUES (?, ?, ?, ?, ?, ?)",
            (
                (outcome.hash, block.number, outcome.index, outcome.error, outcome.fee, dumps(extrinsic.to_json()))
                for extrinsic, outcome in zip(block.extrinsics, block.outcomes, strict=True)
            ),
        )

    def _prune(self, number: int) -> None:
        """Forget what no retained block can see."""
        horizon = max(0, number - STATE_BLOCKS)
        self._db.execute(
            "DELETE FROM storage AS old WHERE block < (SELECT max(block) FROM storage AS new"
            " WHERE new.pallet = old.pallet AND new.item = old.item AND new.key = old.key AND new.block <= ?)",
            (horizon,),
        )
        self._db.execute("DELETE FROM storage WHERE value IS NULL AND block <= ?", (horizon,))
        self._db.execute("DELETE FROM blocks WHERE number > 0 AND number <= ?", (number - BODY_BLOCKS,))
        self._db.execute("DELETE FROM extrinsics WHERE block <= ?", (number - BODY_BLOCKS,))

    # Reading ----------------------------------------------------------------------------------------------------------

    def _meta(self, name: str) -> str:
        return self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0]

    def _load(self) -> None:
        self.number, self.hash = self._db.execute(
            "SELECT number, hash FROM blocks ORDER BY number DESC LIMIT 1"
        ).fetchone()
        rows = self._db.execute("SELECT pallet, item, key, block, value FROM storage ORDER BY block")
        for pallet, name, key, block, value in rows:
            change: Changes = {(ALL[pallet, name], tuple(json.loads(key))): ABSENT if value is None else loads(value)}
            self.history.record(block, change)

    @property
    def horizon(self) -> int:
        """The oldest block whose state can be read."""
        return max(0, self.number - STATE_BLOCKS)

    def hash_of(self, number: int) -> str | None:
        row = self._db.execute("SELECT hash FROM blocks WHERE number = ?", (number,)).fetchone()
        return row[0] if row else None

    def number_of(self, block_hash: str) -> int | None:
        row = self._db.execute("SELECT number FROM blocks WHERE hash = ?", (block_hash,)).fetchone()
        return row[0] if row else None

    def block(self, number: int) -> Stored | None:
        row = self._db.execute("SELECT hash, header, events FROM blocks WHERE number = ?", (number,)).fetchone()
        if row is None:
            return None
        bodies = self._db.execute("SELECT body FROM extrinsics WHERE block = ? ORDER BY position", (number,))
        extrinsics = [Extrinsic(**loads(body)) for (body,) in bodies]
        return Stored(number, row[0], loads(row[1]), loads(row[2]), extrinsics)

    def included(self, extrinsic_hash: str) -> Included | None:
        """Where an extrinsic was included, if it was (and is retained)."""
        row = self._db.execute(
            "SELECT block, position, error, fee FROM extrinsics WHERE hash = ?", (extrinsic_hash,)
        ).fetchone()
        if row is None:
            return None
        block, position, error, fee = row
        block_hash = self.hash_of(block)
        return Included(block, block_hash or "", Outcome(extrinsic_hash, position, error, fee))
