"""Rao inside, TAO at the edges: exact both ways, because money never passes through a float."""

from __future__ import annotations

from decimal import Decimal

from ledger.types import RAO_PER_TAO


def rao(amount_tao: str) -> int:
    """Decimal TAO as rao. Callers have checked its form; digits beyond the ninth are cut off."""
    return int(Decimal(amount_tao) * RAO_PER_TAO)


def tao(amount_rao: int | str) -> str:
    """Rao as decimal TAO, without a trailing zero too many."""
    amount = int(amount_rao)
    whole, part = divmod(abs(amount), RAO_PER_TAO)
    return ("-" if amount < 0 else "") + f"{whole}.{part:09d}".rstrip("0").rstrip(".")
