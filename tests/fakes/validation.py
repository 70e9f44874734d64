"""The world of one validator: a chain of numbered blocks, miners that do as told, a canary, a scripted audit.

Each refuses what was not scripted. Stores and Ledgers are the real ones.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ledger.canonical import sha256
from ledger.entry import SubnetEntry
from ledger.types import Signer
from ledger.view import LedgerView
from orchestra.chain.types import BlockRef, Metagraph, Neuron, TxOutcome
from orchestra.chain.watch import Sight
from orchestra.mining.service import audit_payload
from orchestra.peers import PeerFailed
from orchestra.protocol import (
    EntryView,
    LedgerAuditRequest,
    LedgerAuditResponse,
    OrchestraSynapse,
    Quote,
    QuoteRequest,
)
from orchestra.transport import SignedResponse
from orchestra.validation.canary import CanaryFailed
from orchestra.validation.scoring import Answered

TAO = 10**9


def block_hash(number: int) -> str:
    return sha256(f"block {number}".encode())


def neuron(uid: int, hotkey: str, *, stake_rao: int = 0, axon: str | None = "127.0.0.9:1") -> Neuron:
    return Neuron(
        uid=uid,
        hotkey=hotkey,
        coldkey=hotkey,
        permit=stake_rao > 0,
        stake_rao=stake_rao,
        axon=axon,
        commitment=None,
        incentive=0.0,
        dividends=0.0,
        emission_rao=0,
        vtrust=0.0,
        last_update=0,
        registered_at=0,
        collateral_rao=None,
    )


@dataclass
class NumberedChain:
    """A subnet with these neurons at every block. `fails` are the errors of the next calls, by name."""

    neurons: tuple[Neuron, ...]
    netuid: int = 2
    tempo: int = 10
    refuses_commits: bool = False
    two_mechanisms: bool = False
    fails: dict[str, Exception] = field(default_factory=dict[str, Exception])
    commits: list[str] = field(default_factory=list[str])
    submitted: list[tuple[int, dict[str, float]]] = field(default_factory=list[tuple[int, dict[str, float]]])

    def _maybe_fail(self, name: str) -> None:
        if name in self.fails:
            raise self.fails.pop(name)

    async def block_hash(self, number: int) -> str:
        self._maybe_fail("block_hash")
        return block_hash(number)

    async def metagraph(self, netuid: int, *, block: int | None = None) -> Metagraph:
        assert (netuid, block is None) == (self.netuid, False), "the schedule reads the tempo's first block"
        self._maybe_fail("metagraph")
        return self.at(block or 0)

    async def commit(self, wallet: Signer, netuid: int, data: str) -> TxOutcome:
        assert netuid == self.netuid
        self._maybe_fail("commit")
        self.commits.append(data)
        if self.refuses_commits:
            return TxOutcome(False, "rate_limited", "", None, None)
        me = wallet.ss58_address
        self.neurons = tuple(replace(each, commitment=data) if each.hotkey == me else each for each in self.neurons)
        return TxOutcome(True, None, "", None, None)

    async def last_update(self) -> int | None:
        return None

    async def mechanisms(self) -> int:
        self._maybe_fail("mechanisms")
        return 2 if self.two_mechanisms else 1

    async def submit(self, weights: Mapping[str, float], mechid: int) -> TxOutcome:
        self.submitted.append((mechid, dict(weights)))
        return TxOutcome(True, None, "", None, block_hash(0))

    def at(self, number: int) -> Metagraph:
        return Metagraph(self.netuid, BlockRef(number, block_hash(number)), self.tempo, self.neurons)

    def sight(self, number: int) -> Sight:
        return Sight(self.at(number), float(number))


@dataclass
class ScriptedMiner:
    """A `Peer` whose every answer is scripted; what it is asked is kept. `ledger` is its view, None: it gives none."""

    signer: Signer
    ledger: LedgerView | None
    accepts: bool = True
    failure: PeerFailed | None = None
    before_answer: Callable[[], Awaitable[Any]] | None = None
    hangs: asyncio.Event | None = None
    wrong_nonce: bool = False
    wrong_signature: bool = False
    asked: list[OrchestraSynapse] = field(default_factory=list[OrchestraSynapse])
    quoted: list[QuoteRequest] = field(default_factory=list[QuoteRequest])
    audited: list[LedgerAuditRequest] = field(default_factory=list[LedgerAuditRequest])

    @property
    def hotkey(self) -> str:
        return self.signer.ss58_address

    async def quote(self, request: QuoteRequest) -> Quote:
        self.quoted.append(request)
        if self.hangs is not None:
            await self.hangs.wait()
        return Quote(
            challenge_id=request.challenge_id,
            cost=request.max_cost,
            latency_ms=request.deadline_ms,
            accepts=self.accepts,
            reason="" if self.accepts else "too much to do",
        )

    async def challenge(self, synapse: OrchestraSynapse) -> SignedResponse:
        self.asked.append(synapse)
        if self.before_answer is not None:
            await self.before_answer()
        if self.failure is not None:
            raise self.failure
        return SignedResponse(200, b"{}", {}, sha256(synapse.to_wire()), 10)

    async def ledger_audit(self, request: LedgerAuditRequest) -> LedgerAuditResponse:
        self.audited.append(request)
        if self.ledger is None:
            raise PeerFailed("unreachable", "/v1/ledger-audit")
        known = {name: self.ledger.entry(name) for name in request.entries}
        entries = tuple(EntryView(entry=name, digest=entry.digest if entry else None) for name, entry in known.items())
        nonce = sha256(b"another") if self.wrong_nonce else request.nonce
        signed = audit_payload(self.ledger.version, nonce, entries, "5Else" if self.wrong_signature else self.hotkey)
        return LedgerAuditResponse(
            ledger_version=self.ledger.version,
            nonce=nonce,
            entries=entries,
            signature="0x" + self.signer.sign(signed).hex(),
        )


@dataclass
class ScriptedAuditor:
    """An `Auditor` that finds what it is told, by hotkey: answers in order, the last one for ever; exceptions are
    raised. Its clock is `now_ms`.
    """

    script: Mapping[str, list[Answered | Exception]]
    judged: Counter[str] = field(default_factory=Counter[str])
    now_ms: int = 1_800_000_000_000
    sent: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    def sent_ms(self, response: SignedResponse) -> int:
        return self.now_ms - response.elapsed_ms

    async def judge(self, peer: Any, synapse: Any, response: Any, *, ledger: Any, sent_ms: int, **_: Any) -> Answered:
        found = self.script[peer.hotkey]
        self.sent.setdefault(synapse.challenge_id, []).append(sent_ms)
        result = found[min(self.judged[peer.hotkey], len(found) - 1)]
        self.judged[peer.hotkey] += 1
        if isinstance(result, Exception):
            raise result
        return result


@dataclass
class ScriptedCanary:
    """A canary with an entry for each of its two shapes; `failures` changes fail before one succeeds."""

    original: SubnetEntry
    drifted: SubnetEntry
    failures: int = 0
    changes: list[bool] = field(default_factory=list[bool])

    async def change(self, *, drifted: bool) -> SubnetEntry:
        if self.failures:
            self.failures -= 1
            raise CanaryFailed("no answer from the canary's control port")
        self.changes.append(drifted)
        return self.drifted if drifted else self.original
