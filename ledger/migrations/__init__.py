"""Steps that bring a database to what today's code expects, run by Alembic when a store is opened (`ledger.database`).

Each store has a folder of steps and a version table of its own, so that several may share one PostgreSQL database. A
step takes the `Operations` it works with; the first one of a store adopts tables that were made before there were
steps. A step that was released is never edited: the next one changes what it did.
"""
