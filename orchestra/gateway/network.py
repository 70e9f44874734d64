"""The gateway of a validator: organic objectives take the way of synthetic ones, to the best miners first.

An objective goes to the best miner and, when that gives nothing usable, to the runner-up; to nobody else (DESIGN §6).
The answer is audited like any other, and what was found is told to the user.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from orchestra.chain.types import Metagraph
from orchestra.gateway.backend import Emit, NobodyAnswered, to_result
from orchestra.gateway.messages import ObjectiveRequest, ObjectiveResult, Progress, Verification
from orchestra.money import rao
from orchestra.peers import Peer, PeerFailed
from orchestra.proofs import Audit, Code
from orchestra.proofs.disclosure import cited_steps
from orchestra.protocol import OrchestraSynapse
from orchestra.validation.components import COMPONENTS, WEIGHTS, Score, shares
from orchestra.validation.validator import Validator
from orchestra.validation.weight_beat import ALARM_AFTER_TEMPOS

MOST_MINERS_ASKED = 2
MOST_REPLAYS = 32
"""For an answer that somebody waits for every cited call is made again, as far as money goes."""

PATIENCE_S = 15.0
"""How long an objective waits for a first miner to serve: one that starts is on the chain a block (12 s) later."""

LOOK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class NetworkBackend:
    """Answers through the network of one validator."""

    validator: Validator
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def answer(self, request: ObjectiveRequest, emit: Emit) -> ObjectiveResult:
        began = self.clock()
        failures: list[str] = []
        for peer in await self._somebody(emit, began):
            emit(self._progress("asking", f"asking {peer.hotkey}", began))
            synapse = self._synapse(request)
            try:
                response = await self.validator.ask(peer, synapse)
            except PeerFailed as error:
                failures.append(f"{peer.hotkey}: {error}")
                continue
            emit(self._progress("answered", f"answered in {response.elapsed_ms} ms", began))
            emit(self._progress("auditing", "checking every claim", began))
            answered = await self.validator.judge(
                peer, synapse, response, replays=MOST_REPLAYS if request.allow_replay else 0
            )
            if answered is None:
                failures.append(f"{peer.hotkey}: it names a Ledger version that could not be looked up")
                continue
            audit = answered.audit
            if audit.response is None or audit.refuted or answered.ahead or audit.over_budget or _nothing_shown(audit):
                failures.append(f"{peer.hotkey}: {'; '.join(audit.reasons()[:2]) or 'not readable'}")
                continue
            return to_result(request, audit.response, response.elapsed_ms, verification(audit))
        raise NobodyAnswered("; ".join(failures))

    async def _somebody(self, emit: Emit, began: float) -> list[Peer]:
        """Whom to ask, as soon as there is somebody: a network that has just come up is not one that cannot answer.

        Raises:
            NobodyAnswered: nobody within `PATIENCE_S`.
        """
        while not (best := await self._best()):
            waited = self.clock() - began
            if waited >= PATIENCE_S:
                raise NobodyAnswered(self._why_nobody())
            if not waited:
                emit(self._progress("waiting", "waiting for a miner that serves", began))
            await self.sleep(LOOK_EVERY_S)
        return best

    def _why_nobody(self) -> str:
        if self.validator.sight is None:
            return "this validator has not seen the chain yet: see its log, then try again"
        return "no miner serves on this subnet, or those that do were caught: orchestra status shows who is there"

    async def _best(self) -> list[Peer]:
        """The miners to ask, best score first: those that have proved something, before anybody has those that were not
        caught, and before there are scores whoever serves. What a user asks is mostly not replayed, so it had better
        not reach a forger.
        """
        scores, sight = await self.validator.scores(), self.validator.sight
        if sight is None:
            return []
        standing = [each for each in scores if not each.refuted]
        proved = [each for each in standing if each.components["hash_verification"].value > 0.0]
        hotkeys = [each.hotkey for each in proved or standing]
        if not scores:
            hotkeys = [each.hotkey for each in sight.members.miners(self.validator.min_stake_rao)]
        peers = (self.validator.peer(hotkey) for hotkey in hotkeys)
        return [peer for peer in peers if peer is not None][:MOST_MINERS_ASKED]

    def _synapse(self, request: ObjectiveRequest) -> OrchestraSynapse:
        sight = self.validator.sight
        assert sight is not None, "a peer was found in it"
        return OrchestraSynapse(
            challenge_id="0x" + secrets.token_hex(32),
            objective=request.objective,
            target_schema=request.target_schema,
            deadline_ms=request.deadline_ms,
            issued_block=sight.block.number,
            beacon=sight.block.hash,
            max_cost=rao(request.max_cost_tao),
            ledger_version=self.validator.ledger.view.version,
            tag="0x" + secrets.token_hex(32),
        )

    def _progress(self, stage: Any, message: str, began: float) -> Progress:
        return Progress(stage=stage, message=message, at_ms=int((self.clock() - began) * 1000))

    async def status(self) -> dict[str, Any]:
        """Block, Ledger, every miner's score by component, weights and how they were set."""
        validator = self.validator
        scores = await validator.scores()
        attempts = await validator.store.weight_attempts()
        tempo = validator.current_tempo
        since = await validator.tempos_since_weights()
        sight = validator.sight
        return {
            "role": "validator",
            "hotkey": validator.signer.ss58_address,
            "block": sight.block.number if sight else None,
            "tempo": asdict(tempo) if tempo else None,
            "ledger_version": validator.ledger.view.version,
            "component_weights": dict(WEIGHTS),
            "scores": [score_document(each) for each in scores],
            "shares": shares(scores),
            "weight_attempts": [asdict(each) for each in attempts[:10]],
            "tempos_since_weights": since,
            "alarm": since is not None and since >= ALARM_AFTER_TEMPOS,
            "neurons": neuron_documents(sight.members, validator.min_stake_rao) if sight else [],
        }


def _nothing_shown(audit: Audit) -> bool:
    """An answer with values of which not one has a revealed source: the runner-up may do better."""
    return bool(audit.response and audit.response.standardized_data) and not audit.sourced_pointers


def verification(audit: Audit) -> Verification:
    """An audit in a user's words. Verified means: every step that a value rests on was shown to have been made, by its
    provider's receipt or by making the call again.
    """
    findings = tuple(each.to_json() for each in audit.faults)
    shown = {each.step for each in audit.findings if each.code in (Code.RECEIPT_VALID, Code.REPLAY_MATCHES)}
    cited = frozenset[int]()
    if audit.response is not None:
        local = {step.step for step in audit.response.task_pipeline if step.subnet == "local"}
        cited = cited_steps(audit.response) - local
    verdict = "refuted" if audit.refuted else "verified" if cited <= shown and not findings else "partly verified"
    return Verification(verdict=verdict, hash_credit=float(audit.hash_credit()), findings=findings[:20])


def score_document(each: Score) -> dict[str, Any]:
    """A score with everything it was made of."""
    return {
        "hotkey": each.hotkey,
        "total": each.total,
        "orchestration": each.orchestration,
        "ledger": each.ledger,
        "refuted": each.refuted,
        "components": {name: asdict(each.components[name]) for name in COMPONENTS},
        "reasons": list(each.reasons),
    }


def neuron_documents(members: Metagraph, min_stake_rao: int) -> list[dict[str, Any]]:
    """The subnet as the chain has it, a document for every neuron."""
    judges = {each.uid for each in members.validators(min_stake_rao)}
    return [
        {
            "uid": each.uid,
            "hotkey": each.hotkey,
            "role": "validator" if each.uid in judges else "miner",
            "axon": each.axon,
            "stake_rao": str(each.stake_rao),
            "incentive": each.incentive,
            "dividends": each.dividends,
            "emission_rao": str(each.emission_rao),
            "last_update": each.last_update,
        }
        for each in members.neurons
    ]
