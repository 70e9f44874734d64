"""What stands behind the front door: the pipeline alone over a real subnet, and a network of scripted miners."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from bittensor.keyfiles import Keypair

from ledger.canonical import sha256
from ledger.view import LedgerView
from orchestra.chain.types import BlockRef, Metagraph, Neuron
from orchestra.chain.watch import Sight
from orchestra.gateway.backend import LocalBackend, NobodyAnswered
from orchestra.gateway.messages import ObjectiveRequest, ObjectiveResult, Progress
from orchestra.gateway.network import PATIENCE_S, NetworkBackend, verification
from orchestra.peers import Peer, PeerFailed
from orchestra.proofs import Audit, Code, Finding
from orchestra.protocol import OrchestraSynapse
from orchestra.transport import SignedResponse
from orchestra.validation.components import COMPONENTS, Score, ScoreEvent, score
from orchestra.validation.scoring import Answered
from orchestra.validation.validator import Validator
from tests.alone import backend_alone
from tests.fakes.caller import Reply
from tests.fakes.clock import EPOCH, VirtualClock
from tests.fakes.ledgers import ledger_with
from tests.fakes.orchestras import orchestrator

PRICES = ObjectiveRequest(
    objective="Compare RunPod and Lambda on A100 price", target_schema={"offers": [{"name": "str", "price": "float"}]}
)
VALIDATOR = Keypair.create_from_uri("//Validator")
MIN_STAKE = 1000


# alone ---------------------------------------------------------------------------------------------------------------


async def test_alone_it_answers_from_what_the_subnet_says() -> None:
    heard: list[Progress] = []
    async with backend_alone() as backend:
        answer = await backend.answer(PRICES, heard.append)
        described = await backend.status()
    offers = {each["name"]: each["price"] for each in answer.result["offers"]}
    assert offers == {"RunPod": 1.99, "Lambda": 1.89}
    assert (answer.status, answer.gaps, answer.verification.verdict) == ("complete", (), "not audited")
    called = [step for step in answer.pipeline if step["subnet"] != "local"]
    assert len(heard) == len(called), "every call is told"
    assert all(each.stage == "step" and "SN22" in each.message and each.message.endswith("done") for each in heard)
    assert int(answer.cost_rao) == sum(int(step["cost"]) for step in answer.pipeline) > 0
    assert answer.ledger_version == described["ledger_version"]
    assert "web_search" in described["capabilities"]
    assert set(answer.provenance) >= {"/offers/0/name", "/offers/0/price"}


async def test_alone_it_names_what_no_subnet_can_do() -> None:
    request = ObjectiveRequest(objective="Draw a logo for RunPod", target_schema={"logo": {"image_url": "url"}})
    async with backend_alone() as backend:
        answer = await backend.answer(request, lambda _: None)
    assert (answer.status, answer.result) == ("partial", {})
    assert any("image" in gap["capability"] for gap in answer.gaps)


async def test_a_call_that_fails_is_told_with_its_reason() -> None:
    heard: list[Progress] = []
    parts = orchestrator(("web_search",), {"local/web_search": [Reply(error="auth")]})
    answer = await LocalBackend(parts, VALIDATOR).answer(PRICES, heard.append)
    assert heard
    assert all("failed (auth)" in each.message for each in heard)
    assert answer.status == "partial"
    assert all(step["error"]["kind"] == "auth" for step in answer.pipeline)


async def test_no_two_answers_share_an_id() -> None:
    backend = LocalBackend(orchestrator(), VALIDATOR)
    answers = [await backend.answer(PRICES, lambda _: None) for _ in range(3)]
    assert len({answer.id for answer in answers}) == 3


# through a network ---------------------------------------------------------------------------------------------------


def neuron(uid: int, hotkey: str, *, permit: bool = False) -> Neuron:
    return Neuron(
        uid=uid,
        hotkey=hotkey,
        coldkey="5Cold",
        permit=permit,
        stake_rao=MIN_STAKE if permit else 0,
        axon=f"192.0.2.{uid}:8091",
        commitment=None,
        incentive=0.5,
        dividends=0.0,
        emission_rao=7,
        vtrust=0.0,
        last_update=3,
        registered_at=1,
        collateral_rao=None,
    )


@dataclass
class Miner:
    """A scripted miner: what it does when asked, and what the audit of its answer finds."""

    name: str
    refuses: str = ""
    findings: tuple[Finding, ...] = ()
    unreadable: bool = False
    unknown_ledger: bool = False
    asked: list[OrchestraSynapse] = field(default_factory=list[OrchestraSynapse])
    replays: list[int] = field(default_factory=list[int])


class Attempts:
    async def weight_attempts(self) -> list[Any]:
        return []


class Network:
    """As much of a `Validator` as the gateway uses; asking a miner nobody scripted fails the test."""

    def __init__(
        self,
        *miners: Miner,
        scored: Iterable[str] = (),
        refuted: Iterable[str] = (),
        unproven: Iterable[str] = (),
        sees: bool = True,
    ) -> None:
        self.miners = {miner.name: miner for miner in miners}
        self._scored, self._refuted, self._unproven = tuple(scored), set(refuted), set(unproven)
        rows = [neuron(0, VALIDATOR.ss58_address, permit=True)]
        rows += [neuron(uid, name) for uid, name in enumerate(self.miners, 1)]
        block = BlockRef(77, "0x" + "77" * 32)
        self.sight = Sight(Metagraph(2, block, 10, tuple(rows)), 0.0) if sees else None
        self.min_stake_rao = MIN_STAKE
        self.signer, self.store, self.current_tempo = VALIDATOR, Attempts(), None
        self.view = ledger_with(("web_search",))
        self.since: int | None = 1

    @property
    def ledger(self) -> Network:
        return self

    async def scores(self) -> tuple[Score, ...]:
        return tuple(self._score(name) for name in self._scored)

    def _score(self, name: str) -> Score:
        values = dict.fromkeys(COMPONENTS, 1.0)
        if name in self._unproven:
            values["hash_verification"] = 0.0
        return score(name, [ScoreEvent("e", name, "challenge", 1, values, name in self._refuted)])

    async def tempos_since_weights(self) -> int | None:
        return self.since

    def peer(self, hotkey: str) -> Peer | None:
        return Peer(hotkey, "http://192.0.2.1:1", cast("Any", None)) if hotkey in self.miners else None

    async def ask(self, peer: Peer, synapse: OrchestraSynapse) -> SignedResponse:
        miner = self.miners[peer.hotkey]
        miner.asked.append(synapse)
        if miner.refuses:
            raise PeerFailed("declined", miner.refuses)
        return SignedResponse(200, b"", {}, "0x" + "00" * 32, 120)

    async def judge(self, peer: Peer, synapse: OrchestraSynapse, _: SignedResponse, *, replays: int) -> Answered | None:
        miner = self.miners[peer.hotkey]
        miner.replays.append(replays)
        if miner.unknown_ledger:
            return None
        signer = Keypair.create_from_uri(f"//{miner.name}")
        response, _, _ = await orchestrator(
            view=cast("LedgerView", self.view), script={"local/web_search": [Reply({"results": []})]}
        ).answer(synapse, request_digest=sha256(b""), validator=VALIDATOR.ss58_address, signer=signer)
        read = None if miner.unreadable else response
        audit = Audit(
            synapse.challenge_id, miner.name, VALIDATOR.ss58_address, sha256(b""), miner.findings, response=read
        )
        return Answered(audit, 120)


async def through(network: Network, **changes: Any) -> tuple[ObjectiveResult, list[Progress]]:
    heard: list[Progress] = []
    clock = VirtualClock()
    backend = NetworkBackend(cast("Validator", network), clock, clock.sleep)
    request = PRICES.model_copy(update=changes)
    return await backend.answer(request, heard.append), heard


async def nobody(network: Network) -> str:
    with pytest.raises(NobodyAnswered) as caught:
        await through(network)
    return str(caught.value)


async def test_the_best_miner_is_asked_and_nobody_else() -> None:
    best, second = Miner("5Best"), Miner("5Second")
    answer, heard = await through(Network(second, best, scored=("5Best", "5Second")))
    assert (len(best.asked), len(second.asked)) == (1, 0)
    assert [each.stage for each in heard] == ["asking", "answered", "auditing"]
    synapse = best.asked[0]
    assert (synapse.objective, synapse.issued_block, synapse.beacon) == (PRICES.objective, 77, "0x" + "77" * 32)
    assert (synapse.max_cost, synapse.deadline_ms) == (10_000_000, PRICES.deadline_ms)
    assert answer.id == synapse.challenge_id
    assert answer.latency_ms == 120


@pytest.mark.parametrize(
    "bad",
    [
        Miner("5Best", refuses="busy"),
        Miner("5Best", unreadable=True),
        Miner("5Best", unknown_ledger=True),
        Miner("5Best", findings=(Finding(Code.LEAF_MISMATCH, 1),)),
        Miner("5Best", findings=(Finding(Code.LEDGER_VERSION_AHEAD),)),
    ],
)
async def test_the_runner_up_is_asked_when_the_best_gave_nothing(bad: Miner) -> None:
    second, third = Miner("5Second"), Miner("5Third")
    answer, _ = await through(Network(bad, second, third, scored=("5Best", "5Second", "5Third")))
    assert answer.miner == Keypair.create_from_uri("//5Second").ss58_address
    assert (len(second.asked), len(third.asked)) == (1, 0)
    assert second.asked[0].challenge_id != bad.asked[0].challenge_id, "every miner gets a challenge of its own"


async def test_a_third_is_never_asked() -> None:
    miners = [Miner(name, refuses="busy") for name in ("5A", "5B", "5C")]
    said = await nobody(Network(*miners, scored=("5A", "5B", "5C")))
    assert [len(miner.asked) for miner in miners] == [1, 1, 0]
    assert "5A: declined: busy; 5B: declined: busy" in said


async def test_a_refuted_miner_is_not_asked() -> None:
    forger, honest = Miner("5Forger"), Miner("5Honest")
    await through(Network(forger, honest, scored=("5Forger", "5Honest"), refuted=("5Forger",)))
    assert (len(forger.asked), len(honest.asked)) == (0, 1)


async def test_who_has_proved_nothing_is_asked_only_while_nobody_has() -> None:
    unproven, proved = Miner("5New"), Miner("5Proved")
    await through(Network(unproven, proved, scored=("5New", "5Proved"), unproven=("5New",)))
    assert (len(unproven.asked), len(proved.asked)) == (0, 1)
    await through(Network(unproven, scored=("5New",), unproven=("5New",)))
    assert len(unproven.asked) == 1


async def test_before_there_are_scores_whoever_serves_is_asked() -> None:
    first = Miner("5First")
    await through(Network(first))
    assert len(first.asked) == 1


async def test_nobody_to_ask() -> None:
    assert "no miner serves" in await nobody(Network())
    assert "not seen the chain yet" in await nobody(Network(Miner("5A"), scored=("5A",), sees=False))


async def test_an_objective_waits_for_the_first_miner_of_a_network_that_comes_up() -> None:
    clock, heard = VirtualClock(), list[Progress]()
    network, without_miners, up = Network(sees=False), Network(), Network(Miner("5Late"))

    async def comes_up(seconds: float) -> None:
        await clock.sleep(seconds)
        if clock.now() >= EPOCH + 3:
            now = up if clock.now() >= EPOCH + 5 else without_miners
            network.sight, network.miners = now.sight, now.miners

    answer = await NetworkBackend(cast("Validator", network), clock, comes_up).answer(PRICES, heard.append)
    assert answer.miner == Keypair.create_from_uri("//5Late").ss58_address
    assert [(each.stage, each.at_ms) for each in heard[:2]] == [("waiting", 0), ("asking", 5000)]


async def test_nobody_is_waited_for_longer_than_a_block() -> None:
    clock = VirtualClock()
    with pytest.raises(NobodyAnswered):
        await NetworkBackend(cast("Validator", Network()), clock, clock.sleep).answer(PRICES, lambda _: None)
    assert clock.now() == EPOCH + PATIENCE_S


@pytest.mark.parametrize("allowed", [True, False])
async def test_calls_are_repeated_only_with_the_users_consent(*, allowed: bool) -> None:
    miner = Miner("5A")
    await through(Network(miner, scored=("5A",)), allow_replay=allowed)
    assert (miner.replays[0] > 0) is allowed


async def test_status_says_all_that_a_person_asks() -> None:
    network = Network(Miner("5A"), scored=("5A",))
    document = await NetworkBackend(cast("Validator", network)).status()
    assert (document["role"], document["block"], document["alarm"]) == ("validator", 77, False)
    assert [(each["role"], each["stake_rao"]) for each in document["neurons"]] == [
        ("validator", "1000"),
        ("miner", "0"),
    ]
    assert document["shares"] == {"5A": 1.0}
    assert set(document["scores"][0]["components"]) == set(COMPONENTS)
    assert sum(document["component_weights"].values()) == pytest.approx(1.0)


@pytest.mark.parametrize(("since", "alarm"), [(0, False), (2, False), (3, True), (9, True)])
async def test_three_tempos_without_weights_are_an_alarm(since: int, *, alarm: bool) -> None:
    network = Network()
    network.since = since
    document = await NetworkBackend(cast("Validator", network)).status()
    assert (document["tempos_since_weights"], document["alarm"]) == (since, alarm)


async def test_status_before_the_chain_was_seen() -> None:
    document = await NetworkBackend(cast("Validator", Network(sees=False))).status()
    assert (document["block"], document["neurons"], document["scores"]) == (None, [], [])


def test_a_verdict_in_words() -> None:
    def verdict(*codes: Code) -> str:
        return verification(Audit("0x", "5M", "5V", "0x", tuple(Finding(code) for code in codes))).verdict

    assert verdict() == "verified"
    assert verdict(Code.VALUE_UNSOURCED) == "partly verified"
    assert verdict(Code.VALUE_UNSOURCED, Code.LEAF_MISMATCH) == "refuted"
