"""What a stranger's document costs is paid in a thread: while it is read, the loop serves everybody else."""

from __future__ import annotations

import threading

from ledger.view import LedgerView
from tests import proofkit as kit


class Where:
    """Ledgers that remember which thread looked a version up."""

    def __init__(self, view: LedgerView) -> None:
        self.view = view
        self.threads: list[threading.Thread] = []

    def at(self, version: str) -> LedgerView | None:
        self.threads.append(threading.current_thread())
        return self.view if version == self.view.version else None


async def test_an_audit_reads_the_answer_in_threads_and_says_the_same() -> None:
    story = kit.make_story()
    where = Where(story.ledger)
    audited = await kit.audit_story(story, ledgers=where)
    assert len(where.threads) >= 2
    assert threading.current_thread() not in where.threads
    assert not audited.refuted
    assert audited.credits
    assert audited.sourced
