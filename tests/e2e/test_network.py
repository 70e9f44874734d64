"""One network, everything real: objectives never seen, a forger, two validators that agree, traps, restarts, faults.

The tests share one network of eleven processes and only wait for conditions. The last one stops it.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ledger.checkpoint import parse_checkpoint
from ledger.database import sqlite_url
from ledger.snapshot import read_note
from ledger.view import LedgerView
from neurons.following import now_ms
from neurons.running import Neuron
from neurons.validator import build
from orchestra.chain import Chain
from orchestra.devnet.content import clouds, posts, subnets
from orchestra.devnet.network import NETUID
from orchestra.gateway.messages import ObjectiveResult
from orchestra.ledger_check import check, read_trusted_file, stakes_from_chain
from orchestra.peers import Peer, PeerFailed
from orchestra.planning import RetrievalPlanner
from orchestra.protocol import Evidence, EvidenceRequest, OrchestraResponse, StepEvidence
from orchestra.transport import SignedResponse
from orchestra.validation import scoring
from orchestra.validation.auditing import Auditor
from orchestra.validation.challenges import Challenge, draw, load_domains
from orchestra.validation.components import COMPONENTS, ORCHESTRATION, WEIGHTS, ScoreEvent, score
from orchestra.validation.store import ValidationStore
from tests.network import Network, alive, running_network
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

MAX_COST = 10_000_000
FAULTS: dict[str, dict[str, Any]] = {
    "desearch": {"outage": "refuse"},
    "chutes": {"outage": "refuse"},
    "data-universe": {"outage": "garbage"},
    "atlas": {"latency_ms": 5_000},
}
"""Whatever needs the web has one way left, and that one is slow."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def net(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    async with running_network(tmp_path_factory.mktemp("e2e")) as network:
        await until("every miner to serve", lambda: _all_serve(network))
        await until("both validators to tell the miners apart", lambda: _told_apart(network))
        yield network


async def _all_serve(network: Network) -> bool | None:
    """Do both validators see every neuron's address?"""
    seen = [await network.status(spec) for spec in network.validators]
    neurons = [neuron for status in seen for neuron in (status or {}).get("neurons", [])]
    return True if len(neurons) == 2 * 6 and all(neuron["axon"] for neuron in neurons) else None


# copies of the Ledger


async def test_an_empty_node_begins_with_a_copy_that_both_validators_signed(net: Network, tmp_path: Path) -> None:
    """And what it was given stands before whoever checks it with the chain: by the stake of both."""
    async with net.acting_as(net.honest[0], empty=True) as newcomer:
        assert newcomer.ledger.view.size == 0
        assert await newcomer.catch_up()
        believed = await newcomer.checkpoints.note(newcomer.origin)
        assert believed is not None, "it came from a copy"
        least = parse_checkpoint(believed)[0].size
        assert newcomer.ledger.view.size >= least > 0

        async def signed_by_both() -> bytes | None:
            """One that is no older than what was believed: the canary may have turned between the two."""
            for peer in newcomer.validators():
                with suppress(PeerFailed):
                    copy = await peer.snapshot()
                    checkpoint, note = parse_checkpoint(read_note(BytesIO(copy)))
                    if len(note.signatures) == 2 and checkpoint.size >= least:
                        return copy
            return None

        copy = await until("a copy with both signatures", signed_by_both)
    path = tmp_path / "trusted"
    path.write_bytes(believed)
    trusted = read_trusted_file(path)
    stakes = await stakes_from_chain(net.local.network, NETUID)
    found = check(BytesIO(copy), trusted, stakes, max_age_ms=3_600_000, now_ms=now_ms(), remember=tmp_path / "memory")
    assert {each.hotkey for each in found.snapshot.verified.signers} == {net.hotkey(v.name) for v in net.validators}
    assert found.snapshot.verified.stake == found.snapshot.verified.total
    assert found.on_chain is not None


# objectives that nobody has prepared


async def test_gpu_prices_never_asked_for_before(net: Network) -> None:
    schema = {"offers": [{"name": "str", "pricing": "dict"}]}
    answer = await net.ask("Compare H100 prices at Northgrid and Tidewater GPU.", schema)
    facts = {cloud.name: {gpu.on_demand for gpu in cloud.gpus} for cloud in clouds()}
    offers = {offer["name"]: set(offer["pricing"].values()) for offer in answer.result["offers"]}
    assert offers == {name: facts[name] for name in ("Northgrid", "Tidewater GPU")}
    assert (answer.status, answer.gaps) == ("complete", ())
    _only_replays_are_left_open(answer)
    _every_value_is_sourced(answer.result, answer.provenance, answer.pipeline)


async def test_facts_of_subnets_never_asked_for_before(net: Network) -> None:
    schema = {"subnets": [{"name": "str", "netuid": "int", "base_url": "url"}]}
    answer = await net.ask("What are the netuid and API base URL of the Bittensor subnets Chutes and Desearch?", schema)
    facts = {each.name: (each.netuid, each.api.base_url) for each in subnets() if each.api is not None}
    found = {each["name"]: (each["netuid"], each["base_url"]) for each in answer.result["subnets"]}
    assert found == {name: facts[name] for name in ("Chutes", "Desearch")}
    _only_replays_are_left_open(answer)


async def test_posts_never_asked_for_before(net: Network) -> None:
    answer = await net.ask("What do people say on X about Kestrel Cloud?", {"posts": [{"text": "str", "url": "url"}]})
    written = {post.text for post in posts()}
    assert answer.result["posts"]
    assert {each["text"] for each in answer.result["posts"]} <= written
    assert any("Kestrel Cloud" in each["text"] for each in answer.result["posts"])
    assert {step["entry"] for step in answer.pipeline if step["entry"] != "local"} == {"data-universe"}


@pytest.mark.parametrize(
    ("objective", "schema", "capability"),
    [
        ("Transcribe this recording of our board meeting.", {"transcript": "str"}, "audio_transcription"),
        ("Generate an image of a lighthouse at dusk.", {"image_url": "url"}, "image_generation"),
    ],
)
async def test_what_no_subnet_can_do_is_named_and_not_invented(
    net: Network, objective: str, schema: dict[str, Any], capability: str
) -> None:
    answer = await net.ask(objective, schema)
    assert answer.status == "partial"
    assert not any(answer.result.values())
    assert [gap["capability"] for gap in answer.gaps] == [capability]
    assert answer.gaps[0]["fields"] == [f"/{name}" for name in schema]


def _only_replays_are_left_open(answer: ObjectiveResult) -> None:
    """Calls that an objective caused are not made again without its user's consent; everything else was checked."""
    assert answer.verification.verdict != "refuted"
    assert {finding["check"] for finding in answer.verification.findings} <= {"replay"}


def _every_value_is_sourced(result: Any, provenance: Mapping[str, Any], pipeline: tuple[dict[str, Any], ...]) -> None:
    succeeded = {step["step"] for step in pipeline if step["error"] is None}
    for pointer in _leaves(result):
        sources = provenance[pointer]
        assert sources, pointer
        assert {source["step"] for source in sources} <= succeeded


def _leaves(value: Any, at: str = "") -> list[str]:
    if isinstance(value, dict):
        return [leaf for name, part in value.items() for leaf in _leaves(part, f"{at}/{_escaped(name)}")]
    if isinstance(value, list):
        return [leaf for index, part in enumerate(value) for leaf in _leaves(part, f"{at}/{index}")]
    return [at]


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


# the forger


async def test_the_forger_ends_with_nothing_and_every_honest_miner_above_it(net: Network) -> None:
    tables = await until("both validators to tell them apart", lambda: _told_apart(net))
    for totals in tables:
        assert totals["forger"] == 0.0
        assert min(totals[name] for name in net.honest) > 0.0
    async with await Chain.open(net.local.network) as chain:
        weights = await until("weights of both validators", lambda: _weights(net, chain))
    for row in weights.values():
        assert row.get("forger", 0.0) == 0.0
        assert any(row.get(name, 0.0) > 0.0 for name in net.honest)


async def _told_apart(net: Network) -> list[dict[str, float]] | None:
    """Totals by miner as every validator has them, once all have judged all."""
    tables: list[dict[str, float]] = []
    for validator in net.validators:
        status = await net.status(validator)
        totals = {each["hotkey"]: each["total"] for each in status["scores"]} if status else {}
        named = {spec.name: totals.get(net.hotkey(spec.name), 0.0) for spec in net.local.miners}
        judged = await net.events(validator.name, "forger")
        if named["forger"] or not any(event.refuted for event in judged) or min(named[n] for n in net.honest) == 0:
            return None
        tables.append(named)
    return tables


async def _weights(net: Network, chain: Chain) -> dict[str, dict[str, float]] | None:
    members, weights = await chain.metagraph(NETUID), await chain.weights(NETUID)
    names = {neuron.uid: _name(net, neuron.hotkey) for neuron in members.neurons}
    rows = {names[uid]: {names[to]: share for to, share in row.items()} for uid, row in weights.items()}
    return rows if set(rows) == {spec.name for spec in net.validators} else None


def _name(net: Network, hotkey: str) -> str:
    return next((name for name in net.local.settings["names"] if net.hotkey(name) == hotkey), hotkey)


@dataclass(frozen=True)
class Evidenced:
    """One answer as its validator got it, with all the bytes behind it."""

    challenge: Challenge
    response: SignedResponse
    peer: Peer

    @property
    def document(self) -> OrchestraResponse:
        return OrchestraResponse.model_validate_json(self.response.body)


@dataclass(frozen=True)
class Recorded(Peer):
    """A miner that shows what it showed before, to whoever asks."""

    kept: Mapping[int, StepEvidence] = field(default_factory=dict[int, StepEvidence])

    async def evidence(self, request: EvidenceRequest) -> Evidence:
        steps = tuple(self.kept[number] for number in request.steps if number in self.kept)
        return Evidence(challenge_id=request.challenge_id, steps=steps)


async def challenged(neuron: Neuron, net: Network, miner: str, challenge: Challenge) -> Evidenced:
    """Ask a miner in a validator's name, and have it reveal everything at once."""
    peer = neuron.peer(net.hotkey(miner))
    assert peer is not None
    response = await peer.challenge(challenge.synapse)
    steps = OrchestraResponse.model_validate_json(response.body).task_pipeline
    kept: dict[int, StepEvidence] = {}
    if steps:
        numbers = tuple(step.step for step in steps)
        revealed = await peer.evidence(EvidenceRequest(challenge_id=challenge.synapse.challenge_id, steps=numbers))
        kept = {each.step: each for each in revealed.steps}
    return Evidenced(challenge, response, Recorded(peer.hotkey, peer.url, peer.client, kept))


def drawn(neuron: Neuron, domain: str, dice: random.Random) -> Challenge:
    """A challenge of one domain, as this validator would draw it now."""
    sight = neuron.watch.sight
    assert sight is not None
    return draw(
        dice,
        domains=[each for each in load_domains() if each.name == domain],
        ledger=neuron.ledger.view,
        issued_block=sight.block.number,
        beacon=sight.block.hash,
        max_cost=MAX_COST,
    )


def posed(neuron: Neuron, objective: str, schema: dict[str, Any]) -> Challenge:
    """A challenge of our own words."""
    like = drawn(neuron, "gpu_clouds", random.Random(objective))
    synapse = like.synapse.model_copy(update={"objective": objective, "target_schema": schema, "hints": ()})
    return Challenge(synapse, "plain", "posed")


async def auditor(neuron: Neuron, name: str, seed: bytes) -> Auditor:
    """The auditor that `python neurons/validator.py` builds, judging answers that were made for validator `name`."""
    async with await ValidationStore.open(sqlite_url(neuron.settings.database("validation"))) as store:
        return replace(build(neuron, store, MAX_COST).auditor, me=name, seed=lambda: seed)


def event_of(judged: Evidenced, audited: scoring.Answered, neuron: Neuron) -> ScoreEvent:
    ledger: LedgerView | None = neuron.ledger.at(judged.challenge.synapse.ledger_version)
    assert ledger is not None
    return scoring.challenge_event(
        judged.challenge,
        audited,
        miner=judged.peer.hotkey,
        block=judged.challenge.synapse.issued_block,
        ledger=ledger,
        planner=RetrievalPlanner(),
        tao_usd=neuron.settings.tao_usd,
    )


@pytest.mark.parametrize(
    ("miner", "domain", "refutation"),
    [
        ("miner-1", "gpu_clouds", None),
        ("miner-2", "subnet_facts", None),
        ("forger", "gpu_clouds", "replay_mismatch_confirmed"),
        ("forger", "subnet_facts", "replay_mismatch_confirmed"),
        ("forger", "readings", "receipt_invalid"),
    ],
)
async def test_two_validators_record_the_same_event_from_the_same_evidence(
    net: Network, miner: str, domain: str, refutation: str | None
) -> None:
    dice = random.Random(f"{miner}/{domain}")
    seed = dice.randbytes(32)
    first, second = (spec.name for spec in net.validators)
    async with net.acting_as(first) as one, net.acting_as(second) as other:
        judged = await challenged(one, net, miner, drawn(one, domain, dice))
        auditors = [await auditor(neuron, net.hotkey(first), seed) for neuron in (one, other)]
        sent_ms = auditors[0].sent_ms(judged.response)
        audits = [
            await each.judge(
                judged.peer, judged.challenge.synapse, judged.response, ledger=neuron.ledger, sent_ms=sent_ms
            )
            for each, neuron in zip(auditors, (one, other), strict=True)
        ]
        events = [event_of(judged, audited, neuron) for audited, neuron in zip(audits, (one, other), strict=True)]
    assert audits[0].audit.canonical() == audits[1].audit.canonical()
    assert events[0] == events[1]
    assert score(judged.peer.hotkey, [events[0]]) == score(judged.peer.hotkey, [events[1]])
    audit = audits[0].audit
    refuted = {each.code.value for each in audit.findings if each.outcome == "refuted"}
    assert (refutation in refuted) if refutation else (refuted == set())
    if refutation is None:
        assert (events[0].values["hash_verification"], events[0].values["completeness"]) == (1.0, 1.0)
    else:
        _it_all_fits_together(judged, {each.code.value for each in audit.findings}, refuted)


def _it_all_fits_together(judged: Evidenced, codes: set[str], refuted: set[str]) -> None:
    """The forgery is a good one: bound, signed, revealed; only the subnets' own word is against it."""
    assert {"bound", "revealed"} <= codes
    assert not codes & {"evidence_missing", "output_malformed", "output_schema_mismatch", "source_unresolved"}
    assert refuted <= {"replay_mismatch_confirmed", "receipt_invalid"}
    assert judged.document.standardized_data


# the score table


async def test_the_score_table_explains_every_number(net: Network) -> None:
    for validator in net.validators:
        table, events = await until("a moment without news", lambda v=validator: _quiet(net, v))
        assert {each["hotkey"] for each in table["scores"]} == {net.hotkey(spec.name) for spec in net.local.miners}
        assert table["component_weights"] == dict(WEIGHTS)
        for row in table["scores"]:
            _explained(row)
            mine = [event for event in events if event.hotkey == row["hotkey"]]
            again = score(row["hotkey"], mine)
            assert (row["total"], row["orchestration"], row["ledger"]) == (
                again.total,
                again.orchestration,
                again.ledger,
            )
            assert all(_event_is_explained(event) for event in mine)


async def _quiet(net: Network, validator: Any) -> tuple[dict[str, Any], tuple[ScoreEvent, ...]] | None:
    """A status and the very events it was made from: those of its window, the same before and after it was read."""
    before = await net.events(validator.name)
    status = await net.status(validator)
    after = await net.events(validator.name)
    if status is None or before != after or status["tempo"] is None:
        return None
    length = status["tempo"]["last"] - status["tempo"]["first"] + 1
    since = status["tempo"]["first"] - 2 * length
    window = tuple(event for event in before if event.block >= since)
    judged = {event.hotkey for event in window}
    return (status, window) if {each["hotkey"] for each in status["scores"]} <= judged else None


def _explained(row: dict[str, Any]) -> None:
    """Components times weights are the totals; what is below 1 has a reason or a note."""
    parts = row["components"]
    assert set(parts) == set(COMPONENTS)
    for name in COMPONENTS:
        part = parts[name]
        assert part["weighted"] == WEIGHTS[name] * part["value"]
        if part["events"] == 0:
            assert (part["value"], part["note"]) == (0.0, "no evidence in this window")
        elif part["value"] < 1.0:
            assert any(_says(reason, name) for reason in row["reasons"]), (name, row["reasons"])
    whole = math.fsum((row["orchestration"], row["ledger"]))
    assert math.isclose(math.fsum(part["weighted"] for part in parts.values()), whole, abs_tol=1e-12)
    assert row["total"] == (0.0 if row["refuted"] else whole)
    if row["refuted"]:
        assert any(reason.startswith("refuted: ") for reason in row["reasons"])


def _event_is_explained(event: ScoreEvent) -> bool:
    low = [name for name, value in event.values.items() if value < 1.0]
    return all(any(_says(reason, name) for reason in event.reasons) for name in low)


def _says(reason: str, component: str) -> bool:
    about, _, _ = reason.partition(": ")
    return about == component or about == "refuted" or (about == "orchestration" and component in ORCHESTRATION)


# traps


async def test_a_stale_ledger_falls_for_the_canary_and_a_fresh_one_does_not(net: Network) -> None:
    stale = await until("the stale miner to meet the changed canary", lambda: _met_the_canary(net, "miner-3"))
    assert stale.components["freshness"].value < 1.0
    for name in ("miner-1", "miner-2"):
        fresh = await _everything(net, name)
        assert fresh.components["freshness"].events > 0
        assert fresh.components["freshness"].value == 1.0, fresh.reasons
        assert not [reason for reason in fresh.reasons if reason.startswith("freshness: ")]


async def _everything(net: Network, miner: str) -> Any:
    """A miner's score over all that both validators ever recorded of it."""
    events = [event for spec in net.validators for event in await net.events(spec.name, miner)]
    return score(net.hotkey(miner), events)


async def _met_the_canary(net: Network, miner: str) -> Any:
    found = await _everything(net, miner)
    reasons = [reason for reason in found.reasons if reason.startswith("freshness: ")]
    return found if any("answered from an outdated Ledger entry of atlas" in reason for reason in reasons) else None


async def test_a_stale_ledger_falls_for_outdated_hints_and_a_fresh_one_does_not(net: Network) -> None:
    """One hint for every operation that searches or extracts: some of them each miner uses."""
    async with net.acting_as("validator-1") as neuron:
        operations = [
            ref.name
            for capability in ("web_search", "structured_extraction")
            for ref in neuron.ledger.view.operations(capability)
        ]
        verdicts = {miner: await _hinted(net, neuron, miner, operations) for miner in ("miner-1", "miner-3")}
    fell = [event for event in verdicts["miner-3"] if event.values["freshness"] == 0.0]
    assert fell
    assert all(event.reasons[0].startswith("freshness: believed an outdated hint: sent ") for event in fell)
    assert [event.values["freshness"] for event in verdicts["miner-1"]] == [1.0] * len(verdicts["miner-1"])
    assert verdicts["miner-1"]


async def _hinted(net: Network, neuron: Neuron, miner: str, operations: list[str]) -> list[ScoreEvent]:
    """What the trap says of a miner, for each operation that it used."""
    events: list[ScoreEvent | None] = []
    for operation in operations:
        challenge = _with_trap(neuron, operation)
        answer = (await challenged(neuron, net, miner, challenge)).document
        ours = neuron.ledger.at(challenge.synapse.ledger_version)
        assert ours is not None
        theirs = neuron.ledger.at(answer.ledger_version)
        events.append(scoring.trap_event(challenge, answer, miner=miner, block=1, theirs=theirs, ours=ours))
    return [event for event in events if event is not None]


def _with_trap(neuron: Neuron, operation: str) -> Challenge:
    """A challenge with an outdated hint for this operation, as the grammar draws it sooner or later."""
    challenges = (drawn(neuron, "gpu_clouds", random.Random(f"{operation}/{number}")) for number in range(10_000))
    return next(each for each in challenges if each.trap and f"{each.trap.entry}/{each.trap.operation}" == operation)


# restarts


@pytest.mark.parametrize("name", ["miner-1", "validator-2", "validator-1"])
async def test_a_restart_goes_on_where_it_was(net: Network, name: str) -> None:
    before = {spec.name: await _by_id(net, spec.name) for spec in net.validators}
    child = net.local.processes.children[name]
    assert await child.stop() == 0, child.tail()
    stopped = {spec.name: await _by_id(net, spec.name) for spec in net.validators}
    again = await net.local.processes.restart(name)
    assert again.pid != child.pid
    for validator, events in stopped.items():
        assert all(events[event_id] == event for event_id, event in before[validator].items())
        asked = name if name.startswith("miner") else "miner-1"
        news = await until(f"news of {asked}", lambda v=validator, n=asked: _news(net, v, n, stopped[v]))
        assert [news[event_id] for event_id in events] == list(events.values())


async def _by_id(net: Network, validator: str) -> dict[str, ScoreEvent]:
    return {event.event_id: event for event in await net.events(validator)}


async def _news(net: Network, validator: str, miner: str, known: Mapping[str, ScoreEvent]) -> Any:
    """All events, once there is a proven answer of this miner among the new ones."""
    now = await _by_id(net, validator)
    fresh = [event for event in now.values() if event.event_id not in known and event.hotkey == net.hotkey(miner)]
    return now if any(event.values.get("hash_verification") == 1.0 for event in fresh) else None


# faults


async def test_work_goes_on_with_two_subnets_down_one_slow_and_one_talking_garbage(net: Network) -> None:
    known = {spec.name: set(await _by_id(net, spec.name)) for spec in net.validators}
    async with net.acting_as("validator-1") as neuron:
        await until("both validators to tell the miners apart", lambda: _told_apart(net))
        for subnet, fault in FAULTS.items():
            await net.fault(subnet, **fault)
        try:
            providers = {"providers": [{"name": "str", "pricing": "dict"}]}
            posts = posed(neuron, "What do people say on X about Lambda?", {"posts": [{"text": "str"}]})
            nothing = (await challenged(neuron, net, "miner-1", posts)).document
            assert nothing.standardized_data == {}
            assert "data-universe/on_demand_data: malformed" in nothing.gaps[0].reason
            asked = posed(neuron, "Research GPU prices of RunPod and Lambda.", providers)
            judged, answer = await asyncio.gather(
                challenged(neuron, net, "miner-1", asked),
                net.ask("Compare H100 prices at Northgrid and Basalt Compute.", providers),
            )
            assert judged.response.elapsed_ms <= asked.synapse.deadline_ms
            _failures_are_told(judged.document)
            assert _prices(judged.document.standardized_data) == _facts("RunPod", "Lambda")
            assert answer.latency_ms <= 30_000
            assert _prices(answer.result) == _facts("Northgrid", "Basalt Compute")
            for spec in net.validators:
                await until("challenges in time", lambda v=spec.name: _in_time(net, v, known[v]))
        finally:
            await net.heal()


def _prices(data: dict[str, Any]) -> dict[str, set[float]]:
    return {each["name"]: set(each["pricing"].values()) for each in data["providers"]}


def _facts(*names: str) -> dict[str, set[float]]:
    return {cloud.name: {gpu.on_demand for gpu in cloud.gpus} for cloud in clouds() if cloud.name in names}


def _failures_are_told(answer: OrchestraResponse) -> None:
    """Every failed attempt stands in the pipeline with its error and cost, and another one did the work."""
    steps = answer.task_pipeline
    failed = [step for step in steps if step.error is not None]
    assert {step.error.kind for step in failed if step.error} & {"unreachable", "timeout"}
    assert all(step.cost > 0 for step in failed if step.error and step.error.kind == "timeout")
    assert answer.total_cost == sum(step.cost for step in steps)
    searches = [step for step in failed if step.task.startswith("find ")]
    assert searches
    for step in searches:
        later = [each for each in steps if each.task == step.task and each.attempt > step.attempt]
        assert any(each.error is None and each.entry == "atlas" for each in later)


async def _in_time(net: Network, validator: str, known: set[str]) -> bool | None:
    """Every honest miner answered a challenge of this validator in time since then, with something in it."""
    events = [event for event in await net.events(validator) if event.event_id not in known]
    good = {
        event.hotkey
        for event in events
        if event.values.get("latency") == 1.0 and event.values.get("schema_compliance") == 1.0
    }
    return True if {net.hotkey(name) for name in ("miner-1", "miner-2")} <= good else None


# the end


async def test_stopping_ends_every_process_with_0(net: Network) -> None:
    pids = [child.pid for child in net.local.processes.children.values()]
    assert alive(pids) == pids
    codes = await net.local.stop()
    assert codes == dict.fromkeys(codes, 0)
    assert len(codes) == 12
    assert alive(pids) == []
