"""A validator's work, block by block: seeds, the Ledger, challenges on the public schedule, Ledger audits, weights.

Everything is decided from block numbers and stored rows, so a validator that was killed goes on where it was: a slot is
taken before its challenge is sent, an event is written once, a vector is submitted once. A miner can make a challenge
fail but not the validator: whatever goes wrong in judging one answer ends that challenge, is logged with its trace, and
says nothing about the miner.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, Protocol
from weakref import WeakValueDictionary

from ledger.types import Signer, Verify
from ledger.view import LedgerView
from orchestra.anchoring import ChainSlot
from orchestra.chain.errors import ChainRejected
from orchestra.chain.types import BlockRef, Metagraph
from orchestra.chain.watch import Sight
from orchestra.ledger_node import LedgerNode
from orchestra.mining.service import audit_payload
from orchestra.peers import Peer, PeerFailed
from orchestra.planning import Planner
from orchestra.protocol import LedgerAuditRequest, LedgerAuditResponse, OrchestraSynapse, QuoteRequest
from orchestra.transport import SignedResponse
from orchestra.validation import scoring
from orchestra.validation.auditing import REPLAYS, Auditor
from orchestra.validation.canary import Canary, CanaryFailed, may_turn, says_nothing
from orchestra.validation.challenges import Challenge, Domain, draw
from orchestra.validation.components import Score, ScoreEvent, score
from orchestra.validation.schedule import SCORING_WINDOW_TEMPOS, Slot, Tempo, schedule, tempo_at
from orchestra.validation.scoring import Answered
from orchestra.validation.seeds import SECRET_BYTES, challenge_dice, commitment
from orchestra.validation.store import IssuedChallenge, ValidationStore
from orchestra.validation.weight_beat import due, tempos_since_weights
from orchestra.validation.weights import WeightSetter

logger = logging.getLogger(__name__)

AUDITED_ENTRIES = 3
HISTORY_TEMPOS = 200
MOST_CHALLENGES_AT_ONCE = 32
MOST_AT_ONE_MINER = 3
"""A miner keeps half of its places, four unless it says otherwise, for one validator. After a restart all overdue slots
of a tempo come at once: none of them may be declined for that, and one place is left for a user's objective.
"""
PATIENCE = 0.8
"""Share of the tempo for which a miner that serves nowhere is waited for before that counts against it. In the first
tempo that a validator sees after a start, it does not count at all."""


class ValidatorChain(Protocol):
    """The chain as far as a validator needs it, besides weights."""

    async def block_hash(self, number: int) -> str: ...

    async def metagraph(self, netuid: int, *, block: int | None = None) -> Metagraph: ...


@dataclass(slots=True)
class TempoPlan:
    """What this tempo holds for us."""

    tempo: Tempo
    beacon: str
    slots: tuple[Slot, ...]
    miners: tuple[str, ...]
    mechanisms: int
    first: bool


@dataclass(slots=True)
class Validator:
    """One validator. `slot` is where it fixes its seeds; `peer` finds a neuron by hotkey; `canary` only where it runs
    one. `window`: the blocks of a window where the validators agree on the Ledger; 0 where it has a committer, who also
    commits what the canary became. `catch_up` brings the Ledger to where the network is and says whether it is there.
    """

    signer: Signer
    netuid: int
    chain: ValidatorChain
    store: ValidationStore
    slot: ChainSlot
    ledger: LedgerNode
    catch_up: Callable[[], Awaitable[bool]]
    peer: Callable[[str], Peer | None]
    planner: Planner
    auditor: Auditor
    setter: WeightSetter
    verify: Verify
    domains: Sequence[Domain]
    tao_usd: Decimal
    max_cost: int
    min_stake_rao: int
    window: int = 0
    canary: Canary | None = None
    sight: Sight | None = None
    _plan: TempoPlan | None = None
    _canary_turned: int | None = None
    _group: asyncio.TaskGroup | None = None
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_CHALLENGES_AT_ONCE))
    _places_at: WeakValueDictionary[str, asyncio.Semaphore] = field(
        default_factory=WeakValueDictionary[str, asyncio.Semaphore]
    )
    _first_block: int | None = None

    async def run(self, follow: Callable[[Callable[[Sight], Awaitable[None]]], Awaitable[None]]) -> None:
        """Work until cancelled. `follow` calls back at every new block (`ChainWatch.run`)."""
        abandoned = await self.store.abandon_unanswered()
        if abandoned:
            logger.info("%d challenges were interrupted by the last stop; they count for nobody", abandoned)
        async with asyncio.TaskGroup() as group:
            self._group = group
            await follow(self.on_block)

    async def on_block(self, sight: Sight) -> None:
        """Everything that this block asks for. Challenges run beside it, the rest is done when it returns."""
        self.sight = sight
        block = sight.block.number
        if self._first_block is None:
            self._first_block = await self.store.first_block() or block
        await self.catch_up()
        plan = await self._tempo_plan(sight)
        await self._fix_seeds(plan.tempo, sight)
        await self._turn_canary(plan.tempo, sight.block)
        await self._start_challenges(plan, sight)
        await self._set_weights(plan, block)
        await self.slot.keep(sight.members)

    @property
    def current_tempo(self) -> Tempo | None:
        """The tempo that the last seen block belongs to."""
        return self._plan.tempo if self._plan else None

    async def opened_seeds(self) -> list[dict[str, Any]]:
        """The secrets of tempos that are over, with what was committed and when: so that others can draw them again."""
        current = self._plan.tempo.index if self._plan else 0
        me = self.signer.ss58_address
        return [
            {
                "tempo": tempo,
                "secret": "0x" + secret.hex(),
                "commitment": commitment(me, tempo, secret),
                "committed_block": block,
            }
            for tempo, (secret, block) in (await self.store.seed_commitments()).items()
            if tempo < current
        ]

    # once a tempo

    async def _tempo_plan(self, sight: Sight) -> TempoPlan:
        tempo = tempo_at(sight.block.number, netuid=self.netuid, tempo=sight.members.tempo)
        if self._plan is not None and self._plan.tempo == tempo:
            return self._plan
        beacon = await self.chain.block_hash(tempo.first)
        members = await self._members_at(tempo.first, sight)
        validators = {each.hotkey: each.stake_rao for each in members.validators(self.min_stake_rao)}
        miners = tuple(each.hotkey for each in members.miners(self.min_stake_rao))
        await self.store.forget_before(tempo.first - HISTORY_TEMPOS * tempo.length)
        await self.store.forget_seeds_before(tempo.index - HISTORY_TEMPOS)
        slots = schedule(tempo, beacon, validators=validators, miners=miners)
        mechanisms = await self.setter.chain.mechanisms()
        self._plan = TempoPlan(tempo, beacon, slots, miners, mechanisms, first=self._plan is None)
        return self._plan

    async def _members_at(self, block: int, sight: Sight) -> Metagraph:
        """The subnet as it was when the tempo began; as it is now where the node has forgotten that state (256 blocks):
        a schedule that differs a little from the others' is better than none until the next tempo.
        """
        try:
            return await self.chain.metagraph(self.netuid, block=block)
        except ChainRejected as error:
            logger.warning("the tempo's first block cannot be read any more (%s); going by the newest", error.code)
            return sight.members

    async def _fix_seeds(self, tempo: Tempo, sight: Sight) -> None:
        """Fix the next tempo's seed before that tempo begins; at the first start this one's too, visibly late."""
        known, me = await self.store.seed_commitments(), self.signer.ss58_address
        for index in {tempo.index, tempo.index + 1} - set(known):
            known[index] = (await self.store.seed(index, secrets.token_bytes(SECRET_BYTES)), None)
        for index, (secret, block) in sorted(known.items()):
            digest = commitment(me, index, secret)
            if block is None and self.slot.covers(sight.members, digest):
                await self.store.seed_committed(index, sight.block.number)
            elif block is None:
                await self.slot.log.fix(digest)

    async def _turn_canary(self, tempo: Tempo, block: BlockRef) -> None:
        """Change the canary's schema when this tempo's secret says so. In a governed Ledger the change is left for the
        miners to notice, so it stays for as long as that takes.
        """
        if self.canary is None or self._canary_turned == tempo.index or not may_turn(tempo, self.window):
            return
        secret = await self.store.seed(tempo.index, secrets.token_bytes(SECRET_BYTES))
        dice = challenge_dice(secret, beacon="canary", miner=self.signer.ss58_address, slot=0)
        try:
            entry = await self.canary.change(drifted=dice.random() < 0.5)
        except CanaryFailed as error:
            logger.warning("%s; tried again with the next block", error)
            return
        if not self.window and self.ledger.view.entry(entry.id) != entry:
            view = await self.ledger.commit([entry], block=block.number)
            logger.info("the canary changed; the Ledger is now %s", view.version)
        self._canary_turned = tempo.index

    # challenges

    async def _start_challenges(self, plan: TempoPlan, sight: Sight) -> None:
        block = sight.block.number
        used = await self.store.slots_used(plan.tempo.index)
        for slot in plan.slots:
            mine = slot.validator == self.signer.ss58_address
            if not mine or slot.block > block or slot.number in used or self._group is None:
                continue
            if self.peer(slot.miner) is None and (block < plan.tempo.at(PATIENCE) or plan.first):
                continue  # it may be starting: asked as soon as it serves, at the latest near the end of the tempo
            challenge = await self._take(slot, plan, sight)
            if challenge is not None:
                self._group.create_task(self._pursue(challenge, slot.miner, block))

    async def _take(self, slot: Slot, plan: TempoPlan, sight: Sight) -> Challenge | None:
        """Draw the slot's challenge and write it down; None when it was taken before."""
        secret = await self.store.seed(plan.tempo.index, secrets.token_bytes(SECRET_BYTES))
        beacon = await self.chain.block_hash(slot.block)  # of the slot: waiting for a better one changes nothing
        challenge = draw(
            challenge_dice(secret, beacon=beacon, miner=slot.miner, slot=slot.number),
            domains=self.domains,
            ledger=self.ledger.view,
            issued_block=slot.block,
            beacon=beacon,
            max_cost=self.max_cost,
        )
        row = IssuedChallenge(
            challenge.synapse.challenge_id,
            slot.miner,
            plan.tempo.index,
            slot.number,
            sight.block.number,
            challenge.kind,
        )
        return challenge if await self.store.issue(row) else None

    async def _pursue(self, challenge: Challenge, miner: str, block: int) -> None:
        async with self._places_at.setdefault(miner, asyncio.Semaphore(MOST_AT_ONE_MINER)), self._places:
            for ask in (self._challenge, self._audit_ledger):
                try:
                    events = await ask(challenge, miner, block)
                except Exception:  # the one place where a hostile answer could otherwise end the validator
                    logger.exception("judging %s failed; it says nothing of %s", challenge.synapse.challenge_id, miner)
                    continue
                await self.store.record(events, settles=challenge.synapse.challenge_id)

    async def _challenge(self, challenge: Challenge, miner: str, block: int) -> list[ScoreEvent]:
        """Ask one miner and judge what comes back. No event where only we, or our canary, stood in the way."""
        peer = self.peer(miner)
        if peer is None:
            return [scoring.no_answer(challenge, miner=miner, block=block, why="it serves nowhere")]
        try:
            response = await self.ask(peer, challenge.synapse)
        except PeerFailed as error:
            return [scoring.no_answer(challenge, miner=miner, block=block, why=str(error))]
        answered = await self.judge(peer, challenge.synapse, response)
        if answered is None or (self._canary_says_nothing(challenge, answered) and not answered.audit.refuted):
            return []
        drawn_from = self._drawn_from(challenge)
        event = await asyncio.to_thread(
            scoring.challenge_event,
            challenge,
            answered,
            miner=miner,
            block=block,
            ledger=drawn_from,
            planner=self.planner,
            tao_usd=self.tao_usd,
        )
        read = answered.audit.response
        theirs = self.ledger.at(read.ledger_version) if read else None
        trap = scoring.trap_event(challenge, read, miner=miner, block=block, theirs=theirs, ours=drawn_from)
        return [event] if trap is None else [event, trap]

    async def judge(
        self, peer: Peer, synapse: OrchestraSynapse, response: SignedResponse, *, replays: int = REPLAYS
    ) -> Answered | None:
        """Audit an answer; once more when it was made with a Ledger that we did not have yet.

        None: the committer of the Ledger cannot be asked whether that version exists, so nothing can be said.
        """
        audit = partial(
            self.auditor.judge,
            peer,
            synapse,
            response,
            ledger=self.ledger,
            sent_ms=self.auditor.sent_ms(response),
            replays=replays,
        )
        answered = await audit()
        if not answered.ahead:
            return answered
        known = await self.catch_up()
        answered = await audit()
        return answered if known or not answered.ahead else None

    def _drawn_from(self, challenge: Challenge) -> LedgerView:
        """The Ledger as the challenge names it: what the miner could know when it was asked."""
        return self.ledger.at(challenge.synapse.ledger_version) or self.ledger.view

    def _canary_says_nothing(self, challenge: Challenge, answered: Answered) -> bool:
        before, now, response = self._drawn_from(challenge), self.ledger.view, answered.audit.response
        return challenge.kind == "canary" and says_nothing(response, before=before, now=now, governed=self.window > 0)

    async def ask(self, peer: Peer, synapse: OrchestraSynapse) -> SignedResponse:
        """Quote, then the challenge: the one way in which synthetic and organic work reaches a miner.

        Raises:
            PeerFailed: no answer, or the miner does not take it.
        """
        quote = await peer.quote(
            QuoteRequest(
                challenge_id=synapse.challenge_id,
                target_schema=synapse.target_schema,
                deadline_ms=synapse.deadline_ms,
                max_cost=synapse.max_cost,
            )
        )
        if not quote.accepts:
            raise PeerFailed("declined", quote.reason)
        return await peer.challenge(synapse)

    async def _audit_ledger(self, challenge: Challenge, miner: str, block: int) -> list[ScoreEvent]:
        """Ask for the miner's view of a few entries. It is held against the version that it names, which may not be
        older than the challenge's: what was committed since then it need not know.
        """
        least = self._drawn_from(challenge)
        if not least.entries:
            return []
        asked = tuple(
            sorted(secrets.SystemRandom().sample(sorted(least.entries), min(AUDITED_ENTRIES, len(least.entries))))
        )
        nonce = "0x" + secrets.token_hex(32)
        views, theirs = None, None
        answer = await self._ledger_view(miner, LedgerAuditRequest(entries=asked, nonce=nonce))
        if answer is not None:
            views, theirs = answer.entries, self.ledger.at(answer.ledger_version)
            if theirs is None and await self.catch_up():
                theirs = self.ledger.at(answer.ledger_version)
        ours = theirs if theirs is not None and theirs.size >= least.size else least
        return [scoring.ledger_audit_event(nonce, views, asked=asked, miner=miner, block=block, ours=ours)]

    async def _ledger_view(self, miner: str, request: LedgerAuditRequest) -> LedgerAuditResponse | None:
        """The signed answer; None when there is none, or none of this miner for this request."""
        peer = self.peer(miner)
        if peer is None:
            return None
        try:
            answer = await peer.ledger_audit(request)
        except PeerFailed as error:
            logger.debug("no Ledger view from %s: %s", miner, error)
            return None
        payload = audit_payload(answer.ledger_version, request.nonce, answer.entries, miner)
        signed = self.verify(miner, payload, bytes.fromhex(answer.signature[2:]))
        return answer if answer.nonce == request.nonce and signed else None

    # scores and weights

    async def scores(self) -> tuple[Score, ...]:
        """Every current miner's score over the window, best first."""
        if self._plan is None:
            return ()
        tempo = self._plan.tempo
        since = tempo.first - (SCORING_WINDOW_TEMPOS - 1) * tempo.length
        events = await self.store.events(since=since)
        scores = [score(miner, events) for miner in self._plan.miners]
        return tuple(sorted(scores, key=lambda each: (-each.total, each.hotkey)))

    async def tempos_since_weights(self) -> int | None:
        """See `weight_beat.tempos_since_weights`; None before the first block was seen."""
        if self._plan is None or self.sight is None:
            return None
        first = self._first_block or self.sight.block.number
        began = tempo_at(first, netuid=self.netuid, tempo=self.sight.members.tempo).index
        return tempos_since_weights(self._plan.tempo.index, last_set=await self.store.last_set(), began=began)

    async def _set_weights(self, plan: TempoPlan, block: int) -> None:
        attempts = [each for each in await self.store.weight_attempts(8) if each.tempo == plan.tempo.index]
        scores = await self.scores()
        verdict = due(
            plan.tempo,
            block,
            attempts=attempts,
            mechanisms=plan.mechanisms,
            scores=scores,
            first_block=self._first_block or block,
        )
        if verdict.now:
            await self.setter.set(plan.tempo, scores, block=block)
