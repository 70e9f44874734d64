"""The sixth check: the provider's own word on a call, where the Ledger says that it gives one.

A receipt that does not hold refutes, because the miner passed it on as if it did. A missing one earns nothing. What the
miner cannot help (the key's registration, the provider's clock) is unverifiable and leaves the step to replay. A chain
that cannot be read is the auditor's own failure. It is asked once for each key, however many steps carry its receipts:
a miner decides about those.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from ledger.canonical import canonical, sha256
from ledger.types import Verify
from ledger.view import LedgerView, OperationRef
from orchestra.proofs.codes import Code
from orchestra.proofs.findings import Finding
from orchestra.proofs.structure import Issued
from orchestra.protocol import OrchestraResponse, Receipt, TaskStep
from orchestra.subnets.receipts import receipt_payload

CLOCK_SLACK_MS = 5_000
"""By how much a provider's clock may differ from ours."""


Registrations = dict[tuple[int, str], bool | None]
"""What the chain said of (netuid, key) during one audit."""


class IsRegistered(Protocol):
    """Is this hotkey a neuron of that subnet? None: the chain cannot be read now."""

    async def __call__(self, netuid: int, hotkey: str, /) -> bool | None: ...


@dataclass(frozen=True, slots=True)
class Receipts:
    """Checks the receipts of one answer."""

    issued: Issued
    verify: Verify
    is_registered: IsRegistered
    timeout_s: float

    async def check(self, response: OrchestraResponse, view: LedgerView | None) -> list[Finding]:
        """One finding for each step that has a receipt or should have one."""
        found: list[Finding] = []
        known: Registrations = {}
        for step in response.task_pipeline:
            ref = view.operation(step.entry, step.operation) if view else None
            if ref is not None and step.receipt is not None:
                found.append(Finding(await self._judge(step, step.receipt, ref, known), step=step.step))
            elif ref is not None and ref.operation.receipt_key and step.error is None:
                found.append(Finding(Code.RECEIPT_MISSING, step=step.step))
        return found

    async def _judge(self, step: TaskStep, receipt: Receipt, ref: OperationRef, known: Registrations) -> Code:
        if not ref.operation.receipt_key:
            return Code.RECEIPT_UNEXPECTED
        if receipt.key != ref.operation.receipt_key:
            return Code.RECEIPT_WRONG_KEY
        if receipt.request_hash != sha256(canonical(step.query)):
            return Code.RECEIPT_REQUEST_MISMATCH
        if not self._signed(step, receipt, ref):
            return Code.RECEIPT_INVALID
        about = ref.entry.netuid, receipt.key
        if about not in known:
            known[about] = await self._registered(*about)
        registered = known[about]
        if not registered:
            return Code.REGISTRY_UNREADABLE if registered is None else Code.RECEIPT_UNREGISTERED
        since, until = self.issued.sent_ms, self.issued.sent_ms + self.issued.elapsed_ms
        in_time = since - CLOCK_SLACK_MS <= receipt.time_ms <= until + CLOCK_SLACK_MS
        return Code.RECEIPT_VALID if in_time else Code.RECEIPT_OUT_OF_WINDOW

    def _signed(self, step: TaskStep, receipt: Receipt, ref: OperationRef) -> bool:
        payload = receipt_payload(
            entry=ref.entry.id,
            operation=ref.operation.name,
            caller=self.issued.miner,
            tag=self.issued.synapse.tag,
            request_hash=receipt.request_hash,
            response_hash=step.response_hash or "",
            time_ms=receipt.time_ms,
        )
        return self.verify(receipt.key, payload, bytes.fromhex(receipt.signature[2:]))

    async def _registered(self, netuid: int, hotkey: str) -> bool | None:
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self.is_registered(netuid, hotkey)
        except TimeoutError:
            return None
