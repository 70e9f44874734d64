"""The local chain's state machine without process, disk or signatures: for tests of the rules themselves."""

from __future__ import annotations

from typing import Any

from orchestra.devnet.chain import views
from orchestra.devnet.chain.errors import PoolError
from orchestra.devnet.chain.extrinsic import Extrinsic
from orchestra.devnet.chain.genesis import Genesis, build
from orchestra.devnet.chain.items import Item
from orchestra.devnet.chain.runtime import Block, Runtime
from orchestra.devnet.chain.state import History, State, changed
from tests.chainproc import one_subnet, ss58

SIGNATURE = "0x" + "00" * 64


def signature_is_fine(address: str, message: bytes, signature: bytes) -> bool:
    return True


class PureChain:
    """Blocks from calls, in memory. `error = chain.call(...)` is None or the runtime's error name."""

    def __init__(self, genesis: dict[str, Any] | None = None) -> None:
        parsed = Genesis.model_validate(one_subnet() if genesis is None else genesis)
        self.runtime = Runtime(parsed.hash, signature_is_fine)
        self.history = History()
        self.history.record(0, build(parsed))
        self.number, self.hash = 0, parsed.hash

    @property
    def state(self) -> State:
        return State(self.history, self.number)

    def get(self, item: Item, *key: Any) -> Any:
        return self.state.get(item, *key)

    def produce(self, *extrinsics: Extrinsic) -> Block:
        block = self.runtime.build(self.state, self.hash, extrinsics, 1000 * (self.number + 1))
        changes = changed(self.history, self.number, block.changes)
        self.history.record(block.number, changes)
        self.number, self.hash = block.number, block.hash
        return block

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.produce()

    def sign(self, signer: str, module: str, function: str, ahead: int = 0, **params: Any) -> Extrinsic:
        """The next extrinsic of an account (`signer` is a development URI or an address)."""
        address = ss58(signer) if signer.startswith("/") else signer
        nonce = views.query(self.state, "System", "Account", [address])["nonce"] + ahead
        return Extrinsic(module, function, params, address, nonce, self.number, 128, SIGNATURE)

    def call(self, signer: str, module: str, function: str, **params: Any) -> str | None:
        """Put one call into the next block. A refusal by the pool is returned as its text."""
        extrinsic = self.sign(signer, module, function, **params)
        try:
            self.runtime.validate(self.state, extrinsic)
        except PoolError as error:
            return error.message
        (outcome,) = self.produce(extrinsic).outcomes
        return outcome.error

    def weights(
        self, signer: str, dests: list[int], values: list[int], netuid: int = 2, mecid: int = 0, key: int = 0
    ) -> str | None:
        return self.call(
            signer, "SubtensorModule", "set_mechanism_weights",
            netuid=netuid, mecid=mecid, dests=dests, weights=values, version_key=key,
        )  # fmt: skip

    def serve(
        self, signer: str, ip: int = 0x7F000002, port: int = 8091, ip_type: int = 4, netuid: int = 2
    ) -> str | None:
        return self.call(
            signer, "SubtensorModule", "serve_axon", netuid=netuid, version=1, ip=ip, port=port, ip_type=ip_type,
            protocol=4, placeholder1=0, placeholder2=0,
        )  # fmt: skip

    def commit(self, signer: str, *fields: Any, netuid: int = 2) -> str | None:
        return self.call(signer, "Commitments", "set_commitment", netuid=netuid, info={"fields": list(fields)})

    def register(self, coldkey: str, hotkey: str, netuid: int = 2) -> str | None:
        return self.call(coldkey, "SubtensorModule", "burned_register", netuid=netuid, hotkey=ss58(hotkey))

    def admin(self, function: str, owner: str = "//Alice", netuid: int = 2, **params: Any) -> str | None:
        return self.call(owner, "AdminUtils", function, netuid=netuid, **params)


def succeed(*errors: str | None) -> None:
    """All of these calls were included and succeeded."""
    assert set(errors) == {None}, errors


def busy_chain() -> State:
    """A state in which nearly every item has an entry: all kinds of calls, two mechanisms, several epochs."""
    genesis = one_subnet(max_allowed_uids=64, min_allowed_uids=1)
    genesis["subnets"][0]["identity"] = {"subnet_name": "Orchestra", "description": "uses the others"}
    chain = PureChain(genesis)
    sub = "SubtensorModule"
    texts = {
        name: "0x" + name.encode().hex()
        for name in ("name", "url", "github_repo", "image", "discord", "description", "additional")
    }
    succeed(
        chain.admin("sudo_set_mechanism_count", mechanism_count=2),
        chain.admin("sudo_set_mechanism_emission_split", maybe_split=[39321, 26214]),
        chain.serve("//m0"), chain.serve("//m1", ip=2**127 + 5, ip_type=6),
        chain.call("//m2", sub, "serve_prometheus", netuid=2, version=1, ip=0x01020304, port=90, ip_type=4),
        chain.weights("//v0", [2, 3], [20000, 65535]), chain.weights("//v1", [2, 3, 4], [1, 2, 3]),
        chain.weights("//v0", [4], [65535], mecid=1), chain.weights("//v1", [2, 4], [1, 9], mecid=1),
        chain.commit("//m0", {"Sha256": "0x" + "ab" * 32}, {"Raw5": "0x68656c6c6f"}, "None"),
        chain.commit("//m1", {"TimelockEncrypted": {"encrypted": "0x" + "cd" * 40, "reveal_round": 7}}),
        chain.register("//Bob", "//new"),
        chain.call("//Bob", sub, "add_stake", hotkey=ss58("//v0"), netuid=2, amount_staked=5 * 10**9),
        chain.call("//Bob", sub, "add_stake", hotkey=ss58("//v0"), netuid=0, amount_staked=7 * 10**9),
        chain.call("//m0//cold", sub, "set_identity", **texts),
        chain.call("//Bob", "Balances", "transfer_keep_alive", dest=ss58("//Charlie"), value=10**9),
    )  # fmt: skip
    chain.step(25)
    succeed(
        chain.call("//Bob", sub, "register_network", hotkey=ss58("//Bob//hot")),
        chain.admin("sudo_set_commit_reveal_weights_enabled", enabled=True),
        chain.call("//v0", sub, "commit_timelocked_mechanism_weights", netuid=2, mecid=0, commit="0x" + "11" * 60,
                   reveal_round=9, commit_reveal_version=4),
    )  # fmt: skip
    return chain.state
