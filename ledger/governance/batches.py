"""Batches: made by a leader, checked by everybody else with the same sums, kept until their window is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledger.changes import BatchHeader, Change
from ledger.governance.book import Book, settle
from ledger.governance.chain import Frozen
from ledger.governance.checking import Checker, Lacking, Refused
from ledger.statements import Batch, Certificate, sign_seal
from ledger.types import Signer

KEPT_PER_WINDOW = 2
"""Batches of one window that are kept without anybody having voted for them: an honest leader makes one."""


class Batches:
    """All batches at hand, by digest, with what each comes to."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._held: dict[str, Batch] = {}
        self._sums: dict[str, tuple[tuple[Change, ...], Book]] = {}
        self._refused: set[str] = set()

    def get(self, digest: str) -> Batch | None:
        return self._held.get(digest)

    def of_window(self, window: int) -> list[Batch]:
        return [each for each in self._held.values() if each.header.window == window]

    def make(self, signer: Signer, frozen: Frozen, book: Book, certificates: Sequence[Certificate]) -> Batch:
        """A leader's batch. Raises Lacking."""
        header = BatchHeader(
            window=frozen.window,
            block=frozen.block,
            beacon=frozen.hash,
            leader=signer.ss58_address,
            parent=book.version,
            certificates=tuple(each.digest for each in certificates),
            validators=frozen.validators,
        )
        _, after = self._settle(header, certificates, book)
        seal = sign_seal(signer, header=header, version=after.version)
        return Batch(seal=seal, header=header, certificates=tuple(certificates))

    def take(self, batch: Batch, *, wanted: bool) -> bool:
        """Keep a batch whose seal is its leader's. False when it is known.

        Raises:
            Refused: not of a window that we know, not by its leader, or one too many.
        """
        if batch.digest in self._held:
            return False
        header, frozen = batch.header, self._checker.chain.frozen.get(batch.header.window)
        if frozen is None:
            raise Refused("of a window that we did not see begin")
        if (header.block, header.beacon, header.leader) != (frozen.block, frozen.hash, frozen.leader):
            raise Refused("not by the leader of that window")
        if header.validators != frozen.validators:
            raise Refused("other validators than the chain had")
        if not self._checker.witness.saw(batch.seal):
            raise Refused("the leader did not sign it")
        if not wanted and len(self.of_window(header.window)) >= KEPT_PER_WINDOW:
            raise Refused("the leader made more than one")
        self._held[batch.digest] = batch
        return True

    def is_right(self, batch: Batch, book: Book) -> bool:
        """Does every certificate prove what it says, and does it all come to the version that was sealed? What was
        found wrong, or lacks something that we do not know, is not looked at again.
        """
        if batch.digest in self._refused or batch.header.parent != book.version:
            return False
        try:
            for certificate in batch.certificates:
                self._checker.certificate(certificate, book, block=batch.header.block)
            is_right = self.comes_to(batch, book) is not None
        except (Refused, Lacking):
            is_right = False
        if not is_right:
            self._refused.add(batch.digest)
        return is_right

    def comes_to(self, batch: Batch, book: Book) -> tuple[tuple[Change, ...], Book] | None:
        """The leaves of a batch on this book, and the book after them; None when that is not what was sealed.

        Raises:
            Refused, Lacking
        """
        if batch.header.parent != book.version:
            return None
        found = self._sums.get(batch.digest)
        if found is None:
            found = self._settle(batch.header, batch.certificates, book)
            if found[1].version != batch.seal.version:
                return None
            self._sums[batch.digest] = found
        return found

    def _settle(
        self, header: BatchHeader, certificates: Sequence[Certificate], book: Book
    ) -> tuple[tuple[Change, ...], Book]:
        checker = self._checker
        return settle(book, header, certificates, checker.rules, consents=checker.consents, revealed=checker.revealed)

    def forget(self, before: int) -> None:
        """Drop batches of windows before this one."""
        self._held = {digest: each for digest, each in self._held.items() if each.header.window >= before}
        self._sums = {digest: each for digest, each in self._sums.items() if digest in self._held}
        self._refused &= self._held.keys()

    def dump(self) -> list[dict[str, Any]]:
        return [each.model_dump(mode="json") for each in self._held.values()]

    def load(self, dumped: list[dict[str, Any]]) -> None:
        for each in dumped:
            batch = Batch.model_validate(each)
            self._held[batch.digest] = batch
