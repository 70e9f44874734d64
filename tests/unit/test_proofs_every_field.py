"""Every field of every part of an answer, changed one at a time: none is outside leaves, root and signature.

The property test draws changes; this one leaves none out, and fails when the protocol gets a field that it does not
fill.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from ledger.canonical import canonical, parse_strict
from orchestra.proofs import Code
from orchestra.protocol import Derivation, Gap, LedgerProposal, OrchestraResponse, Source, StepError
from tests import proofkit as kit
from tests.property.test_proofs import at, check, places, refused, same

OTHER_VALUES: tuple[Any, ...] = (None, True, 0, 2, 0.5, "", "x", [], [1], {}, {"x": 1})


def full_answer() -> OrchestraResponse:
    """An answer in which nothing is left at its default."""
    story = kit.make_story()
    story.change(2, error=StepError(kind="fault", detail="broken", status=500), response=b"oops")
    story.provenance["/cheapest"] = Derivation(
        op="scale", by="1.0", of=Derivation(op="min", of=(Source(step=3, pointer="/data/0/price"),))
    )
    story.gaps = (Gap(fields=("/offers",), capability="web_search", reason="no more of them"),)
    story.proposals = (
        LedgerProposal(
            kind="schema_update",
            entry="desearch",
            operation="web_search",
            change={"type": "object"},
            evidence=(kit.h("leaf"),),
        ),
    )
    return story.seal()[0]


def filled(value: Any) -> Iterator[tuple[type[BaseModel], str]]:
    """Every (message part, field) that holds something."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            part = getattr(value, name)
            if part not in (None, "", (), {}):
                yield type(value), name
            yield from filled(part)
    elif isinstance(value, dict | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from filled(part)


def test_no_field_of_any_part_is_left_empty() -> None:
    answer = full_answer()
    seen = set(filled(answer))
    parts = {part for part, _ in seen}
    assert {part.__name__ for part in parts} == {*OrchestraResponse.model_json_schema()["$defs"], "OrchestraResponse"}
    assert seen == {(part, name) for part in parts for name in part.model_fields}
    assert check(answer.to_wire()).sound


def test_every_value_in_every_place_is_bound_by_the_code_that_belongs_to_it() -> None:
    raw = full_answer().to_wire()
    original: Any = parse_strict(raw)
    changes = 0
    for way in places(original):
        for value in near(at(original, way)):
            mutated = copy.deepcopy(original)
            at(mutated, way[:-1])[way[-1]] = value
            refused(check(canonical(mutated)), way)
            changes += 1
    assert changes > 1_000


def near(value: Any) -> Iterator[Any]:
    """Values that a reader could mistake for this one, and two of other types."""
    others = [other for other in OTHER_VALUES if not same(other, value)]
    candidates = others[:: max(1, len(others) // 3)]
    if isinstance(value, str):
        candidates += [value + " ", value[:-1], value.swapcase(), value + "\u200b", value.replace("a", "\u0430")]
        candidates += [int(value)] if value.isdigit() else []
    elif isinstance(value, bool | int | float):
        candidates += [value + 1, -value - 1, str(value)]
    elif isinstance(value, list):
        candidates += [[*value, *value[:1]], value[:-1], value[::-1]]
    elif isinstance(value, dict):
        candidates += [dict(list(value.items())[:-1]), {**value, "x": None}]
    yield from (each for each in candidates if not same(each, value))


def test_a_name_that_only_looks_the_same_is_another() -> None:
    """Keys are compared by their characters: no two spellings of one name, and no second copy of it."""
    raw = full_answer().to_wire()
    for lookalike in (b"total_cost ", "t\u043etal_cost".encode(), b"Total_cost", "total\uff3fcost".encode()):
        swapped = raw.replace(b'"total_cost"', b'"' + lookalike + b'"')
        assert {each.code for each in check(swapped).findings} == {Code.INVALID_MESSAGE}
        extra = raw[:-1] + b',"' + lookalike + b'":"1"}'
        assert Code.SIGNATURE_INVALID in {each.code for each in check(extra).findings}
    twice = raw[:-1] + b',"tot\\u0061l_cost":"1"}'
    assert {each.code for each in check(twice).findings} == {Code.DUPLICATE_KEY}
