"""Free balances: who has how much, and what happens below the existential deposit.

Rules and error names of pallet-balances (`fungible::Mutate`): an account that falls below the existential deposit is
reaped and its dust burned, unless the call promised to keep it alive. The nonce outlives the reaping, which the real
chain does not grant: here no signature can be replayed by emptying an account.
"""

from __future__ import annotations

from orchestra.devnet.chain.errors import DispatchError, ensure
from orchestra.devnet.chain.items import Balances, Local, System
from orchestra.devnet.chain.state import State


def existential_deposit(state: State) -> int:
    return state.get(Local.Spec)["existential_deposit"]


def free(state: State, who: str) -> int:
    return state.get(System.Account, who)["data"]["free"]


def nonce(state: State, who: str) -> int:
    return state.get(System.Account, who)["nonce"]


def _set_free(state: State, who: str, amount: int) -> None:
    record = state.get(System.Account, who)
    alive = int(amount > 0)
    state.put(System.Account, who, {**record, "providers": alive, "data": {**record["data"], "free": amount}})


def use_nonce(state: State, who: str) -> None:
    record = state.get(System.Account, who)
    state.put(System.Account, who, {**record, "nonce": record["nonce"] + 1})


def _issue(state: State, amount: int) -> None:
    state.put(Balances.TotalIssuance, state.get(Balances.TotalIssuance) + amount)


def mint(state: State, who: str, amount: int) -> None:
    """New money. Raises BelowMinimum when it would leave the account under the existential deposit."""
    credit(state, who, amount)
    _issue(state, amount)


def credit(state: State, who: str, amount: int) -> None:
    total = free(state, who) + amount
    ensure(total >= existential_deposit(state), "BelowMinimum")
    _set_free(state, who, total)


def debit(state: State, who: str, amount: int, *, keep_alive: bool = True) -> None:
    """Take money out of circulation or towards a `credit`.

    Raises FundsUnavailable (not enough) or NotExpendable (the rest would be under the existential deposit).
    """
    rest = free(state, who) - amount
    ensure(rest >= 0, "FundsUnavailable")
    if rest < existential_deposit(state):
        if keep_alive:
            raise DispatchError("NotExpendable")
        _issue(state, -rest)
        rest = 0
    _set_free(state, who, rest)


def burn(state: State, who: str, amount: int) -> None:
    """Destroy money, keeping the account alive."""
    debit(state, who, amount)
    _issue(state, -amount)


def transfer(state: State, source: str, dest: str, amount: int, *, keep_alive: bool) -> None:
    """Move money. Total issuance changes only by reaped dust."""
    if source == dest:
        ensure(free(state, source) >= amount, "FundsUnavailable")
        return
    debit(state, source, amount, keep_alive=keep_alive)
    credit(state, dest, amount)
