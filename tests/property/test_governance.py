"""Random schedules of a governed network where less than a third of the stake does its worst.

Messages get lost, late and out of order; nodes lag, crash and come back; stakes change with every window. Liars judge
the wrong way round, tell two stories, stall, lead badly, vote for anything and serve forged logs. Whatever the seed:
honest nodes never hold two histories, never sign twice, never accuse each other, name everybody that was caught, and
agree and move on once messages flow again.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ledger.changes import BatchHeader, Bond, Change, change_leaf
from ledger.frontier import Frontier
from ledger.governance.book import settle
from ledger.governance.chain import Vote
from ledger.governance.effects import Effects, Fetch, Send
from ledger.proposals import Proposal, substance
from ledger.statements import (
    Ballot,
    Batch,
    Certificate,
    Finals,
    Judged,
    Message,
    sign_final,
    sign_seal,
    sign_verdict,
)
from tests.builders import entry
from tests.figures import count, record
from tests.governed import (
    RULES,
    SEED,
    Invariants,
    Network,
    Weather,
    metrics_update,
    random_hash,
    schema_update,
)

SCHEDULES = count("governance_schedules", short=300, long=10000)
HONEST_WINDOWS = 5
WAYS = ("wrong", "two_faced", "stalls", "leads_badly", "votes_wildly", "forges")


class Liars:
    """What the liars do to their own effects. Each has some of the ways."""

    def __init__(self, network: Network, ways: dict[str, set[str]], dice: random.Random) -> None:
        self.network, self.ways, self.dice = network, ways, dice
        self.forks: dict[str, list[Change]] = {}
        self.schemes: dict[str, Batch] = {}
        network.tamper = self.tamper
        network.lies = lambda name, truth: truth ^ self.does(name, "wrong")
        network.forged_log = self.forge_log

    def does(self, name: str, way: str) -> bool:
        return way in self.ways.get(name, ())

    def tamper(self, name: str, effects: Effects) -> Effects | None:
        if name not in self.ways:
            return effects
        if self.does(name, "stalls") and self.dice.random() < 0.8:
            return None
        sends: list[Send] = []
        for send in effects.sends:
            sends += self.resend(name, send)
        vote = effects.vote
        if self.does(name, "votes_wildly") and self.dice.random() < 0.2:
            vote = self.any_vote(name)
        return replace(effects, sends=tuple(sends), vote=vote)

    def resend(self, name: str, send: Send) -> list[Send]:
        message = send.message
        if isinstance(message, Ballot) and self.does(name, "two_faced"):
            return [send, *self.to_some(self.turned(name, message))]
        if isinstance(message, Finals) and (self.does(name, "two_faced") or self.does(name, "forges")):
            return [Send(send.to, self.other_finals(name, message)), *([send] if self.dice.random() < 0.5 else [])]
        leads = isinstance(message, Batch) and message.seal.signer == self.network.keys[name].ss58_address
        if isinstance(message, Batch) and leads and self.does(name, "leads_badly"):
            return [Send(send.to, self.dice.choice(self.scheme(name, message)))]
        return [send]

    def to_some(self, message: Message) -> list[Send]:
        addresses = [key.ss58_address for key in self.network.keys.values()]
        return [Send(each, message) for each in self.dice.sample(addresses, len(addresses) // 3)]

    def turned(self, name: str, ballot: Ballot) -> Ballot:
        key = self.network.keys[name]
        judged = [
            Judged(
                proposal=each.proposal,
                verdict=sign_verdict(
                    key,
                    proposal=each.verdict.proposal,
                    anchor=each.verdict.anchor,
                    answer="deny" if each.verdict.answer == "confirm" else "confirm",
                    seen=each.verdict.seen,
                    probed=each.verdict.probed,
                ),
            )
            for each in ballot.judged
        ]
        return Ballot(judged=tuple(judged))

    def other_finals(self, name: str, message: Finals) -> Finals:
        """What is final is a log that the liars made up, and will serve."""
        key, log = self.network.keys[name], self.network.nodes[name].log
        fork = [*log[: self.dice.randint(len(SEED), len(log))], entry("fake", netuid=66)]
        version = Frontier().extended(map(change_leaf, fork)).version
        self.forks[version] = fork
        finals = [sign_final(key, window=each.window, batch=each.batch, version=version) for each in message.finals]
        return Finals(finals=tuple(finals))

    def scheme(self, name: str, batch: Batch) -> list[Batch]:
        """What a bad leader hands out in this window: two batches, or one that is wrong."""
        key = f"{name}/{batch.header.window}"
        if key not in self.schemes:
            make = self.dice.choice([self.shorter, self.unproven, self.miscounted])
            self.schemes[key] = make(name, batch)
        other = self.schemes[key]
        return [other] if self.dice.random() < 0.5 else [other, batch]

    def shorter(self, name: str, batch: Batch) -> Batch:
        return self.sealed(name, batch, batch.certificates[1:] or batch.certificates)

    def miscounted(self, name: str, batch: Batch) -> Batch:
        seal = sign_seal(self.network.keys[name], header=batch.header, version=f"7:{random_hash(self.dice)}")
        return Batch(seal=seal, header=batch.header, certificates=batch.certificates)

    def unproven(self, name: str, batch: Batch) -> Batch:
        """The first proposal the wrong way round, as only liars say."""
        first = batch.certificates[0]
        answer = "deny" if first.answer == "confirm" else "confirm"
        digest, anchor, seen = first.proposal.digest, first.anchor, first.verdicts[0].seen
        verdicts = [
            sign_verdict(self.network.keys[who], proposal=digest, anchor=anchor, answer=answer, seen=seen, probed=seen)
            for who in self.ways
        ]
        changed = {"answer": answer, "verdicts": tuple(sorted(verdicts, key=lambda each: each.signer))}
        return self.sealed(name, batch, (first.model_copy(update=changed), *batch.certificates[1:]))

    def sealed(self, name: str, batch: Batch, certificates: tuple[Certificate, ...]) -> Batch:
        book = self.network.nodes[name].governor.book
        header = batch.header.model_copy(update={"certificates": tuple(each.digest for each in certificates)})
        version = f"7:{random_hash(self.dice)}"
        if book.version == header.parent:
            revealed = self.network.revealed
            _, after = settle(book, header, certificates, RULES, consents=lambda *_: False, revealed=revealed)
            version = after.version
        return Batch(
            seal=sign_seal(self.network.keys[name], header=header, version=version),
            header=header,
            certificates=certificates,
        )

    def any_vote(self, name: str) -> Vote:
        window = RULES.window_of(self.network.height)
        votes = [each.governor.vote for each in self.network.nodes.values() if each.governor.vote]
        known = [each for each in votes if each.window == window]
        return self.dice.choice(known) if known and self.dice.random() < 0.7 else Vote(window, random_hash(self.dice))

    def forge_log(self, name: str, fetch: Fetch, changes: list[Change]) -> list[Change]:
        if not self.does(name, "forges"):
            return changes
        if fetch.version in self.forks:
            return self.forks[fetch.version][fetch.since :]
        return [
            each.model_copy(update={"outcome": "copy"}) if isinstance(each, Bond) else each
            for each in reversed(changes)
        ]


class Schedule:
    """One seed: the cast, the weather, and what happens."""

    def __init__(self, size: int, seed: int) -> None:
        self.dice = random.Random(seed)
        self.names = [f"v{number}" for number in range(size)]
        self.ways = {
            name: set(self.dice.sample(WAYS, self.dice.randint(1, 3)))
            for name in self.names[: self.dice.randint(0, max(1, size // 2))]
        }
        self.honest = [name for name in self.names if name not in self.ways]
        fragile = self.dice.sample(self.honest, min(len(self.honest), 2 + size // 20))
        self.network = Network(self.stakes(), seed=seed, fragile=fragile)
        self.fragile = fragile
        self.away: dict[str, int] = {}
        self.last: Proposal | None = None
        self.truths: dict[str, bool] = {}
        self.size = size
        self.liars = Liars(self.network, self.ways, self.dice)
        self.invariants = Invariants(self.network, set(self.ways))
        self.network.after_effects = self.maybe_crash

    def stakes(self) -> dict[str, int]:
        """Unequal, and of the liars less than a third in all."""
        honest = {name: self.dice.choice([1, 3, 10, 40]) * self.dice.randint(50, 150) for name in self.honest}
        limit = (sum(honest.values()) - 1) // 2
        shares = {name: self.dice.random() for name in self.ways}
        total = sum(shares.values()) or 1.0
        liars = {name: int(limit * share / total * self.dice.choice([1, 1, 0.6])) for name, share in shares.items()}
        return liars | honest

    def run(self) -> None:
        network = self.network
        network.step(RULES.window + self.dice.randint(0, RULES.window))
        network.weather = Weather(self.dice.choice([0, 0.1, 0.3]), self.dice.randint(0, 4), self.dice.randint(0, 3))
        for _ in range(RULES.window * (5 if self.size < 20 else 3)):
            self.one_block()
        self.calm()
        self.invariants.check_agreement()
        self.invariants.check_accusations()
        self.check_truth()

    def one_block(self) -> None:
        network, dice = self.network, self.dice
        if (network.height + 1) % RULES.window == 0 and dice.random() < 0.7:
            network.stakes = self.stakes()
        if dice.random() < 0.08:
            self.propose()
        for name in self.fragile:
            if name in self.away:
                self.away[name] -= 1
                if self.away[name] <= 0:
                    del self.away[name]
                    if dice.random() < 0.2:
                        network.nodes[name].disk = None  # the log is another file
                    network.nodes[name].restart()
            elif dice.random() < 0.01 and network.nodes[name].disk:
                network.nodes[name].crash()
                longest = 70 if len(self.away) == 0 else 15
                self.away[name] = dice.randint(1, longest)
        network.step()

    def maybe_crash(self, name: str, effects: Effects) -> None:
        """The worst moment is right after something was signed."""
        has_signed = effects.vote is not None or any(isinstance(each.message, Batch) for each in effects.sends)
        is_calm = not self.network.weather.lag and not self.network.weather.loss
        if has_signed and name in self.fragile and not is_calm and self.dice.random() < 0.3:
            self.network.nodes[name].crash()
            self.away[name] = self.dice.randint(1, 3)

    def propose(self) -> None:
        network, dice = self.network, self.dice
        miner = dice.choice(["miner-a", "miner-b", "miner-c"])
        proposal = self.anything()
        if self.last is not None and dice.random() < 0.3:
            proposal = self.last
        self.last = proposal
        fresh = {"proposer": network.miners[miner].ss58_address, "salt": random_hash(dice)}
        is_true = self.truths.setdefault(substance(proposal), dice.random() < 0.7)
        sent = proposal.model_copy(update=fresh)
        network.propose(miner, sent, is_true=is_true, reveal_after=dice.randint(1, 10))

    def anything(self) -> Proposal:
        dice, entries = self.dice, self.network.entries()
        entry_id, nobody = dice.choice(["alpha", "beta"]), self.network.miners["miner-a"].ss58_address
        if dice.random() < 0.5:
            return schema_update(nobody, entries, entry_id, f"f{dice.randint(0, 3)}")
        return metrics_update(nobody, entries, entry_id, dice.randint(1, 4) * 100)

    def calm(self) -> None:
        """Everybody is back and messages flow: a new finding is settled once honest leaders have had a few windows.
        Mostly the first settles it; one may be spent on what was left over, or be over before the finding was shown.
        """
        network = self.network
        network.weather = Weather()
        for name in list(self.away):
            network.nodes[name].restart()
        network.step()
        network.stakes = self.stakes()
        while not self.can_vouch():
            network.stakes = self.stakes()
        network.step(3 * RULES.window)
        miner = network.miners["last-miner"].ss58_address
        last = schema_update(miner, network.entries(), "gamma", "last", salt=random_hash(self.dice))
        sent = network.propose("last-miner", last, is_true=True)
        anchor, led = network.height + 1, 0
        while led < HONEST_WINDOWS and not self.outcomes(sent.digest):
            network.step(RULES.window)
            leader = network.nodes[self.honest[0]].governor.leader
            led += leader is not None and network.names[leader] in self.honest
        network.step(3 * RULES.window)  # whoever was behind catches up
        judges = network.committee(sent.digest, anchor)
        if judges.suffices(network.keys[name].ss58_address for name in self.honest):
            assert self.outcomes(sent.digest) == ["accepted"]

    def outcomes(self, digest: str) -> list[str]:
        return [each.outcome for each in self.log() if isinstance(each, Bond) and each.proposal == digest]

    def check_truth(self) -> None:
        """Liars alone never have two thirds of a verdict by stake; of drawn seats once in a great many."""
        for bond in self.log():
            if isinstance(bond, Bond):
                truth = self.network.truths[bond.proposal].is_true
                liars = [self.network.addresses[name] for name in self.ways]
                if not self.network.committee(bond.proposal, bond.anchor).suffices(liars):
                    assert truth is not (bond.outcome == "false")

    def can_vouch(self) -> bool:
        """What is assumed of the weather's end: honest nodes that missed nothing hold more than a third."""
        nodes, stakes = self.network.nodes, self.network.stakes
        sure = sum(stakes[name] for name in self.honest if nodes[name].governor.is_sure)
        return sure * 3 > sum(stakes.values())

    def log(self) -> list[Change]:
        return self.network.nodes[self.honest[0]].log


seeds = st.integers(0, 2**63)


@pytest.mark.soak
@pytest.mark.parametrize(("size", "schedules"), [(7, SCHEDULES * 9 // 10), (40, SCHEDULES // 10)])
def test_honest_nodes_agree_whatever_less_than_a_third_does(size: int, schedules: int) -> None:
    totals = dict.fromkeys(("batches", "bonds", "named"), 0)

    @settings(
        max_examples=schedules,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(seeds)
    def check(seed: int) -> None:
        schedule = Schedule(size, seed)
        schedule.run()
        log = schedule.log()
        totals["batches"] += sum(isinstance(each, BatchHeader) for each in log)
        totals["bonds"] += sum(isinstance(each, Bond) for each in log)
        totals["named"] += len(schedule.network.nodes[schedule.honest[0]].governor.accused)

    check()
    assert totals["batches"] > schedules, "the schedules exercise nothing"
    record(f"governance, {size} validators", schedules=schedules, **totals)
