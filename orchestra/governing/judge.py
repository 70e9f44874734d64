"""Is it as the proposal says? One probe of a live subnet, and what it says of the claim.

A validator confirms what it saw and nothing else, so a probe that it could not make (no key, throttled, no valid query)
is `unable` and never a denial. A schema holds when the answer fits it, when the answer is not what the Ledger says
already, and when the schema does not leave out what is new in the answer: one that accepts everything says nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Any, Protocol

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
from ledger.remapping import remap
from ledger.schema_measure import SchemaRefused
from ledger.schemas import compile_schema
from ledger.types import JSON
from ledger.view import LedgerView, OperationRef
from orchestra.subnets.caller import promise_violation
from orchestra.subnets.mapping import MAX_BODY_BYTES, MappingFailed, map_wire

SAMPLE = 10
SAMPLE_PAUSE_S = 1.0
MOST_OPERATIONS = 3
DEAD = frozenset({"unreachable", "timeout", "fault", "malformed"})
UNTOLD = frozenset({"auth", "throttled", "out_of_credit"})
"""Faults that say something about this validator's key or pace, and nothing about the claim."""


class Calls(Protocol):
    """Makes one call (`orchestra.maintenance.SubnetCalls`)."""

    async def __call__(self, ref: OperationRef, query: Mapping[str, Any], /) -> Reply: ...


@dataclass(frozen=True, slots=True)
class LiveJudge:
    """Judges by calls of this node. `view` gives the Ledger in force."""

    calls: Calls
    usable: Callable[[OperationRef], bool]
    view: Callable[[], LedgerView]
    sleep: Callable[[float], Awaitable[None]]

    async def __call__(self, probe: Probe) -> tuple[Seen, Metrics | None]:
        """What one probe saw, and for a metrics update what a sample measured."""
        proposal = probe.sent.proposal
        if isinstance(proposal, NewSubnet):
            return await self._new_subnet(proposal.body), None
        entry = self.view().entry(proposal.entry)
        if entry is None or isinstance(proposal, OwnerChange):
            return "unable", None
        if isinstance(proposal, Deprecation):
            return await self._is_dead(entry, probe.attempt), None
        operation = entry.operation(proposal.operation)
        if operation is None:
            return "unable", None
        if isinstance(proposal, MetricsUpdate):
            return await self._measure(OperationRef(entry, operation))
        return await self._schema(entry, operation, proposal), None

    async def _new_subnet(self, body: SubnetEntry) -> Seen:
        """Every operation that can be tried answers as it says; one that does not is enough. A query of ours that is
        refused tells nothing: an entry that wants to be judged says in its input schemas what may be asked.
        """
        tried: list[Seen] = []
        for operation in [each for each in body.operations if not unprobeable(each)][:MOST_OPERATIONS]:
            reply = await self._ask(OperationRef(body, operation), operation)
            answer = _parsed(operation, reply)
            if answer is not None:
                tried.append("holds" if _fits(operation, answer) else "differs")
            elif reply is not None and reply.fault in DEAD:
                tried.append("differs")
        return "differs" if "differs" in tried else "holds" if tried else "unable"

    async def _is_dead(self, entry: SubnetEntry, attempt: int) -> Seen:
        """`holds`: a call failed; `differs`: it was answered, in whatever shape. Operations take turns."""
        refs = [OperationRef(entry, each) for each in entry.operations if not unprobeable(each)]
        known = [ref for ref in refs if self.usable(ref)]
        if not known:
            return "unable"
        ref = known[attempt % len(known)]
        reply = await self._ask(ref, ref.operation)
        if reply is None or reply.fault in UNTOLD:
            return "unable"
        return "holds" if reply.fault in DEAD else "differs"

    async def _measure(self, ref: OperationRef) -> tuple[Seen, Metrics | None]:
        if unprobeable(ref.operation) or not self.usable(ref):
            return "unable", None
        replies: list[Reply] = []
        for number in count():
            reply = await self._ask(ref, ref.operation)
            if reply is None or reply.fault in UNTOLD:
                return "unable", None
            replies.append(reply)
            if number + 1 == SAMPLE:
                return "holds", measured(replies)
            await self.sleep(SAMPLE_PAUSE_S)
        raise AssertionError("unreachable")

    async def _schema(self, entry: SubnetEntry, old: Operation, proposal: SchemaUpdate) -> Seen:
        parts = {name: value for name in SCHEMA_PARTS if (value := getattr(proposal, name)) is not None}
        new = Operation.model_validate({**old.model_dump(), **parts})
        if unprobeable(new):
            return "unable"
        reply = await self._ask(OperationRef(entry, new), new)
        if reply is None or reply.fault in UNTOLD or reply.fault in ("unreachable", "timeout", "fault"):
            return "unable"
        if reply.fault == "refused":
            return "differs" if proposal.input_schema is not None else "unable"
        answer = _parsed(new, reply)
        return "holds" if answer is not None and is_as_proposed(old, new, answer) else "differs"

    async def _ask(self, ref: OperationRef, operation: Operation) -> Reply | None:
        """The cheapest valid query; None when there is none."""
        queries = example_queries(operation)
        return await self.calls(ref, queries[0]) if queries else None


def is_as_proposed(old: Operation, new: Operation, answer: JSON) -> bool:
    """Does one answer bear out a new schema and mapping? See the module for the rule."""
    if not _fits(new, answer):
        return False
    try:
        widened = extend(old.output_schema, [answer])
        if new.output_schema != old.output_schema:
            if diff(old.output_schema, widened).kind == "identical":
                return False
            changes = diff(widened, new.output_schema).changes
            if any(each.kind == "breaking" and each.after in ("absent", "any") for each in changes):
                return False
    except (SamplesRefused, SchemaRefused):
        return False
    return _maps_as_well(new, answer)


def _maps_as_well(new: Operation, answer: JSON) -> bool:
    """Does the mapping give what the capability promises, and no less than one that we would have found?"""
    contract = CONTRACTS.get(new.capability)
    if contract is None or new.role != "task":
        return True
    ours = remap(contract.result, new.response, answer)
    if ours is None:
        return True
    try:
        theirs = map_wire(new, answer)
        best = map_wire(new.model_copy(update={"response": ours}), answer)
    except MappingFailed:
        return False
    return promise_violation(new.capability, theirs) is None and _filled(theirs) >= _filled(best)


def _filled(value: JSON) -> int:
    if isinstance(value, dict):
        return sum(map(_filled, value.values()))
    if isinstance(value, list):
        return sum(map(_filled, value))
    return value is not None


def _parsed(operation: Operation, reply: Reply | None) -> JSON:
    """What was answered; None for a fault, and for what is no JSON."""
    if reply is None or reply.fault is not None or reply.body is None:
        return None
    if operation.endpoint.media_type == "text/plain":
        return reply.body.decode(errors="replace")
    try:
        return parse_strict(reply.body, max_bytes=MAX_BODY_BYTES)
    except StrictJSONError:
        return None


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
