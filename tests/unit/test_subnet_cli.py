"""`scripts/subnet` as an owner uses it: each call shown and encoded first, sent once, never on finney by accident."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import bittensor as bt
import pytest
from bittensor._transport.codec import RuntimeCodec
from bittensor.settings import FINNEY_GENESIS_HASH
from typer.testing import CliRunner, Result

from orchestra.chain import Chain, RuntimeMismatch, RuntimeTooOld, calls, dev_signer, owner
from orchestra.subnet_cli import app
from tests.chainproc import TAO, one_subnet, running_chain, ss58
from tests.fakes.rpc_node import HEAD, RpcNode, running_node
from tests.metadata import runtime_codec

NETUID = 2
ALICE = ss58("//Alice")
WEIGHTS = bt.SetWeights(netuid=NETUID, weights={0: 1.0})  # pyright: ignore[reportArgumentType]


async def run(*arguments: str) -> Result:
    """The command in a thread: it runs a loop of its own, as it does from a shell."""
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


async def documents(*arguments: str) -> list[dict[str, Any]]:
    result = await run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def node(**options: Any) -> RpcNode:
    """A node of the real runtime with one subnet that follows none of our rules yet."""
    made = RpcNode(runtime_codec(), **options)
    made.store("NetworksAdded", [NETUID], True)
    made.store("MinAllowedWeights", [NETUID], 8)
    made.calls["SubnetRegistrationRuntimeApi_get_network_registration_cost"] = "0x" + (TAO).to_bytes(8, "little").hex()
    return made


COMMANDS = {
    "create": ["SubtensorModule.register_network"],
    f"activate --netuid {NETUID}": ["SubtensorModule.start_call"],
    f"configure --netuid {NETUID} --profile public": [
        "AdminUtils.sudo_set_tempo",
        "AdminUtils.sudo_set_immunity_period",
        "AdminUtils.sudo_set_min_allowed_weights",
        "AdminUtils.sudo_set_max_allowed_uids",
    ],
    f"mechanisms --netuid {NETUID} --split 60/40": [
        "AdminUtils.sudo_set_max_allowed_uids",
        "AdminUtils.sudo_set_mechanism_count",
        "AdminUtils.sudo_set_mechanism_emission_split",
    ],
    f"identity --netuid {NETUID} --github-repo https://git.example/orchestra": ["SubtensorModule.set_subnet_identity"],
}


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_dry_run_shows_each_call_with_its_real_encoding_and_sends_nothing(command: str) -> None:
    codec = runtime_codec()
    async with running_node(node()) as running:
        shown = await documents(*command.split(), "--network", running.url, "--dev-key", "//Alice", "--dry-run")
        text = (await run(*command.split(), "--network", running.url, "--dev-key", "//Alice", "--dry-run")).stdout
    assert [one["call"] for one in shown] == COMMANDS[command]
    for one in shown:
        assert not one["sent"]
        decoded = codec.decode_call(bytes.fromhex(one["encoded"].removeprefix("0x")))
        assert f"{decoded['call_module']}.{decoded['call_function']}" == one["call"]
        assert [argument["name"] for argument in decoded["call_args"]] == list(one["args"])
        assert f"would send  {one['call']}" in text
        assert one["encoded"] in text
        assert all(f"    {name} = " in text for name in one["args"])
    assert not any(method.startswith("author_") for method in running.asked)


async def test_sixty_forty_is_encoded_as_published() -> None:
    async with running_node(node()) as running:
        shown = await documents(
            "mechanisms", "--netuid", str(NETUID), "--split", "60/40", "--network", running.url, "--dry-run"
        )
    assert shown[-1]["args"] == {"netuid": NETUID, "maybe_split": [39321, 26214]}
    assert shown[-1]["encoded"].endswith(
        "0108" + (39321).to_bytes(2, "little").hex() + (26214).to_bytes(2, "little").hex()
    )


@pytest.mark.parametrize("command", COMMANDS)
async def test_the_main_network_is_refused_by_its_genesis_whatever_its_name(command: str) -> None:
    async with running_node(node(genesis=FINNEY_GENESIS_HASH)) as running:
        arguments = [*command.split(), "--network", running.url, "--dev-key", "//Alice", "--dry-run"]
        refused = await run(*arguments)
        assert refused.exit_code == 1
        assert "--yes-i-mean-finney" in refused.stderr
        assert refused.stdout == ""
        assert (await run(*arguments, "--yes-i-mean-finney")).exit_code == 0


async def test_the_rpc_backend_connects_checks_reads_and_encodes() -> None:
    start = calls.start_call(7)
    async with running_node(node()) as running, await Chain.open(running.url) as chain:
        assert await chain.spec_version() == runtime_codec().spec_version
        assert (await chain.head()).number == HEAD
        assert await chain.encode(start) == "0x" + runtime_codec().compose_call(*start).data.hex()
        assert (await chain.hyperparameters(NETUID)).min_allowed_weights == 8


async def test_a_runtime_older_than_the_sdk_says_so_when_weights_are_set() -> None:
    made = node()
    made.store("Uids", [NETUID, ALICE], 0)
    async with running_node(made) as running, await Chain.open(running.url) as chain:
        with pytest.raises(RuntimeTooOld, match=r"spec 461.*SubnetEpochConsensus"):
            await chain.link.run("weights", lambda session: session.client.plan(WEIGHTS, dev_signer("//Alice")))


async def test_a_runtime_that_takes_other_arguments_is_refused_at_the_door() -> None:
    real = runtime_codec()
    renamed = real.metadata_bytes.replace(b"maybe_split", b"other_split")
    codec = RuntimeCodec(renamed, spec_version=999, transaction_version=1, spec_name="node-subtensor")
    async with running_node(RpcNode(codec, genesis="0x" + "22" * 32)) as running:
        with pytest.raises(RuntimeMismatch, match=r"spec 999.*other_split.*we send \(netuid, maybe_split\)"):
            await Chain.open(running.url)


async def test_the_owners_walk_on_a_local_chain_is_sent_once(tmp_path: Path) -> None:
    async with running_chain(tmp_path, one_subnet()) as chain:
        network = ["--network", f"orchestra-local:{chain.port}", "--dev-key", "//Bob"]
        (created,) = await documents("create", *network)
        assert created["ok"]
        assert await documents("create", *network) == []
        (netuid,) = created["owned"]
        subnet = ["--netuid", str(netuid), *network]
        walk = [
            ["activate", *subnet],
            ["configure", *subnet, "--set", "immunity_period=77"],
            ["mechanisms", *subnet, "--split", "60/40"],
            ["identity", *subnet, "--subnet-url", "https://orchestra.example"],
        ]
        for command in walk:
            sent = await documents(*command)
            assert sent, command
            assert all(one["ok"] for one in sent)
            assert await documents(*command) == [], f"{command[0]} sends something twice"
        result = await run("status", "--netuid", str(netuid), "--network", network[1], "--json")
        shown = json.loads(result.stdout)
    assert (shown["owner"], shown["active"], shown["identity"]) == (ss58("//Bob"), True, "Orchestra")
    assert (shown["mechanisms"], shown["mechanism_split"]) == (2, [39321, 26214])
    values = {one["name"]: one["value"] for one in shown["hyperparameters"]}
    assert values == {**{name: rule.value for name, rule in owner.LOCAL.items()}, "immunity_period": 77}


async def test_a_refused_call_says_why_and_exits_1_and_the_rest_is_sent(tmp_path: Path) -> None:
    async with running_chain(tmp_path, one_subnet(max_allowed_uids=256)) as chain:
        network = ["--network", f"orchestra-local:{chain.port}", "--dev-key", "//Alice"]
        result = await run("configure", "--netuid", str(NETUID), *network, "--set", "tempo=3")
        assert result.exit_code == 1
        assert "refused (" in result.stdout
        assert "included in 0x" in result.stdout
        stranger = await run(
            "configure", "--netuid", str(NETUID), *network[:2], "--dev-key", "//Bob", "--set", "tempo=360"
        )
    assert stranger.exit_code == 1
    assert "refused (not_authorized)" in stranger.stdout
    assert "then run this again" in stranger.stdout
    assert ".." not in stranger.stdout


async def test_a_subnet_is_not_made_without_its_price_nor_said_to_be_owned_when_refused(tmp_path: Path) -> None:
    async with running_chain(tmp_path, one_subnet()) as chain:
        network = ["--network", f"orchestra-local:{chain.port}"]
        poor = await run("create", *network, "--dev-key", "//Ferdie")
        shown = await run("create", *network, "--dev-key", "//Ferdie", "--dry-run")
        async with await Chain.open(network[1]) as door:
            price = await door.subnet_cost_rao()
            assert (await door.transfer(dev_signer("//Alice"), ss58("//Ferdie"), price)).ok
        refused = await run("create", *network, "--dev-key", "//Ferdie")
    assert poor.exit_code == 1
    assert poor.stderr.startswith("error: Not enough: send ")
    assert "sending" not in poor.stdout
    assert (shown.exit_code, "would send" in shown.stdout) == (0, True)
    assert refused.exit_code == 1, "nothing is left for the fee"
    assert "refused (" in refused.stdout
    assert "now owns" not in refused.stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ("configure --netuid 2 --set bogus=1", "NAME one of tempo"),
        ("configure --netuid 2 --set tempo=true", "NAME=NUMBER"),
        ("configure --netuid 2 --set commit_reveal_weights_enabled=1", "true|false"),
        ("configure --netuid 2 --profile none", "public or local"),
        ("mechanisms --netuid 2 --split 60/41", "--split 60/40"),
        ("mechanisms --netuid 2 --split half", "--split 60/40"),
        ("activate --netuid 77", "scripts/subnet create"),
        ("create --wallet.name nobody", "orchestra wallet new"),
    ],
)
async def test_what_cannot_be_done_is_one_line_that_says_what_can(tmp_path: Path, arguments: str, hint: str) -> None:
    async with running_node(node()) as running:
        result = await run(*arguments.split(), "--network", running.url, "--wallet.path", str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert hint in result.stderr


async def test_development_keys_sign_on_local_chains_only() -> None:
    result = await run("create", "--network", "test", "--dev-key", "//Alice")
    assert (result.exit_code, "--dev-key is for local chains" in result.stderr) == (1, True)


def test_the_script_starts_from_anywhere_and_teaches(tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[2] / "scripts" / "subnet"
    done = subprocess.run([str(script), "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for word in ("create", "activate", "configure", "mechanisms", "identity", "status", "--dry-run"):
        assert word in done.stdout
