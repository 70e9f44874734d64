"""Is it as the proposal says? One probe of a live subnet, and what it says of the claim.

A validator confirms what it saw and nothing else. Only an answer can contradict a claim: a probe that it could not
make, or that showed nothing of what is claimed (the proposer saw other data), is `unable` and never a denial. A schema
holds when an answer fits it and says more than the Ledger knows, and when it tells what is new in the answer and no
less than the Ledger did: one that accepts everything says nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import Any, Protocol, TypeAlias

from pydantic import ValidationError

from ledger.applying import CannotApply, base_of
from ledger.canonical import StrictJSONError, parse_strict
from ledger.capabilities import CONTRACTS
from ledger.entry import Metrics, Operation, SubnetEntry
from ledger.example_query import example_queries
from ledger.governance.effects import Probe
from ledger.governance.judging import Seen
from ledger.inference import SamplesRefused, diff, extend
from ledger.probe import Reply, unprobeable
from ledger.proposals import (
    SCHEMA_PARTS,
    Deprecation,
    MetricsUpdate,
    NewSubnet,
    OwnerChange,
    SchemaUpdate,
)
from ledger.remapping import read_from, remap
from ledger.schema_measure import SchemaRefused
from ledger.schemas import compile_schema
from ledger.types import JSON
from ledger.view import OperationRef
from orchestra.governing.shapes import filled, keeps_promise, told
from orchestra.subnets.mapping import MAX_BODY_BYTES, map_wire

PROBE_TIMEOUT_S = 10.0
"""How long a call that judges waits for its answer."""

SAMPLE = 10
SAMPLE_PAUSE_S = 1.0
MOST_OPERATIONS = 3
MOST_QUERIES = 3
MOST_VERSIONS = 64
DEAD = frozenset({"unreachable", "timeout", "fault", "malformed"})
UNTOLD = frozenset({"auth", "throttled", "out_of_credit"})
"""Faults that say something about this validator's key or pace, and nothing about the claim."""


Places: TypeAlias = dict[tuple[str, ...], JSON]


class Calls(Protocol):
    """Makes one call (`orchestra.maintenance.SubnetCalls`)."""

    async def __call__(self, ref: OperationRef, query: Mapping[str, Any], /) -> Reply: ...


@dataclass(frozen=True, slots=True)
class LiveJudge:
    """Judges by calls of this node. `versions` gives an entry as the Ledger has and had it, newest first; `spend` says
    whether one more call of an operation may be paid for: whoever proposes must not empty the validators' purses.
    """

    calls: Calls
    usable: Callable[[OperationRef], bool]
    versions: Callable[[str], Iterable[SubnetEntry]]
    sleep: Callable[[float], Awaitable[None]]
    spend: Callable[[Operation], bool]

    async def __call__(self, probe: Probe) -> tuple[Seen, Metrics | None]:
        """What one probe saw, and for a metrics update what a sample measured."""
        proposal = probe.sent.proposal
        if isinstance(proposal, NewSubnet):
            return await self._new_subnet(proposal.body), None
        entry = next(iter(self.versions(proposal.entry)), None)
        if entry is None or isinstance(proposal, OwnerChange):
            return "unable", None
        if isinstance(proposal, Deprecation):
            return await self._is_dead(entry, probe.attempt), None
        if isinstance(proposal, MetricsUpdate):
            operation = entry.operation(proposal.operation)
            return await self._measure(OperationRef(entry, operation)) if operation else ("unable", None)
        return await self._schema(proposal), None

    async def _new_subnet(self, body: SubnetEntry) -> Seen:
        """Every operation that answers does so as it says; one that does not is enough."""
        seen: set[Seen] = set()
        for operation in [each for each in body.operations if not unprobeable(each)][:MOST_OPERATIONS]:
            async for answer in self._answers(OperationRef(body, operation), 1):
                is_true = _fits(operation, answer) and (operation.role != "task" or keeps_promise(operation, answer))
                seen.add("holds" if is_true else "differs")
        return "differs" if "differs" in seen else "holds" if seen else "unable"

    async def _is_dead(self, entry: SubnetEntry, attempt: int) -> Seen:
        """`holds`: a call failed; `differs`: it was answered, in whatever shape. Operations take turns."""
        refs = [OperationRef(entry, each) for each in entry.operations if not unprobeable(each)]
        known = [ref for ref in refs if self.usable(ref)]
        if not known:
            return "unable"
        reply = await self._ask(known[attempt % len(known)])
        if reply is None or reply.fault in UNTOLD:
            return "unable"
        return "holds" if reply.fault in DEAD else "differs"

    async def _measure(self, ref: OperationRef) -> tuple[Seen, Metrics | None]:
        if unprobeable(ref.operation) or not self.usable(ref):
            return "unable", None
        replies: list[Reply] = []
        while len(replies) < SAMPLE:
            if replies:
                await self.sleep(SAMPLE_PAUSE_S)
            reply = await self._ask(ref)
            if reply is None or reply.fault in UNTOLD:
                return "unable", None
            replies.append(reply)
        return "holds", measured(replies)

    async def _schema(self, proposal: SchemaUpdate) -> Seen:
        """By the first answer that says anything; a few queries are tried, because data differs."""
        found = self._replaced(proposal)
        if found is None:
            return "unable"
        parts = {name: value for name in SCHEMA_PARTS if (value := getattr(proposal, name)) is not None}
        try:
            new = Operation.model_validate({**found.operation.model_dump(), **parts})
        except ValidationError:
            return "differs"
        if unprobeable(new):
            return "unable"
        async for answer in self._answers(OperationRef(found.entry, new), MOST_QUERIES):
            seen = compared(found.operation, new, answer)
            if seen != "unable":
                return seen
        return "differs" if proposal.input_schema is not None and await self._takes_the_old(found) else "unable"

    async def _takes_the_old(self, ref: OperationRef) -> bool:
        """Is a query answered that the input schema in force allows? Then another one has to be proved."""
        reply = await self._ask(ref)
        return reply is not None and reply.fault is None

    def _replaced(self, proposal: SchemaUpdate) -> OperationRef | None:
        """The operation as it was when it said what the proposal replaces: it may have moved on since."""
        for entry in islice(self.versions(proposal.entry), MOST_VERSIONS):
            try:
                is_base = base_of(entry, proposal) == proposal.base
            except CannotApply:
                continue
            operation = entry.operation(proposal.operation)
            if is_base and operation is not None:
                return OperationRef(entry, operation)
        return None

    async def _answers(self, ref: OperationRef, most: int) -> AsyncIterator[JSON]:
        """What is answered to the cheapest valid queries; it ends with one that is no answer, unless only refused."""
        for number, query in enumerate(example_queries(ref.operation)[:most]):
            if number:
                await self.sleep(SAMPLE_PAUSE_S)
            reply = await self._call(ref, query)
            if reply is not None and reply.fault == "refused":
                continue
            if reply is None or reply.fault is not None or reply.body is None:
                return
            try:
                yield _parsed(ref.operation, reply.body)
            except StrictJSONError:
                return

    async def _ask(self, ref: OperationRef) -> Reply | None:
        """The cheapest valid query; None when there is none, or no money for it."""
        queries = example_queries(ref.operation)
        return await self._call(ref, queries[0]) if queries else None

    async def _call(self, ref: OperationRef, query: Mapping[str, Any]) -> Reply | None:
        return await self.calls(ref, query) if self.spend(ref.operation) else None


def compared(old: Operation, new: Operation, answer: JSON) -> Seen:
    """What one answer says of a new schema and mapping. See the module for the rule."""
    if not _fits(new, answer):
        return "differs"
    is_shown = False
    if new.output_schema != old.output_schema:
        try:
            seen = _schemas_compared(old.output_schema, new.output_schema, answer)
        except (SamplesRefused, SchemaRefused):
            return "unable"
        if seen == "differs":
            return seen
        is_shown = seen == "holds"
    mapped = _mappings_compared(old, new, answer)
    return mapped if mapped == "differs" or is_shown or old.output_schema == new.output_schema else "unable"


def _schemas_compared(old: Mapping[str, Any], new: Mapping[str, Any], answer: JSON) -> Seen:
    widened = extend(old, [answer])
    before, after, there = told(old, answer), told(new, answer), told(widened, answer)
    fresh = there.named - before.named
    if before.typed - after.typed or (fresh and not fresh & after.named):
        return "differs"
    return "unable" if diff(old, widened).kind == "identical" else "holds"


def _mappings_compared(old: Operation, new: Operation, answer: JSON) -> Seen:
    """Does the mapping give what the capability promises, and the same as the best that we find?"""
    contract = CONTRACTS.get(new.capability)
    if contract is None or new.role != "task":
        return "holds"
    found = [old.response, remap(contract.result, old.response, answer)]
    ours = [new.model_copy(update={"response": each}) for each in found if each is not None]
    best = max((map_wire(each, answer) for each in ours if keeps_promise(each, answer)), key=filled, default=None)
    if not keeps_promise(new, answer):
        return "unable" if best is None else "differs"
    theirs = map_wire(new, answer)
    if best is None or theirs == best:
        is_idle = new.output_schema == old.output_schema and keeps_promise(old, answer)
        return "unable" if is_idle and theirs == map_wire(old, answer) else "holds"
    return _values_compared(dict(_values(theirs)), dict(_values(best)), new.response, set(_names(answer)))


def _values_compared(theirs: Places, best: Places, mapping: str, names: set[str]) -> Seen:
    """A value where we find another one's is a swap, and a field that is not read at all is a loss."""
    sources, seen = read_from(mapping), set[Seen]()
    for place, value in best.items():
        given = theirs.get(place)
        if given == value:
            continue
        if given is None:
            source = sources.get(place[-1], "").rsplit(".", 1)[-1]
            seen.add("differs" if not source else "holds" if source in names else "unable")
        else:
            swapped = any(other != place and other[:-1] == place[:-1] and each == given for other, each in best.items())
            seen.add("differs" if swapped else "unable")
    return "differs" if "differs" in seen else "unable" if "unable" in seen else "holds"


def _values(value: JSON, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], JSON]]:
    """Every value that is not null, by where it stands; the last name on the way is that of a field."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _values(item, (*place, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _values(item, (*place[:-1], f"{place[-1] if place else ''}[{number}]"))
    elif value is not None:
        yield place, value


def _names(value: JSON) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from _names(item)
    elif isinstance(value, list):
        for item in value:
            yield from _names(item)


def _parsed(operation: Operation, body: bytes) -> JSON:
    if operation.endpoint.media_type == "text/plain":
        return body.decode(errors="replace")
    return parse_strict(body, max_bytes=MAX_BODY_BYTES)


def _fits(operation: Operation, answer: JSON) -> bool:
    try:
        return compile_schema(operation.output_schema).is_valid(answer)
    except SchemaRefused:
        return False


def measured(replies: Sequence[Reply]) -> Metrics:
    """Median and 95th percentile of the latencies of what was answered (of everything, when nothing was), in ms, and
    the share that was answered, in permille.
    """
    answered = sorted(each.latency_ms for each in replies if each.fault is None)
    latencies = answered or sorted(each.latency_ms for each in replies)
    p95 = latencies[min(len(latencies) - 1, (len(latencies) * 95 + 99) // 100 - 1)]
    return Metrics(
        latency_ms=round(median(latencies)),
        latency_p95_ms=p95,
        reliability_permille=len(answered) * 1000 // len(replies),
    )
