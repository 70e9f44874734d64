"""The one evaluator of declared computations: the synthesiser derives with it and the auditor recomputes with it.

Arithmetic is decimal, so that two machines agree on every digit. A cited value counts as the decimal number it is
written as (`1.99`, `"$1.99"`, `"1.99 USD/h"`: the first number in a string). Only `mean` and `median` divide; their
quotient, and every result, is rounded half-even to `PLACES` decimal places.

| op | result over the cited values, in the order they are cited |
| --- | --- |
| min, max, sum | as named |
| mean, median | arithmetic mean; middle value, or the mean of the two middle ones |
| difference | the first minus all that follow |
| rank | 1-based position of the first among all, smallest first; equal values share the better position |
| scale | the one value, or the one result below it, times `by` |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation, localcontext
from typing import Any

from orchestra.protocol import Derivation, Source
from orchestra.synthesis.numbers import first_number

PLACES = 6
MAX_DEPTH = 8
_QUANTUM = Decimal(1).scaleb(-PLACES)

Lookup = Callable[[Source], Any]
"""The value a source points at. It raises `LookupError` where the pointer resolves to nothing."""


class DerivationError(ValueError):
    """A derivation that cannot be computed: no number at a source, too few values, a missing or needless factor."""


def evaluate(derivation: Derivation, lookup: Lookup) -> int | float:
    """The value of a derivation; an int when it is whole and every cited value is an int or a whole number in text.

    Raises:
        DerivationError: as the class says, or a source that `lookup` cannot find.
    """
    with localcontext(Context(prec=40, rounding=ROUND_HALF_EVEN)):
        try:
            return _plain(_evaluate(derivation, lookup, MAX_DEPTH).quantize(_QUANTUM), derivation, lookup)
        except InvalidOperation:
            raise DerivationError("a cited number is too large to compute with") from None


def sources_of(derivation: Derivation) -> tuple[Source, ...]:
    """Every source that a derivation cites, in order."""
    return sources_of(derivation.of) if isinstance(derivation.of, Derivation) else derivation.of


def _evaluate(derivation: Derivation, lookup: Lookup, depth: int) -> Decimal:
    if depth == 0:
        raise DerivationError("nested too deeply")
    if (derivation.by is not None) != (derivation.op == "scale"):
        raise DerivationError("a factor belongs to scale, and only there")
    if isinstance(derivation.of, Derivation):
        values = [_evaluate(derivation.of, lookup, depth - 1)]
    else:
        values = [_number(source, lookup) for source in derivation.of]
    return _apply(derivation.op, values, Decimal(derivation.by or 1))


def _apply(op: str, values: Sequence[Decimal], by: Decimal) -> Decimal:
    if not values or (op == "scale" and len(values) > 1) or (op == "difference" and len(values) < 2):
        raise DerivationError(f"{op} over {len(values)} values")
    ordered = sorted(values)
    middle = len(ordered) // 2
    match op:
        case "min":
            return ordered[0]
        case "max":
            return ordered[-1]
        case "sum":
            return sum(values, Decimal(0))
        case "mean":
            return sum(values, Decimal(0)) / len(values)
        case "median":
            return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
        case "difference":
            return values[0] - sum(values[1:], Decimal(0))
        case "rank":
            return Decimal(1 + ordered.index(values[0]))
        case _:
            return values[0] * by


def _number(source: Source, lookup: Lookup) -> Decimal:
    try:
        found = lookup(source)
    except LookupError:
        raise DerivationError(f"step {source.step} has nothing at {source.pointer!r}") from None
    number = first_number(found)
    if number is None:
        raise DerivationError(f"step {source.step} has no number at {source.pointer!r}")
    return number


def _plain(value: Decimal, derivation: Derivation, lookup: Lookup) -> int | float:
    if value != value.to_integral_value():
        return float(value)
    whole = all(_is_whole(lookup(source)) for source in sources_of(derivation))
    return int(value) if derivation.op == "rank" or whole else float(value)


def _is_whole(found: Any) -> bool:
    number = first_number(found)
    return not isinstance(found, float) and number is not None and number == number.to_integral_value()
