"""Where looks at operations are remembered, so that a restart neither repeats them nor forgets what drifted."""

from __future__ import annotations

from collections import OrderedDict
from typing import Self

from sqlalchemy import Boolean, Column, Double, Integer, MetaData, String, Table, delete, insert, select

from ledger.database import Marker, SqlStore, reading
from ledger.probe import ProbeRecord

MAX_RECORDS = 100_000
"""Operations that are remembered; those looked at longest ago are forgotten first."""

MIGRATIONS = "ledger.migrations.probes"

metadata = MetaData()
probes = Table(
    "ledger_probes",
    metadata,
    Column("name", String(160), primary_key=True),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False, index=True),
    Column("not_before", Double, nullable=False),
    Column("looks", Integer, nullable=False),
    Column("drifts", Integer, nullable=False),
    Column("drifting", Boolean, nullable=False),
    Column("faults", Integer, nullable=False),
)
_FIELDS = ("first_at", "last_at", "not_before", "looks", "drifts", "drifting", "faults")


class MemoryProbeHistory:
    """Kept as long as the process."""

    def __init__(self, most: int = MAX_RECORDS) -> None:
        self._records: OrderedDict[str, ProbeRecord] = OrderedDict()
        self._most = most

    async def read(self, name: str) -> ProbeRecord | None:
        return self._records.get(name)

    async def write(self, name: str, record: ProbeRecord) -> None:
        self._records[name] = record
        self._records.move_to_end(name)
        while len(self._records) > self._most:
            self._records.popitem(last=False)


class SqlProbeHistory(SqlStore):
    """Kept in a database."""

    METADATA = metadata
    MIGRATIONS = MIGRATIONS

    _most = MAX_RECORDS

    @classmethod
    async def open(cls, url: str, *, marker: Marker | None = None, most: int = MAX_RECORDS) -> Self:
        """As every store; `most` operations are remembered."""
        store = await super().open(url, marker=marker)
        store._most = most
        return store

    async def read(self, name: str) -> ProbeRecord | None:
        columns = [probes.c[each] for each in _FIELDS]
        async with reading(self._engine) as connection:
            row = (await connection.execute(select(*columns).where(probes.c.name == name))).first()
        return None if row is None else ProbeRecord(*row)

    async def write(self, name: str, record: ProbeRecord) -> None:
        values = {"name": name} | {each: getattr(record, each) for each in _FIELDS}
        kept = select(probes.c.name).order_by(probes.c.last_at.desc(), probes.c.name).limit(self._most)
        async with self._engine.begin() as connection:
            await connection.execute(delete(probes).where(probes.c.name == name))
            await connection.execute(insert(probes).values(**values))
            await connection.execute(delete(probes).where(probes.c.name.not_in(kept)))
