"""pallet-balances: transfers."""

from __future__ import annotations

from orchestra.devnet.chain import accounts
from orchestra.devnet.chain.calls.base import U64, Context, account, boolean, call


def _transfer(ctx: Context, dest: str, value: int, *, keep_alive: bool) -> None:
    accounts.transfer(ctx.state, ctx.signer, dest, value, keep_alive=keep_alive)
    ctx.emit("Balances", "Transfer", {"from": ctx.signer, "to": dest, "amount": value})


@call("Balances", "transfer_keep_alive", dest=account, value=U64)
def transfer_keep_alive(ctx: Context, dest: str, value: int) -> None:
    _transfer(ctx, dest, value, keep_alive=True)


@call("Balances", "transfer_allow_death", dest=account, value=U64)
def transfer_allow_death(ctx: Context, dest: str, value: int) -> None:
    _transfer(ctx, dest, value, keep_alive=False)


@call("Balances", "transfer_all", dest=account, keep_alive=boolean)
def transfer_all(ctx: Context, dest: str, keep_alive: bool) -> None:
    spare = accounts.existential_deposit(ctx.state) if keep_alive else 0
    amount = max(0, accounts.free(ctx.state, ctx.signer) - spare)
    _transfer(ctx, dest, amount, keep_alive=keep_alive)
