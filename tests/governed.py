"""A governed network in virtual time: a chain that is a dictionary, validators that are `Governor`s, and any weather.

Signatures are keyed hashes here, so that ten thousand schedules are a matter of minutes; tests that are about
signatures use real ones. Everything random comes from one seed.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ledger.applying import base_of
from ledger.canonical import inclusion_proof, merkle_root, sha256
from ledger.changes import BatchHeader, Change, change_leaf
from ledger.entry import Metrics, SubnetEntry
from ledger.governance.book import Book
from ledger.governance.chain import Block, Member, Vote, envelope
from ledger.governance.committee import Committee, committee
from ledger.governance.effects import Effects, Fetch
from ledger.governance.machine import Governor
from ledger.governance.rules import Rules
from ledger.proposals import (
    Anchor,
    Deprecation,
    MetricsUpdate,
    Proposal,
    SchemaUpdate,
    SignedProposal,
    proposal_leaf,
    proposal_payload,
    sign,
    sponsor_payload,
)
from ledger.statements import Ballot, Batch, Certificate, Final, Finals, Message, Seal, Verdict
from ledger.types import Signer, Verify
from tests.builders import entry

RULES = Rules(window=20, final_at=12, gather=2, resend=2, tempo=20, expiry=120, consent=400, false_within=400)
SEED = (entry("alpha", netuid=1), entry("beta", netuid=2), entry("gamma", netuid=3))
NOTHING = Effects()
STATE_KEPT = 40
"""Blocks whose state the chain still has: a node that was away for longer cannot read them again."""

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Key:
    """Signs with a keyed hash: whoever knows the address can check, and in these tests nobody forges one."""

    def __init__(self, name: str) -> None:
        self.name = name
        raw = hashlib.sha256(name.encode()).digest()
        self.ss58_address = (
            "5"
            + "".join(_ALPHABET[byte % 58] for byte in raw)[:31]
            + "".join(_ALPHABET[byte % 58] for byte in hashlib.sha256(raw).digest())[:16]
        )

    def sign(self, data: bytes, /) -> bytes:
        return _keyed(self.ss58_address, data)


def _keyed(address: str, data: bytes) -> bytes:
    return hashlib.blake2b(data, key=address.encode()).digest()


def fast_verify(hotkey: str, data: bytes, signature: bytes, /) -> bool:
    return _keyed(hotkey, data) == signature


# Proposals


def random_hash(dice: random.Random) -> str:
    return "0x" + dice.randbytes(32).hex()


def metrics_update(
    proposer: str, entries: Mapping[str, SubnetEntry], entry_id: str, latency: int, *, salt: str = "0x" + "00" * 32
) -> MetricsUpdate:
    made = MetricsUpdate(
        proposer=proposer,
        entry=entry_id,
        operation="web_search",
        base="0x" + "00" * 32,
        metrics=Metrics(latency_ms=latency, latency_p95_ms=2 * latency, reliability_permille=990),
        sample=20,
        salt=salt,
    )
    return made.model_copy(update={"base": base_of(entries[entry_id], made)})


def schema_update(
    proposer: str, entries: Mapping[str, SubnetEntry], entry_id: str, field_name: str, *, salt: str = "0x" + "00" * 32
) -> SchemaUpdate:
    schema = {"type": "object", "required": [field_name]}
    made = SchemaUpdate(
        proposer=proposer,
        entry=entry_id,
        operation="web_search",
        base="0x" + "00" * 32,
        output_schema=schema,
        salt=salt,
    )
    return made.model_copy(update={"base": base_of(entries[entry_id], made)})


def deprecation(
    proposer: str, entries: Mapping[str, SubnetEntry], entry_id: str, *, salt: str = "0x" + "00" * 32
) -> Deprecation:
    made = Deprecation(proposer=proposer, entry=entry_id, base="0x" + "00" * 32, salt=salt)
    return made.model_copy(update={"base": base_of(entries[entry_id], made)})


def send_off(
    proposal: Proposal, signer: Signer, *, before: Iterable[str] = (), sponsor: Signer | None = None
) -> SignedProposal:
    """Sign a proposal and put it into a log of its own, behind the leaves that are there."""
    payload = proposal_payload(proposal)
    digest = sha256(payload)
    leaves = [*before, proposal_leaf(digest)]
    anchor = Anchor(
        hotkey=(sponsor or signer).ss58_address,
        size=len(leaves),
        root=merkle_root(leaves),
        index=len(leaves) - 1,
        path=inclusion_proof(leaves, len(leaves) - 1),
    )
    vouched = sign(sponsor, sponsor_payload(digest, sponsor.ss58_address)) if sponsor else ""
    return SignedProposal(proposal=proposal, signature=sign(signer, payload), anchor=anchor, sponsor_signature=vouched)


# The network


@dataclass
class Weather:
    """What happens to messages and nodes. `delay` and `lag` are the most blocks that a message and a node take."""

    loss: float = 0.0
    delay: int = 0
    lag: int = 0


@dataclass
class Truth:
    """A proposal as its author made it: when it is revealed, and whether it is so."""

    sent: SignedProposal
    is_true: bool
    reveal: int = 0


class Node:
    """One validator with its disk: a log and the last dump."""

    def __init__(self, key: Signer, network: Network) -> None:
        self.key, self.network = key, network
        self.log: list[Change] = list(SEED)
        self.disk: dict[str, Any] | None = None
        self.up = True
        self.next_block = 0
        self.governor = self._start()
        self.heard: dict[tuple[str, str, str], set[str]] = {}

    def _start(self) -> Governor:
        book = self.network.seed_book.copy() if len(self.log) == len(SEED) else Book.of(self.network.rules, self.log)
        return Governor(self.key, self.network.verify, self.network.rules, book, self.disk)

    @property
    def address(self) -> str:
        return self.key.ss58_address

    def crash(self) -> None:
        self.up = False

    def restart(self) -> None:
        """Back with what is on the disk; blocks that the chain has forgotten are left out."""
        self.up = True
        self.disk = json.loads(json.dumps(self.disk))
        self.governor = self._start()
        self.heard = {}
        resumed = self.disk["chain"]["last"] + 1 if self.disk else len(self.network.blocks) - 1
        self.next_block = max(resumed, len(self.network.blocks) - STATE_KEPT)


class Network:
    """Validators by name, one chain, and messages under way. `step` is one block."""

    def __init__(
        self,
        stakes: Mapping[str, int],
        *,
        seed: int,
        rules: Rules = RULES,
        fragile: Iterable[str] = (),
        key: Callable[[str], Signer] = Key,
        verify: Verify = fast_verify,
    ) -> None:
        self.verify = verify
        self.dice = random.Random(seed)
        self.rules = rules
        self.seed_book = Book.of(rules, SEED)
        self.weather = Weather()
        self.stakes = dict(stakes)
        self.blocks: list[Block] = []
        self.slots: dict[str, str] = {}
        self.miners = {name: key(name) for name in ("miner-a", "miner-b", "miner-c", "last-miner")}
        self.keys = {name: key(name) for name in stakes}
        self.addresses = {name: each.ss58_address for name, each in (self.keys | self.miners).items()}
        self.names = {address: name for name, address in self.addresses.items()}
        self.owners: dict[int, str] = {}
        self.outsiders: dict[str, Signer] = {}
        self.fragile = set(fragile)
        self.nodes = {name: Node(each, self) for name, each in self.keys.items()}
        self.truths: dict[str, Truth] = {}
        self.mail: dict[int, list[tuple[str, str, Message]]] = defaultdict(list)
        self.landing: dict[int, list[tuple[str, str]]] = defaultdict(list)
        self.leaves: dict[str, list[str]] = defaultdict(list)
        self.tamper: Callable[[str, Effects], Effects | None] = lambda _name, effects: effects
        self.forged_log: Callable[[str, Fetch, list[Change]], list[Change]] = lambda _name, _fetch, changes: changes
        self.lies: Callable[[str, bool], bool] = lambda _name, truth: truth
        self.after_effects: Callable[[str, Effects], None] = lambda _name, _effects: None
        self.on_effects: Callable[[str, Effects], None] = lambda _name, _effects: None
        self.on_delivery: Callable[[str, str, Message], None] = lambda _to, _sender, _message: None

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    def entries(self) -> Mapping[str, SubnetEntry]:
        """As the furthest node has them."""
        return max((node.governor.book for node in self.nodes.values()), key=lambda book: book.frontier.size).entries

    def committee(self, digest: str, anchor: int) -> Committee:
        """Who judges a proposal, by the chain."""
        members = self.blocks[RULES.start(RULES.window_of(anchor))].members or ()
        stakes = {each.hotkey: each.stake for each in members if each.permit}
        return committee(stakes, beacon=self.blocks[anchor + 1].hash, proposal=digest, rules=self.rules)

    def revealed(self, certificate: Certificate) -> int:
        """As the rules have it; what the verdicts say where they are too few for that."""
        seen = {each.signer: each.seen for each in certificate.verdicts}
        found = self.committee(certificate.proposal.digest, certificate.anchor)
        return found.revealed(seen) if found.weight(seen) * 3 > found.total else min(seen.values())

    # proposers

    def outsider(self, name: str) -> None:
        """Somebody with a key who is not registered."""
        self.outsiders[name] = key = Key(name)
        self.addresses[name] = key.ss58_address
        self.names[key.ss58_address] = name

    def propose(
        self, miner: str, proposal: Proposal, *, is_true: bool, reveal_after: int = 1, sponsor: str = ""
    ) -> SignedProposal:
        """Anchor now (it stands in the next block), reveal some blocks later."""
        key = (self.miners | self.outsiders)[miner]
        sent = send_off(
            proposal, key, before=self.leaves[sponsor or miner], sponsor=self.keys[sponsor] if sponsor else None
        )
        self.leaves[sponsor or miner].append(proposal_leaf(sent.digest))
        self.slots[sent.anchor.hotkey] = envelope(sent.anchor.size, sent.anchor.root)
        self.truths[sent.digest] = Truth(sent, is_true, self.height + 1 + reveal_after)
        return sent

    def _reveal(self) -> None:
        """Every proposer shows its proposal to everybody, seven times."""
        for truth in self.truths.values():
            since = self.height - truth.reveal
            if 0 <= since <= 30 and since % 5 == 0:
                for name in self.nodes:
                    self.post(self.names[truth.sent.proposal.proposer], name, truth.sent)

    # a block

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self._mint()
            self._reveal()
            for name, node in self.nodes.items():
                if node.up:
                    self._feed(name, node)
            mail = self.mail.pop(self.height, [])
            self.dice.shuffle(mail)
            for sender, to, message in mail:
                node = self.nodes[to]
                if node.up:
                    self.on_delivery(to, sender, message)
                    self.handle(to, node.governor.on_message(message, self.addresses[sender]))

    def _mint(self) -> None:
        number = len(self.blocks)
        for address, text in self.landing.pop(number, []):
            self.slots[address] = text
        is_first = number % self.rules.window == 0
        members = tuple(
            Member(self.keys[name].ss58_address, f"cold-{name}", stake, stake > 0)
            for name, stake in self.stakes.items()
        ) + tuple(Member(key.ss58_address, f"cold-{name}", 0, False) for name, key in self.miners.items())
        hash_ = sha256(f"{self.dice.random()}".encode())
        self.blocks.append(Block(number, hash_, dict(self.slots), members if is_first else None, dict(self.owners)))

    def _feed(self, name: str, node: Node) -> None:
        upto = len(self.blocks) - (self.dice.randint(0, self.weather.lag) if self.weather.lag else 0)
        while node.up and node.next_block < upto:
            block = self.blocks[node.next_block]
            node.next_block += 1
            self.handle(name, node.governor.on_block(block))

    # what nodes do

    def handle(self, name: str, effects: Effects) -> None:
        if effects == NOTHING:
            return
        node = self.nodes[name]
        if effects.changes:
            assert effects.onto == len(node.log)
            node.log += effects.changes
        if effects.persist and name in self.fragile:
            node.disk = node.governor.dump()
        tampered = self.tamper(name, effects)
        self.on_effects(name, effects)
        if tampered is None:
            return
        if tampered.vote is not None:
            self.commit(name, tampered.vote)
        for send in tampered.sends:
            self.post(name, self.names[send.to], send.message)
        for probe in tampered.probes:
            self._probe(name, probe.sent)
        if tampered.fetch is not None:
            self._serve(name, tampered.fetch)
        self.after_effects(name, effects)

    def commit(self, name: str, vote: Vote) -> None:
        """A vote lands some blocks later, if it does; the machine commits again what the chain does not show."""
        if self.dice.random() >= self.weather.loss:
            lands = self.height + 1 + self.dice.randint(0, self.weather.delay)
            self.landing[lands].append((self.keys[name].ss58_address, envelope(1, "0x" + "00" * 32, vote)))

    def post(self, sender: str, to: str, message: Message) -> None:
        if self.dice.random() >= self.weather.loss:
            arrives = self.height + (self.dice.randint(0, self.weather.delay) if self.weather.delay else 0)
            self.mail[max(arrives, self.height + 1)].append((sender, to, message))

    def _probe(self, name: str, sent: SignedProposal) -> None:
        if self.weather.loss and self.dice.random() < self.weather.loss:
            return
        node, proposal = self.nodes[name], sent.proposal
        holds = self.lies(name, self.truths[sent.digest].is_true)
        if isinstance(proposal, MetricsUpdate):
            slower = proposal.metrics.latency_ms * 10 + 1000
            wrong = proposal.metrics.model_copy(update={"latency_ms": slower, "latency_p95_ms": 2 * slower})
            self.handle(name, node.governor.on_report(sent.digest, "holds", proposal.metrics if holds else wrong))
        else:
            self.handle(name, node.governor.on_report(sent.digest, "holds" if holds else "differs"))

    def _serve(self, name: str, fetch: Fetch) -> None:
        size = int(fetch.version.partition(":")[0])
        asked = self.names[self.dice.choice(fetch.peers)]
        peer = asked if self.dice.random() < 0.7 else self.dice.choice(list(self.nodes))
        log = self.nodes[peer].log
        if self.dice.random() >= self.weather.loss and self.nodes[peer].up:
            leaves = self.forged_log(peer, fetch, log[fetch.since : size])
            self.handle(name, self.nodes[name].governor.on_log(leaves))


# What must hold, whatever happens


@dataclass
class Invariants:
    """Watches honest nodes: one history, nothing signed twice, every caught equivocator named and nobody else."""

    network: Network
    liars: set[str]
    versions: dict[int, str] = field(default_factory=dict[int, str])
    batches: dict[int, str] = field(default_factory=dict[int, str])
    signed: dict[tuple[str, str, str], str] = field(default_factory=dict[tuple[str, str, str], str])

    def __post_init__(self) -> None:
        self.network.on_effects = self.effects
        self.network.on_delivery = self.delivery

    def effects(self, name: str, effects: Effects) -> None:
        if name in self.liars:
            return
        node = self.network.nodes[name]
        if effects.changes:
            book = node.governor.book
            assert self.versions.setdefault(book.frontier.size, book.version) == book.version
            for change in effects.changes:
                if isinstance(change, BatchHeader):
                    leaf = change_leaf(change)
                    assert self.batches.setdefault(change.window, leaf) == leaf, "two final batches for a window"
        if effects.vote is not None:
            slot = ("vote", name, str(effects.vote.window))
            assert effects.persist or slot in self.signed, "a vote that was not written down first"
            assert self.signed.setdefault(slot, effects.vote.batch) == effects.vote.batch
        for send in effects.sends:
            for statement in statements(send.message):
                if statement.signer == node.address:
                    is_new = isinstance(statement, Seal) and statement.slot not in self.signed
                    assert effects.persist or not is_new, "a seal that was not written down first"
                    assert self.signed.setdefault(statement.slot, statement.digest) == statement.digest

    def delivery(self, to: str, sender: str, message: Message) -> None:
        node = self.network.nodes[to]
        frozen = node.governor.validators
        address = self.network.addresses[sender]
        if to in self.liars or address not in frozen:
            return
        for statement in statements(message):
            if isinstance(statement, Seal) or statement.signer == address:
                node.heard.setdefault(statement.slot, set()).add(statement.digest)

    def check_accusations(self) -> None:
        for name, node in self.network.nodes.items():
            if name in self.liars or not node.up:
                continue
            for slot, digests in node.heard.items():
                assert len(digests) == 1 or slot[1] in node.governor.accused, f"{name} did not name {slot}"
            for culprit, proof in node.governor.accused.items():
                assert self.network.names[culprit] in self.liars, "an honest node is accused"
                assert proof.culprit == culprit
                assert proof.is_proven(fast_verify)

    def check_agreement(self) -> None:
        honest = [node.governor for name, node in self.network.nodes.items() if name not in self.liars]
        assert len({each.book.version for each in honest}) == 1
        assert all(each.is_sure for each in honest)


def statements(message: Message) -> list[Verdict | Seal | Final]:
    """What of a message is signed by validators and looked at on arrival."""
    if isinstance(message, Ballot):
        return [judged.verdict for judged in message.judged]
    if isinstance(message, Batch):
        return [message.seal]
    return list(message.finals) if isinstance(message, Finals) else []
