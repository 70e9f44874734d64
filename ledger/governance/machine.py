"""The state machine of one validator: blocks, messages and probe reports in; messages, votes and changes out.

It never asks for the time and never waits. A vote is read off the chain at one finalised block, so there is no round to
lose and nothing to agree about twice; what this file is careful about is to sign each thing once, also across a restart
(`Effects.persist`), and to keep still when it missed something (`is_sure` is False) until others have told it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.changes import Change
from ledger.entry import Metrics
from ledger.governance.batches import Batches
from ledger.governance.book import Book
from ledger.governance.cases import Cases
from ledger.governance.catchup import CatchUp, Target
from ledger.governance.chain import Block, ChainMemory, Frozen, Vote
from ledger.governance.checking import Checker, Lacking, Refused
from ledger.governance.effects import Effects, Outbox, Probe
from ledger.governance.judging import Observation, Seen
from ledger.governance.progress import WINDOWS_KEPT, Progress
from ledger.governance.rules import Rules
from ledger.governance.witness import Witness
from ledger.proposals import SignedProposal
from ledger.statements import (
    Ballot,
    Batch,
    BatchRequest,
    Equivocation,
    Finals,
    FinalsRequest,
    Judged,
    Message,
)
from ledger.types import Signer, Verify

ASKED_IN_TURN = 5


class Governor:
    """One validator. `book` is that of its log; `dumped` what it kept (`Effects.persist`), None at its first start."""

    def __init__(
        self, signer: Signer, verify: Verify, rules: Rules, book: Book, dumped: Mapping[str, Any] | None = None
    ) -> None:
        self._signer = signer
        self._me = signer.ss58_address
        self._rules = rules
        self.book = book
        self._chain = ChainMemory(rules) if dumped is None else ChainMemory.load(rules, dumped["chain"])
        self._witness = Witness(verify)
        checker = Checker(rules, self._chain, self._witness, verify)
        self._cases = Cases(checker, signer)
        self._batches = Batches(checker)
        self._catchup = CatchUp()
        self._progress = Progress(rules, is_new=book.window < 0)
        self._led = -1
        self.vote: Vote | None = None
        self._out = Outbox()
        if dumped is not None:
            self._load(dumped)

    # what goes in

    def on_block(self, block: Block, *, head: int = -1) -> Effects:
        """A finalised block. They come in order; one that was left out may cost this node its say for a while. A node
        that begins is best given its window from the start: `head` is then the newest block that there is.
        """
        self._out = Outbox()
        is_first = self._chain.last < 0
        if not self._chain.observe(block):
            return self._out.close()
        if is_first:
            self._progress.begin(block.number, head)
        if self._progress.is_new and (frozen := self._chain.newest()) is not None:
            self._progress.meet(has_voted=self._chain.has_voted(self._me, frozen))
        self._progress.read(self._chain)
        self._advance()
        if not self._is_informed():
            self._ask()
        if (frozen := self._frozen_now()) is not None:
            self._lead(frozen)
            self._elect(frozen)
            self._deliver(frozen)
        self._request_unknown()
        self._probe()
        if block.number % self._rules.window == 0:
            self._forget()
        return self._close()

    def on_message(self, message: Message, sender: str) -> Effects:
        """A message from a hotkey that the transport has authenticated."""
        self._out = Outbox()
        frozen = self._chain.newest()
        if frozen is None:
            self._out.refused = "not ready: no window has begun since this node started"
        elif isinstance(message, SignedProposal):
            self._admit(message)
        elif sender not in frozen.stakes:
            self._out.refused = "not a validator"
        else:
            self._take(message, sender)
        return self._close()

    def on_report(self, digest: str, seen: Seen, measured: Metrics | None = None) -> Effects:
        """What a probe saw (`Probe`), by the proposal's digest."""
        self._out = Outbox()
        observation = Observation(self._chain.last, seen, measured)
        self._out.persist |= self._cases.report(digest, observation, self._chain.last)
        return self._close()

    def on_log(self, changes: Sequence[Change]) -> Effects:
        """The leaves that `Fetch` asked for, from whoever: they count if they lead to the version that was named."""
        self._out = Outbox()
        target = self._catchup.target
        if target is None:
            self._out.refused = "nothing was asked for"
        elif len(changes) != target.size - self.book.frontier.size:
            self._out.refused = "not the leaves that were asked for"
        else:
            self._adopt(target, changes)
        return self._close()

    # the chain

    def _advance(self) -> None:
        """Put into effect what is final, window by window."""
        while (found := self._progress.next()) is not None:
            if found.batch is not None and not self._apply(found.batch):
                return
            self._out.persist |= self._progress.conclude(self._signer, found.batch, self.book.version)
            self._catchup.forget(self.decided - 1)

    def _apply(self, digest: str) -> bool:
        """Append a final batch. False when it is not at hand, or does not continue this node's log."""
        batch = self._batches.get(digest)
        if batch is None:
            return False
        try:
            found = self._batches.comes_to(batch, self.book)
        except (Refused, Lacking):
            found = None
        if found is None:
            self._progress.is_sure = False
            return False
        changes, after = found
        self._out.append(self.book.frontier.size, changes)
        self.book = after
        self._progress.is_sure = True  # two thirds of the stake build on what this node had
        self._cases.forget(after, self._chain.last)
        return True

    # the window

    def _frozen_now(self) -> Frozen | None:
        """The set of the current window, while its votes are not read yet and this node may take part."""
        has_say = self._chain.is_open and self._progress.has_say(self._chain.window)
        return self._chain.frozen.get(self._chain.window) if has_say else None

    def _lead(self, frozen: Frozen) -> None:
        """As the leader: seal one batch, as soon as anything is proven."""
        if frozen.leader != self._me or self._led >= frozen.window:
            return
        if self._chain.last < frozen.block + self._rules.gather:
            return
        certificates = self._cases.proven(self.book, frozen.block)
        if not certificates:
            return
        batch = self._batches.make(self._signer, frozen, self.book, certificates)
        self._batches.take(batch, wanted=True)
        self._led = frozen.window
        self._out.persist = True
        self._out.send(frozen.others(self._me), batch)

    def _elect(self, frozen: Frozen) -> None:
        """Vote for the first right batch of the window, once; on chain again while the chain does not show it."""
        if self.vote is None or self.vote.window < frozen.window:
            right = (each for each in self._batches.of_window(frozen.window) if self._batches.is_right(each, self.book))
            batch = next(right, None)
            if batch is None:
                return
            self.vote = self._out.vote = Vote(frozen.window, batch.digest)
            self._out.persist = True
        elif self._chain.is_beat and self._chain.votes.get(self._me) != self.vote:
            self._out.vote = self.vote

    def _deliver(self, frozen: Frozen) -> None:
        """Bring our verdicts to the leader, until there is a batch."""
        if frozen.leader is None or frozen.leader == self._me or not self._chain.is_beat:
            return
        if self._batches.of_window(frozen.window):
            return
        judged = tuple(
            Judged(proposal=case.sent, verdict=case.mine)
            for case in self._cases.judged(frozen.block)
            if case.mine is not None
        )
        if judged:
            self._out.send([frozen.leader], Ballot(judged=judged))

    def _request_unknown(self) -> None:
        """Ask for batches that this node does not have and needs: what is final, and what the leader or more than a
        third of the stake vote for. Anybody can vote for a batch that nobody has.
        """
        wanted = self._progress.wanted()
        frozen = self._chain.frozen.get(self._chain.window)
        if frozen is not None and self._chain.is_open:
            for digest, voters in self._chain.voters(frozen.window).items():
                if frozen.leader in voters or frozen.backs(voters):
                    wanted[digest] = tuple(voters)
        for digest, voters in wanted.items():
            peers = [each for each in voters if each != self._me]
            if peers and self._batches.get(digest) is None:
                self._out.send([peers[self._chain.last % len(peers)]], BatchRequest(batch=digest))

    def _probe(self) -> None:
        if self.is_sure:
            signed = self._cases.signed
            for case in self._cases.due(self.book, self._chain.last):
                self._out.probes.append(Probe(case.sent, len(case.observed)))
            self._out.persist |= signed != self._cases.signed

    # messages

    def _admit(self, sent: SignedProposal) -> None:
        try:
            self._cases.admit(sent, self.book, self._chain.last)
        except (Refused, Lacking) as error:
            self._out.refused = str(error)

    def _take(self, message: Message, sender: str) -> None:
        if isinstance(message, Ballot):
            self._take_ballot(message, sender)
        elif isinstance(message, Batch):
            self._take_batch(message)
        elif isinstance(message, BatchRequest):
            batch = self._batches.get(message.batch)
            if batch is not None:
                self._out.send([sender], batch)
        elif isinstance(message, FinalsRequest):
            finals = tuple(each for window, each in sorted(self._progress.finals.items()) if window >= message.since)
            self._out.send([sender], Finals(finals=finals[-WINDOWS_KEPT:]))
        elif isinstance(message, Finals):
            self._take_finals(message, sender)
        elif isinstance(message, Equivocation):
            self._take_accusation(message)

    def _take_ballot(self, ballot: Ballot, sender: str) -> None:
        for judged in ballot.judged:
            if judged.verdict.signer != sender or not self._witness.saw(judged.verdict):
                self._out.refused = "a verdict that its sender did not sign"
                continue
            try:
                case = self._cases.admit(judged.proposal, self.book, self._chain.last)
            except (Refused, Lacking):
                continue
            self._cases.hear(case, judged.verdict)

    def _take_batch(self, batch: Batch) -> None:
        if batch.seal.signer in self.validators:
            self._witness.saw(batch.seal)
        frozen = self._chain.frozen.get(batch.header.window)
        voters = self._chain.voters(batch.header.window).get(batch.digest, [])
        wanted = batch.digest in self._progress.wanted() or (frozen is not None and frozen.backs(voters))
        try:
            if batch.header.window <= self.decided:
                raise Refused("that window is decided")
            is_new = self._batches.take(batch, wanted=wanted)
        except Refused as error:
            self._out.refused = str(error)
            return
        if is_new:
            self._advance()
            if (now := self._frozen_now()) is not None:
                self._elect(now)

    def _take_finals(self, message: Finals, sender: str) -> None:
        for final in message.finals:
            if final.signer != sender or not self._chain.window - WINDOWS_KEPT <= final.window <= self._chain.window:
                continue
            if self._witness.saw(final) and final.window >= self.decided and not self._is_informed():
                self._catchup.hear(final)
        self._aim()

    def _take_accusation(self, proof: Equivocation) -> None:
        if proof.culprit in self._witness.accused:
            return
        if proof.culprit not in self.validators or not self._witness.heard(proof):
            self._out.refused = "this proves nothing"

    @property
    def validators(self) -> Mapping[str, int]:
        """Stakes of the validators, as last read."""
        frozen = self._chain.newest()
        return frozen.stakes if frozen else {}

    # catching up

    def _is_informed(self) -> bool:
        """Nothing to learn from others: sure, and not in the first window after an empty start."""
        return self.is_sure and not self._progress.is_quiet(self._chain.window) and self._catchup.target is None

    def _ask(self) -> None:
        """Go by what this node read off the chain itself, and ask the others, a fifth at a time."""
        for window, digest, voters in self._progress.final_batches():
            batch = self._batches.get(digest)
            if batch is not None:
                self._head_for(Target(window, batch.seal.version, tuple(each for each in voters if each != self._me)))
                break
        frozen = self._chain.newest()
        if frozen is None or not self._chain.is_beat:
            return
        turn = self._chain.last // self._rules.resend % ASKED_IN_TURN
        self._out.send(frozen.others(self._me)[turn::ASKED_IN_TURN], FinalsRequest(since=max(0, self.decided)))
        self._out.fetch = self._catchup.fetch(self.book.frontier.size)

    def _aim(self) -> None:
        """Do enough of the others say the same?"""
        frozen = self._chain.newest()
        target = None if frozen is None or self._is_informed() else self._catchup.agreed(frozen)
        if target is not None:
            self._head_for(target)

    def _head_for(self, target: Target) -> None:
        """Get to what is known to be final, unless this node is there or further."""
        known = self._catchup.target
        if target.window < self.decided or (known is not None and target.window < known.window):
            return
        if target.version == self.book.version:
            self._arrive(target)
        elif target != self._catchup.target:
            self._catchup.target = target
            self._progress.is_sure = False
            self._out.persist = True
            self._out.fetch = self._catchup.fetch(self.book.frontier.size)

    def _adopt(self, target: Target, changes: Sequence[Change]) -> None:
        after = self.book.copy()
        after.extend(changes)
        if after.version != target.version:
            self._out.refused = "these leaves do not lead from this node's log to the version that is final"
            return
        self._out.append(self.book.frontier.size, changes)
        self.book = after
        self._arrive(target)

    def _arrive(self, target: Target) -> None:
        """This node now holds what is final after the target's window."""
        self._catchup.target = None
        self._progress.arrive(target.window)
        self._catchup.forget(self.decided - 1)
        self._cases.forget(self.book, self._chain.last)
        self._out.persist = True
        self._advance()

    @property
    def has_diverged(self) -> bool:
        """The network agrees on a log that this node's is no beginning of: start again from a checkpoint."""
        return self._catchup.has_diverged(self.book.frontier.size)

    # memory

    def _close(self) -> Effects:
        for proof, is_ours in self._witness.news():
            self._out.accused.append(proof)
            self._out.persist = True
            frozen = self._chain.newest()
            if is_ours and frozen is not None:
                self._out.send(frozen.others(self._me), proof)
        return self._out.close()

    def _forget(self) -> None:
        self._cases.forget(self.book, self._chain.last)
        self._batches.forget(min(self.decided, self._chain.window) - WINDOWS_KEPT)
        self._progress.forget(self._chain.window)

    @property
    def decided(self) -> int:
        """The last window whose outcome is in the book."""
        return self._progress.decided

    @property
    def is_sure(self) -> bool:
        """Is this node's log what the network agrees on? While not, it does not judge, lead or vote."""
        return self._progress.is_sure

    @property
    def last_block(self) -> int:
        """The newest finalised block that was taken in; -1 before the first."""
        return self._chain.last

    @property
    def leader(self) -> str | None:
        """Who leads the current window, as far as this node can tell."""
        frozen = self._chain.frozen.get(self._chain.window)
        return frozen.leader if frozen else None

    @property
    def accused(self) -> Mapping[str, Equivocation]:
        """A proof for every validator that was seen to sign two things where it may sign one."""
        return self._witness.accused

    def dump(self) -> dict[str, Any]:
        """All that must outlive a restart, as JSON values. The log itself is kept elsewhere."""
        return {
            "chain": self._chain.dump(),
            "cases": self._cases.dump(),
            "batches": self._batches.dump(),
            "progress": self._progress.dump(),
            "accused": [each.model_dump(mode="json") for each in self._witness.accused.values()],
            "led": self._led,
            "vote": list(self.vote) if self.vote else None,
            "version": self.book.version,
        }

    def _load(self, dumped: Mapping[str, Any]) -> None:
        self._cases.load(dumped["cases"])
        self._batches.load(dumped["batches"])
        version = dumped["version"]  # a batch that was appended just before the end makes the log longer than that
        is_there = self.book.version == version or self.book.frontier.size > int(version.partition(":")[0])
        self._progress.load(dumped["progress"], book_window=self.book.window, is_there=is_there)
        proofs = [Equivocation.model_validate(each) for each in dumped["accused"]]
        self._witness.accused = {each.culprit: each for each in proofs}
        self._led = dumped["led"]
        self.vote = Vote(*dumped["vote"]) if dumped["vote"] else None
