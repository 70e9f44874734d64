"""The fifth check: does every value of the result stand where its provenance says, or follow from what stands there?

Support and derivation are the synthesiser's own functions, so an honest miner passes by construction. A citation that
the revealed bytes contradict is a lie under the miner's signature and refutes; a value without a usable citation only
does not count as present.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ledger.types import JSON
from orchestra.proofs.codes import Code
from orchestra.proofs.findings import Finding
from orchestra.protocol import Derivation, OrchestraResponse, Source
from orchestra.schema import TargetSchema
from orchestra.schema.pointers import PointerError, leaf_pointers, resolve_pointer, split_pointer
from orchestra.schema.shapes import DictOf, ListOf, Nullable, Record, Shape, is_free_text
from orchestra.synthesis.derivation import DerivationError, evaluate, sources_of
from orchestra.synthesis.support import normalised, supports

MAX_WORK = 16 << 20
"""So many characters of cited text are compared for one answer: some seconds at worst."""
MAX_LISTED = 1_000
"""So many values without provenance are listed."""


def check_provenance(
    schema: TargetSchema, response: OrchestraResponse, outputs: Mapping[int, JSON]
) -> tuple[tuple[Finding, ...], frozenset[str]]:
    """Findings for every provenance entry and every value that has none, and the pointers whose source holds."""
    check = _Provenance(schema, response, outputs)
    findings = [check.entry(pointer, origin) for pointer, origin in sorted(response.provenance.items())]
    held = (Code.SUPPORTED, Code.DERIVED)
    sourced = frozenset(each.pointer for each in findings if each.code in held and each.pointer is not None)
    return (*findings, *_unsourced(response)), sourced


def _unsourced(response: OrchestraResponse) -> Iterator[Finding]:
    listed = 0
    for pointer, value in leaf_pointers(response.standardized_data).items():
        empty = value is None or value in ("", [], {})
        if not empty and listed < MAX_LISTED and not _covered(pointer, response.provenance):
            listed += 1
            yield Finding(Code.VALUE_UNSOURCED, pointer=pointer)


def _covered(pointer: str, provenance: Mapping[str, Any]) -> bool:
    """Is there an entry for this value, or for one that holds it?"""
    while pointer not in provenance and pointer:
        pointer = pointer.rpartition("/")[0]
    return pointer in provenance


@dataclass(slots=True)
class _Provenance:
    schema: TargetSchema
    response: OrchestraResponse
    outputs: Mapping[int, JSON]
    work: int = 0

    def entry(self, pointer: str, origin: tuple[Source, ...] | Derivation) -> Finding:
        try:
            value = resolve_pointer(self.response.standardized_data, pointer)
        except PointerError:
            return Finding(Code.PROVENANCE_DANGLING, pointer=pointer)
        prose = is_free_text_at(self.schema.shape, pointer)
        sources = tuple(dict.fromkeys(sources_of(origin) if isinstance(origin, Derivation) else origin))
        for source in sources:  # each once: a long list that is cited a hundred thousand times is compared once
            if problem := self._problem(source, local_counts=prose and not isinstance(origin, Derivation)):
                return Finding(problem, step=source.step, pointer=pointer)
        if not sources:
            return Finding(Code.VALUE_UNSOURCED, pointer=pointer)
        if self.work > MAX_WORK:
            return Finding(Code.TOO_MUCH_TO_CHECK, pointer=pointer)
        if isinstance(origin, Derivation):
            return self._derived(pointer, origin, value)
        return self._supported(pointer, sources, value, prose=prose)

    def _problem(self, source: Source, *, local_counts: bool) -> Code | None:
        """Why a source cannot be looked at, or what is wrong with it whatever the value."""
        steps = self.response.task_pipeline
        if source.step > len(steps) or steps[source.step - 1].error is not None:
            return Code.SOURCE_INVALID
        if steps[source.step - 1].subnet == "local" and not local_counts:
            return Code.SOURCE_NOT_ALLOWED
        if source.step not in self.outputs:
            return Code.SOURCE_UNREVEALED
        try:
            found = self._found(source)
        except PointerError:
            return Code.SOURCE_UNRESOLVED
        self.work += self._weight(found)
        return None

    def _weight(self, found: JSON) -> int:
        """Characters that are compared: of a text, as it reads once normalised, where one may stand for eighteen."""
        if not isinstance(found, str):
            return 1
        return len(found) if self.work > MAX_WORK else max(len(found), len(normalised(found)))

    def _found(self, source: Source) -> JSON:
        return resolve_pointer(self.outputs[source.step], source.pointer)

    def _derived(self, pointer: str, origin: Derivation, value: JSON) -> Finding:
        try:
            holds = supports(evaluate(origin, self._found), value)
        except DerivationError:
            holds = False
        return Finding(Code.DERIVED if holds else Code.DERIVATION_MISMATCH, pointer=pointer)

    def _supported(self, pointer: str, sources: tuple[Source, ...], value: JSON, *, prose: bool) -> Finding:
        """Every source must contain the value; of prose, one must, and the others are what it was written from."""
        held = [self._holds(source, value) for source in sources]
        if any(held) if prose else all(held):
            return Finding(Code.SUPPORTED, pointer=pointer)
        return Finding(Code.VALUE_UNSUPPORTED, step=sources[held.index(False)].step, pointer=pointer)

    def _holds(self, source: Source, value: JSON) -> bool:
        found = self._found(source)
        return found == value if value is None or value in ("", [], {}) else supports(found, value)


def is_free_text_at(shape: Shape, pointer: str) -> bool:
    """Does the target_schema declare the value at this pointer as prose?"""
    here: Shape | None = shape
    for part in split_pointer(pointer):
        here = _below(here, part)
    return here is not None and is_free_text(here)


def _below(shape: Shape | None, part: str) -> Shape | None:
    match shape:
        case Nullable(inner):
            return _below(inner, part)
        case ListOf(item):
            return item
        case DictOf(value):
            return value
        case Record(fields, extra):
            return next((field.shape for field in fields if field.name == part), extra)
        case _:
            return None
