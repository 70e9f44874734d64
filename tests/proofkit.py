"""A small honest world for tests of proofs: three subnets with fixed content, a miner that asks them, an auditor.

Every test starts from an answer that passes in full and changes one thing. Signatures are real sr25519; subnets are
a table of bodies, which the miner's attempts and the auditor's replays both read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from ledger.canonical import as_object, canonical, merkle_root, parse_strict, sha256
from ledger.entry import Operation, Price
from ledger.types import Hash, Signer
from ledger.view import LedgerView, OperationRef
from orchestra.chain import dev_signer, verify_signature
from orchestra.execution.run import Answer, Attempt, CallFailed
from orchestra.proofs import (
    Audit,
    AuditPolicy,
    AuditPorts,
    EvidenceBundle,
    EvidenceUnavailable,
    Issued,
    audit,
    seal,
)
from orchestra.proofs.binding import proof_payload, response_digest, step_leaf
from orchestra.proofs.evidence import to_evidence
from orchestra.protocol import (
    Derivation,
    Evidence,
    EvidenceRequest,
    Gap,
    LedgerProposal,
    OrchestraResponse,
    OrchestraSynapse,
    Receipt,
    Source,
    StepError,
)
from orchestra.subnets.mapping import map_output
from orchestra.subnets.receipts import receipt_payload
from tests.builders import entry, operation

MINER, VALIDATOR, OTHER, PROVIDER = (dev_signer(f"//{name}") for name in ("Alice", "Bob", "Charlie", "Dave"))
SENT_MS = 1_800_000_000_000
SEED = b"\x07" * 32

RUNPOD = "https://runpod.example/pricing"
VAST = "https://vast.example/pricing"


def h(text: str) -> Hash:
    return sha256(text.encode())


def dice(label: str = "salt") -> Callable[[], bytes]:
    """Salts that differ and repeat from run to run."""
    count = 0

    def roll() -> bytes:
        nonlocal count
        count += 1
        return hashlib.sha256(f"{label}{count}".encode()).digest()

    return roll


def make_ledger(**changes: dict[str, Any]) -> LedgerView:
    """`changes` by operation name."""

    def op(name: str, **fields: Any) -> Operation:
        return operation(name, **(fields | changes.get(name, {})))

    free = {"type": "object"}
    desearch = entry(
        "desearch",
        netuid=22,
        operations=(
            op("web_search"),
            op(
                "web_crawl",
                capability="web_scraping",
                endpoint={
                    "base_url": "http://127.0.0.1:1",
                    "method": "GET",
                    "path": "/web/crawl",
                    "arguments": "query",
                    "media_type": "text/plain",
                },
                input_schema=free,
                output_schema={"type": "string"},
                request="",
                response="{text: @}",
            ),
            op(
                "web_extract",
                capability="structured_extraction",
                input_schema=free,
                output_schema={"type": "object", "required": ["data"]},
                request="",
                response="{data: data}",
            ),
        ),
    )
    atlas = entry(
        "atlas",
        netuid=129,
        operations=(
            op(
                "search",
                protocol="signed-http",
                endpoint={
                    "base_url": "http://127.0.0.1:2",
                    "method": "POST",
                    "path": "/v1/search",
                    "arguments": "json_body",
                },
                output_schema={"type": "object", "required": ["hits"]},
                input_schema=free,
                request="{q: query}",
                response="{results: hits}",
                receipt_key=PROVIDER.ss58_address,
                price=Price(amount="0.0002", currency="TAO"),
            ),
        ),
    )
    chutes = entry(
        "chutes",
        netuid=64,
        operations=(
            op(
                "chat_completions",
                capability="chat_completion",
                input_schema=free,
                output_schema={"type": "object", "required": ["choices"]},
                request="",
                response="{text: choices[0].message.content}",
                determinism="volatile",
            ),
        ),
    )
    return LedgerView([desearch, atlas, chutes])


CONTENT: Mapping[tuple[str, str], bytes] = {
    ("desearch/web_search", canonical({"query": "gpu pricing"}).decode()): canonical(
        {
            "data": [
                {"title": "RunPod pricing", "link": RUNPOD, "snippet": "A100 from 1.99"},
                {"title": "Vast.ai pricing", "link": VAST, "snippet": "lowest price"},
            ]
        }
    ),
    ("desearch/web_extract", canonical({"url": RUNPOD}).decode()): canonical(
        {"data": [{"name": "RunPod", "price": 1.99, "strengths": ["spot pricing", "templates"]}]}
    ),
    ("desearch/web_crawl", canonical({"url": VAST}).decode()): b"$1.45 an hour is what Vast.ai asks for an A100 80 GB.",
    ("atlas/search", canonical({"q": "gpu marketplace"}).decode()): canonical(
        {"hits": [{"title": "Vast.ai", "url": VAST, "text": "the marketplace"}]}
    ),
    ("chutes/chat_completions", canonical({"text": "the marketplace"}).decode()): canonical(
        {"choices": [{"message": {"content": "A marketplace of GPUs."}}]}
    ),
}


def body_of(name: str, query: Mapping[str, Any], content: Mapping[tuple[str, str], bytes] = CONTENT) -> bytes:
    return content[name, canonical(dict(query)).decode()]


def receipt(
    query: Mapping[str, Any],
    body: bytes,
    *,
    tag: str,
    caller: str = MINER.ss58_address,
    signer: Signer = PROVIDER,
    time_ms: int = SENT_MS + 100,
    name: tuple[str, str] = ("atlas", "search"),
) -> Receipt:
    request_hash = sha256(canonical(dict(query)))
    payload = receipt_payload(
        entry=name[0],
        operation=name[1],
        caller=caller,
        tag=tag,
        request_hash=request_hash,
        response_hash=sha256(body),
        time_ms=time_ms,
    )
    signature = "0x" + signer.sign(payload).hex()
    return Receipt(key=signer.ss58_address, time_ms=time_ms, request_hash=request_hash, signature=signature)


SCHEMA: dict[str, Any] = {
    "offers": [{"name": "str", "price": "float", "strengths?": "list"}],
    "cheapest": "float",
    "summary": "str",
}


def make_synapse(ledger: LedgerView, label: str = "one", **changes: Any) -> OrchestraSynapse:
    fields: dict[str, Any] = {
        "challenge_id": h(f"challenge {label}"),
        "objective": "Compare GPU pricing of RunPod and Vast.ai",
        "target_schema": SCHEMA,
        "issued_block": 7,
        "beacon": h("block 7"),
        "max_cost": 10**9,
        "ledger_version": ledger.version,
        "tag": h(f"tag {label}"),
    }
    return OrchestraSynapse.model_validate(fields | changes)


def make_issued(synapse: OrchestraSynapse, **changes: Any) -> Issued:
    issued = Issued(
        synapse=synapse,
        request_digest=sha256(synapse.to_wire()),
        miner=MINER.ss58_address,
        validator=VALIDATOR.ss58_address,
        sent_ms=SENT_MS,
        elapsed_ms=1_000,
    )
    return replace(issued, **changes)


@dataclass
class Story:
    """What a miner is going to seal; tests change it first."""

    ledger: LedgerView
    synapse: OrchestraSynapse
    attempts: list[Attempt]
    data: dict[str, Any]
    provenance: dict[str, tuple[Source, ...] | Derivation]
    final_synthesis: str = "Vast.ai is cheapest."
    gaps: tuple[Gap, ...] = ()
    proposals: tuple[LedgerProposal, ...] = ()
    total_latency_ms: int = 600
    ledger_version: str = ""
    signer: Signer = MINER
    validator: str = VALIDATOR.ss58_address

    def change(self, step: int, **changes: Any) -> None:
        """Change one attempt. A new `query` brings its request bytes along."""
        if "query" in changes:
            changes.setdefault("request", canonical(changes["query"]))
        self.attempts[step - 1] = replace(self.attempts[step - 1], **changes)

    def seal(self, issued: Issued | None = None) -> tuple[OrchestraResponse, EvidenceBundle]:
        return seal(
            attempts=self.attempts,
            data=self.data,
            provenance=self.provenance,
            final_synthesis=self.final_synthesis,
            gaps=self.gaps,
            proposals=self.proposals,
            total_latency_ms=self.total_latency_ms,
            synapse=self.synapse,
            request_digest=(issued or make_issued(self.synapse)).request_digest,
            validator=self.validator,
            signer=self.signer,
            ledger_version=self.ledger_version or self.ledger.version,
            random=dice(),
        )


def attempt(
    step: int,
    ledger: LedgerView,
    name: str,
    query: dict[str, Any],
    *,
    depends_on: Sequence[int] = (),
    body: bytes | None = None,
    **changes: Any,
) -> Attempt:
    """A successful attempt at `entry/operation`; the body is the subnet's own unless given."""
    entry_id, op_name = name.split("/")
    ref = ledger.operation(entry_id, op_name)
    assert ref is not None
    body = body_of(name, query) if body is None else body
    fields: dict[str, Any] = {
        "step": step,
        "task_id": f"t{step}",
        "task": f"{ref.operation.capability} {step}",
        "capability": ref.operation.capability,
        "subnet": ref.entry.subnet,
        "entry": entry_id,
        "operation": op_name,
        "query": query,
        "request": canonical(query),
        "response": body,
        "output": map_output(ref.operation, body),
        "error": None,
        "started_ms": 0,
        "latency_ms": 100,
        "cost": 100_000,
        "attempt": 1,
        "depends_on": tuple(depends_on),
    }
    return Attempt(**(fields | changes))


def local_attempt(step: int, output: Any, depends_on: Sequence[int]) -> Attempt:
    query = {"writes": "/summary"}
    return Attempt(
        step=step,
        task_id=f"local-{step}",
        task="write the summary",
        capability="local",
        subnet="local",
        entry="local",
        operation="synthesise",
        query=query,
        request=canonical(query),
        response=canonical(output),
        output=output,
        error=None,
        started_ms=500,
        latency_ms=0,
        cost=0,
        attempt=1,
        depends_on=tuple(depends_on),
    )


SUMMARY = "RunPod asks 1.99, Vast.ai 1.45."


def make_story(label: str = "one", **ledger_changes: dict[str, Any]) -> Story:
    """Search, a failed extraction and its second try, a crawl, a receipted search, a volatile chat, a local summary."""
    ledger = make_ledger(**ledger_changes)
    synapse = make_synapse(ledger, label)
    marketplace = {"q": "gpu marketplace"}
    failed = StepError(kind="timeout", detail="no answer within 100 ms")
    attempts = [
        attempt(1, ledger, "desearch/web_search", {"query": "gpu pricing"}),
        attempt(2, ledger, "desearch/web_extract", {"url": RUNPOD}, depends_on=(1,), response=None, error=failed),
        attempt(3, ledger, "desearch/web_extract", {"url": RUNPOD}, depends_on=(1,), attempt=2),
        attempt(4, ledger, "desearch/web_crawl", {"url": VAST}, depends_on=(1,)),
        attempt(
            5,
            ledger,
            "atlas/search",
            marketplace,
            cost=200_000,
            receipt=receipt(marketplace, body_of("atlas/search", marketplace), tag=synapse.tag),
        ),
        attempt(6, ledger, "chutes/chat_completions", {"text": "the marketplace"}, depends_on=(5,)),
        local_attempt(7, {"/summary": SUMMARY}, (3, 4, 6)),
    ]
    data = {
        "offers": [
            {"name": "RunPod", "price": 1.99, "strengths": ["spot pricing", "templates"]},
            {"name": "Vast.ai", "price": 1.45},
        ],
        "cheapest": 1.45,
        "summary": SUMMARY,
    }
    return Story(ledger, synapse, attempts, data, dict(PROVENANCE))


PROVENANCE: Mapping[str, tuple[Source, ...] | Derivation] = {
    "/offers/0/name": (Source(step=3, pointer="/data/0/name"),),
    "/offers/0/price": (Source(step=3, pointer="/data/0/price"),),
    "/offers/0/strengths": (Source(step=3, pointer="/data/0/strengths"),),
    "/offers/1/name": (Source(step=5, pointer="/results/0/title"), Source(step=4, pointer="/text")),
    "/offers/1/price": (Source(step=4, pointer="/text"),),
    "/cheapest": Derivation(op="min", of=(Source(step=3, pointer="/data/0/price"), Source(step=4, pointer="/text"))),
    "/summary": (Source(step=7, pointer="/~1summary"), Source(step=6, pointer="/text")),
}


@dataclass
class Revealer:
    """An `EvidenceSource` over a bundle. `per_message` steps at a time; `broken` never answers."""

    bundle: EvidenceBundle
    per_message: int = 256
    broken: bool = False
    asked: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])

    async def __call__(self, request: EvidenceRequest, /) -> Evidence:
        self.asked.append(request.steps)
        if self.broken:
            raise EvidenceUnavailable
        steps = [to_evidence(step) for step in self.bundle.steps if step.step in request.steps]
        return Evidence(challenge_id=self.bundle.challenge_id, steps=tuple(steps[: self.per_message]))


@dataclass
class TableSubnets:
    """`Replay` and `Confirm` over a table of bodies; a call that nobody scripted fails the test, or, not `strict`, is
    refused as a subnet would refuse nonsense.
    """

    ledger: LedgerView
    content: Mapping[tuple[str, str], bytes] = field(default_factory=lambda: CONTENT)
    down: bool = False
    strict: bool = True
    calls: list[str] = field(default_factory=list[str])

    async def call(self, ref: OperationRef, query: Mapping[str, Any], *, tag: str, timeout_s: float) -> Answer:
        self.calls.append(ref.name)
        if self.down:
            raise CallFailed(StepError(kind="unreachable"))
        if not self.strict and (ref.name, canonical(dict(query)).decode()) not in self.content:
            raise CallFailed(StepError(kind="refused"))
        body = body_of(ref.name, query, self.content)
        return Answer(200, body, map_output(ref.operation, body), 0)

    async def confirm(self, ref: OperationRef, query: Mapping[str, Any], ledger_version: str, ours: str, /) -> bool:
        assert ledger_version == self.ledger.version
        return not self.down and sha256(body_of(ref.name, query, self.content)) == ours


@dataclass
class Registry:
    """Who is registered where; `readable` False is a chain that does not answer."""

    members: frozenset[tuple[int, str]] = frozenset({(129, PROVIDER.ss58_address)})
    readable: bool = True
    asked: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    async def __call__(self, netuid: int, hotkey: str, /) -> bool | None:
        self.asked.append((netuid, hotkey))
        return (netuid, hotkey) in self.members if self.readable else None


@dataclass
class KnownLedgers:
    """`Ledgers` over a list of versions, the newest last."""

    versions: Sequence[LedgerView]

    @property
    def view(self) -> LedgerView:
        return self.versions[-1]

    def at(self, version: str) -> LedgerView | None:
        return next((view for view in self.versions if view.version == version), None)


def ports(ledger: LedgerView, **changes: Any) -> AuditPorts:
    subnets = TableSubnets(ledger)
    standard = AuditPorts(
        verify=verify_signature,
        ledgers=KnownLedgers([ledger]),
        is_registered=Registry(),
        replay=subnets,
        confirm=subnets.confirm,
        now_ms=lambda: SENT_MS + 2_000,
    )
    return replace(standard, **changes)


POLICY = AuditPolicy(seed=SEED, beyond=1, replays=8)


async def audit_story(
    story: Story, *, policy: AuditPolicy = POLICY, evidence: Any = None, issued: Issued | None = None, **changes: Any
) -> Audit:
    """Seal, send and audit a story with everything else honest."""
    issued = issued or make_issued(story.synapse)
    response, bundle = story.seal(issued)
    return await audit(response.to_wire(), issued, evidence or Revealer(bundle), ports(story.ledger, **changes), policy)


def codes(found: Audit) -> set[tuple[str, int | None, str | None]]:
    """What is wrong, as (code, step, pointer). That the chat of step 6 cannot be repeated is as it should be."""
    bad = {
        (finding.code.value, finding.step, finding.pointer)
        for finding in found.findings
        if finding.outcome != "verified" and finding.check != "anchor"
    }
    return bad - {("not_replayable", 6, None)}


# An answer with something wrong in it -------------------------------------------------------------------------------

StoryChange: TypeAlias = Callable[[Story], Any]
DocumentChange: TypeAlias = Callable[[dict[str, Any]], Any]


async def of_story(change: StoryChange, **audit_changes: Any) -> Audit:
    """The honest miner's story with a change before it is sealed."""
    story = make_story()
    change(story)
    return await audit_story(story, **audit_changes)


async def of_raw(raw: bytes) -> Audit:
    """These bytes as the answer to the honest story's challenge."""
    story = make_story()
    issued = make_issued(story.synapse)
    _, bundle = story.seal(issued)
    world = ports(story.ledger, replay=TableSubnets(story.ledger, strict=False))
    return await audit(raw, issued, Revealer(bundle), world, POLICY)


def honest_document() -> dict[str, Any]:
    response, _ = make_story().seal()
    return as_object(parse_strict(response.to_wire()))


async def of_document(change: DocumentChange) -> Audit:
    """The honest answer with a change that nobody sealed."""
    document = honest_document()
    change(document)
    return await of_raw(canonical(document))


async def of_resealed(change: DocumentChange, signer: Signer = MINER) -> Audit:
    """The honest answer with a change that the miner sealed: leaves, root and signature fit."""
    document = honest_document()
    change(document)
    reseal(document, make_story().synapse, signer)
    return await of_raw(canonical(document))


def reseal(document: dict[str, Any], synapse: OrchestraSynapse, signer: Signer) -> None:
    """Make leaves, root and signature fit whatever the document says."""
    for step in document["task_pipeline"]:
        step["hash"] = step_leaf(step, challenge_id=synapse.challenge_id, beacon=synapse.beacon)
    proof = document["proof"]
    proof["root"] = merkle_root([step["hash"] for step in document["task_pipeline"]])
    payload = proof_payload(
        challenge_id=document["challenge_id"],
        request_digest=proof["request_digest"],
        root=proof["root"],
        response_digest=response_digest(document),
        ledger_version=document["ledger_version"],
        miner=proof["miner"],
        validator=proof["validator"],
    )
    proof["signature"] = "0x" + signer.sign(payload).hex()


def put(path: str, value: Any) -> DocumentChange:
    """Set what is at `a/0/b`."""

    def change(document: dict[str, Any]) -> None:
        *way, last = path.split("/")
        target: Any = document
        for part in way:
            target = target[int(part)] if isinstance(target, list) else target[part]
        target[int(last) if isinstance(target, list) else last] = value

    return change


def cite(pointer: str, *sources: tuple[int, str]) -> StoryChange:
    """Give a value these sources, as (step, pointer)."""

    def change(story: Story) -> None:
        story.provenance[pointer] = tuple(Source(step=step, pointer=at) for step, at in sources)

    return change


def derive(pointer: str, op: Any, *sources: tuple[int, str]) -> StoryChange:
    def change(story: Story) -> None:
        story.provenance[pointer] = Derivation(op=op, of=tuple(Source(step=s, pointer=at) for s, at in sources))

    return change


def tampered(step: int, **changes: Any) -> Revealer:
    """Evidence with other bytes for one step."""
    _, bundle = make_story().seal()
    return Revealer(
        replace(bundle, steps=tuple(replace(each, **changes) if each.step == step else each for each in bundle.steps))
    )


def withheld(step: int) -> Revealer:
    """Evidence without one step."""
    _, bundle = make_story().seal()
    return Revealer(replace(bundle, steps=tuple(each for each in bundle.steps if each.step != step)))


def with_receipt(**changes: Any) -> StoryChange:
    """Another receipt on step 5."""

    def change(story: Story) -> None:
        query = story.attempts[4].query
        standard = {"query": query, "body": body_of("atlas/search", query), "tag": story.synapse.tag}
        story.change(5, receipt=receipt(**(standard | changes)))

    return change


def invent(story: Story) -> None:
    """Another price in the answer of step 3, with everything that follows from it: the forger's way."""
    offer = {"name": "RunPod", "price": 0.99, "strengths": ["spot pricing", "templates"]}
    story.change(3, response=canonical({"data": [offer]}))
    story.data["offers"][0]["price"] = 0.99
    story.data["cheapest"] = 0.99


def content_with(step: int, body: bytes) -> dict[tuple[str, str], bytes]:
    """The subnets' content, but for what answers `step` of the story."""
    made = make_story().attempts[step - 1]
    return {**CONTENT, (f"{made.entry}/{made.operation}", made.request.decode()): body}


class FailingFor(TableSubnets):
    """Subnets of which the auditor cannot use one operation, for want of a key."""

    def __init__(self, name: str) -> None:
        super().__init__(make_ledger())
        self.name = name

    async def call(self, ref: OperationRef, query: Mapping[str, Any], *, tag: str, timeout_s: float) -> Answer:
        if ref.name == self.name:
            raise CallFailed(StepError(kind="auth"))
        return await super().call(ref, query, tag=tag, timeout_s=timeout_s)


def down() -> TableSubnets:
    """Subnets that the auditor cannot reach."""
    return TableSubnets(make_ledger(), down=True)


async def of_older_ledger(**ledger_changes: dict[str, Any]) -> Audit:
    """An honest answer under a Ledger with other terms for step 3 than the newer one that the challenge names."""
    older = make_ledger(**(ledger_changes or {"web_extract": {"determinism": "stable"}}))
    newer = LedgerView([*older.entries.values(), make_ledger().entries["desearch"]])
    story = make_story()
    story.ledger, story.synapse = older, make_synapse(newer)
    return await audit_story(story, ledgers=KnownLedgers([older, newer]))


def many(number: int, *, forged: int | None = None, copies: int = 1) -> tuple[Story, TableSubnets]:
    """`number` different true pages, each made `copies` times and carrying one value; page `forged` is invented."""
    ledger = make_ledger()
    queries = [{"url": f"https://pages.example/{page}"} for page in range(number)]
    bodies = [canonical({"data": [{"name": f"offer {page}"}]}) for page in range(number)]
    content = {("desearch/web_extract", canonical(queries[page]).decode()): bodies[page] for page in range(number)}
    told = [b'{"data":[{"name":"invented"}]}' if page == forged else body for page, body in enumerate(bodies)]
    calls = [(page, copy) for page in range(number) for copy in range(copies)]
    attempts = [
        attempt(at, ledger, "desearch/web_extract", queries[page], body=told[page], cost=0)
        for at, (page, _) in enumerate(calls, 1)
    ]
    names = ["invented" if page == forged else f"offer {page}" for page in range(number)]
    provenance: dict[str, tuple[Source, ...] | Derivation] = {
        f"/offers/{page}/name": (Source(step=1 + page * copies, pointer="/data/0/name"),) for page in range(number)
    }
    objective = "Compare " + " ".join(query["url"] for query in queries)
    synapse = make_synapse(ledger, objective=objective[:4000], target_schema={"offers": [{"name": "str"}]})
    story = Story(ledger, synapse, attempts, {"offers": [{"name": name} for name in names]}, provenance)
    return story, TableSubnets(ledger, content)


async def audit_many(number: int, *, seed: bytes = SEED, replays: int = 4, **shape: Any) -> Audit:
    story, subnets = many(number, **shape)
    policy = AuditPolicy(seed=seed, replays=replays)
    return await audit_story(story, policy=policy, replay=subnets, confirm=subnets.confirm)
