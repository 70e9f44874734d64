"""`orchestra wallet` and `orchestra register` as a newcomer meets them: files, refusals, what to type next."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import resource
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from orchestra.chain import (
    WalletLocked,
    WalletMissing,
    dev_signer,
    load_coldkey,
    load_signer,
    verify_signature,
    wallet_address,
)
from orchestra.wallet_cli import app, tao
from tests.chainproc import one_subnet, running_chain


def run(*arguments: str, env: dict[str, str] | None = None, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, env=env, input=stdin)


def new(path: Path, *more: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    result = run("wallet", "new", "--wallet.path", str(path), "--no-password", "--json", *more, env=env)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(result: Result) -> str:
    """The one line of a refusal."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_new_makes_both_keys_readable_by_the_owner_alone_and_says_nothing_secret(tmp_path: Path) -> None:
    result = run("wallet", "new", "--wallet.path", str(tmp_path), "--wallet.name", "m", "--no-password")
    assert result.exit_code == 0
    files = {file.relative_to(tmp_path).as_posix(): file for file in tmp_path.rglob("*") if file.is_file()}
    assert set(files) == {"m/coldkey", "m/coldkeypub.txt", "m/hotkeys/default", "m/hotkeys/defaultpub.txt"}
    for name in ("m/coldkey", "m/hotkeys/default"):
        assert stat.S_IMODE(files[name].stat().st_mode) == 0o600
        secret = json.loads(files[name].read_text())
        assert not any(secret[field] in result.output for field in ("secretPhrase", "secretSeed", "privateKey"))
    assert load_signer("m", "default", str(tmp_path)).ss58_address in result.output
    assert load_coldkey("m", str(tmp_path)).ss58_address in result.output
    assert "back it up" in result.output


@pytest.mark.parametrize("room", [0, 200, 400])
def test_a_full_disk_leaves_no_half_wallet(room: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "orchestra.wallet_cli", "wallet", "new", "--no-password"]
    limits = (room, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    done = subprocess.run(
        [*command, "--wallet.path", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits),
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: Cannot write below {tmp_path} (")
    assert run("wallet", "list", "--wallet.path", str(tmp_path)).stdout.startswith("No wallets")
    made = new(tmp_path)
    assert load_coldkey("default", str(tmp_path)).ss58_address == made["coldkey"]
    assert load_signer("default", "default", str(tmp_path)).ss58_address == made["hotkeys"]["default"]


def test_the_mnemonic_is_printed_on_request_and_recovers_the_key(tmp_path: Path) -> None:
    made = new(tmp_path, "--show-mnemonic")
    assert set(made["mnemonic"]) == {"coldkey", "hotkey"}
    assert dev_signer(made["mnemonic"]["hotkey"]).ss58_address == made["hotkeys"]["default"]
    assert "mnemonic" not in new(tmp_path, "--wallet.name", "quiet")


def test_a_second_hotkey_joins_the_coldkey_and_nothing_is_overwritten(tmp_path: Path) -> None:
    first = new(tmp_path)
    second = new(tmp_path, "--wallet.hotkey", "two")
    assert second["coldkey"] == first["coldkey"]
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    line = refused(run("wallet", "new", "--wallet.path", str(tmp_path), "--no-password"))
    assert "already has a hotkey 'default'" in line
    assert "orchestra wallet show" in line
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_not_even_a_public_key_without_its_key_is_overwritten(tmp_path: Path) -> None:
    new(tmp_path)
    (tmp_path / "default/hotkeys/default").unlink()
    kept = (tmp_path / "default/hotkeys/defaultpub.txt").read_bytes()
    assert "defaultpub.txt exists" in refused(run("wallet", "new", "--wallet.path", str(tmp_path), "--no-password"))
    assert (tmp_path / "default/hotkeys/defaultpub.txt").read_bytes() == kept
    assert not (tmp_path / "default/hotkeys/default").exists()


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wallet whose password was asked for (stretching it takes seconds, hence once)."""
    path = tmp_path_factory.mktemp("wallets")
    result = run("wallet", "new", "--wallet.path", str(path), env={"BT_WALLET_PASSWORD": ""}, stdin="same\nsame\n")
    assert result.exit_code == 0, result.output
    return path


def test_with_a_password_the_coldkey_is_encrypted_and_the_hotkey_is_not(encrypted: Path) -> None:
    assert load_signer("default", "default", str(encrypted)).ss58_address
    with pytest.raises(WalletLocked, match="set BT_WALLET_PASSWORD"):
        load_coldkey("default", str(encrypted))
    assert b"secretPhrase" not in (encrypted / "default/coldkey").read_bytes()


def test_a_wrong_password_is_one_line(encrypted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BT_WALLET_PASSWORD", "wrong")
    with pytest.raises(WalletLocked, match="wrong password"):
        load_coldkey("default", str(encrypted))


async def test_at_a_terminal_the_password_is_asked_for(encrypted: Path, tmp_path: Path) -> None:
    async with running_chain(tmp_path, one_subnet()) as chain:
        keyboard, terminal = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "orchestra.wallet_cli", "register", "--netuid", "2", "--fund-from", "//Alice"),
            *("--network", f"orchestra-local:{chain.port}", "--wallet.path", str(encrypted)),
            stdin=terminal,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name != "BT_WALLET_PASSWORD"},
            start_new_session=True,
        )
        os.close(terminal)
        assert process.stderr is not None
        try:
            async with asyncio.timeout(60):
                await process.stderr.readuntil(b"Password for the coldkey of default: ")
                os.write(keyboard, b"same\n")
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
            os.close(keyboard)
    assert process.returncode == 0, err
    assert b"holds uid 5" in out
    assert b"same" not in out + err


def test_a_password_typed_differently_twice_makes_nothing(tmp_path: Path) -> None:
    arguments = ("wallet", "new", "--wallet.path", str(tmp_path))
    assert run(*arguments, env={"BT_WALLET_PASSWORD": ""}, stdin="one\ntwo\n").exit_code != 0
    assert not list(tmp_path.rglob("coldkey"))


def test_the_names_bittensor_people_know_are_read_from_the_environment(tmp_path: Path) -> None:
    environment = {"BT_WALLET": "cold", "BT_WALLET_HOTKEY": "hot", "BT_WALLET_PATH": str(tmp_path)}
    assert run("wallet", "new", "--no-password", env=environment).exit_code == 0
    assert (tmp_path / "cold/hotkeys/hot").exists()


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x" * 65, "a b"])
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    result = run("wallet", "new", "--wallet.path", str(tmp_path), "--wallet.name", name, "--no-password")
    assert result.exit_code == 2
    assert not list(tmp_path.rglob("*"))


def test_show_and_list_read_public_files_only(tmp_path: Path) -> None:
    made = new(tmp_path, "--wallet.name", "a")
    for file in (tmp_path / "a/coldkey", tmp_path / "a/hotkeys/default"):
        file.write_text("{}")
    shown = json.loads(run("wallet", "show", "--wallet.path", str(tmp_path), "--name", "a", "--json").stdout)
    assert shown["coldkey"] == made["coldkey"]
    listed = json.loads(run("wallet", "list", "--wallet.path", str(tmp_path), "--json").stdout)
    assert [one["name"] for one in listed] == ["a"]
    assert made["coldkey"] in run("wallet", "list", "--wallet.path", str(tmp_path)).stdout


def test_nothing_there_says_what_to_type(tmp_path: Path) -> None:
    path = str(tmp_path)
    assert "orchestra wallet new" in run("wallet", "list", "--wallet.path", path).stdout
    assert "orchestra wallet new --wallet.name x" in refused(
        run("wallet", "show", "--wallet.path", path, "--name", "x")
    )
    with pytest.raises(WalletMissing, match=r"orchestra wallet new --wallet\.name x --wallet\.hotkey h --wallet\.path"):
        load_signer("x", "h", path)
    with pytest.raises(WalletMissing, match="coldkey"):
        load_coldkey("x", path)
    with pytest.raises(WalletMissing):
        wallet_address("hotkey", "x", "h", path)


def test_registering_without_keys_or_chain_is_one_line_that_says_what_to_type(tmp_path: Path) -> None:
    base = ("register", "--netuid", "2", "--wallet.path", str(tmp_path))
    assert "finney, test, local" in refused(run(*base, "--network", "http://127.0.0.1:1"))
    assert "orchestra wallet new" in refused(run(*base, "--network", "orchestra-local:1"))
    new(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"ws://127.0.0.1:{taken.getsockname()[1]}"
        assert f"Chain {endpoint} is unreachable" in refused(run(*base, "--network", endpoint))


def test_development_keys_pay_on_local_chains_only(tmp_path: Path) -> None:
    line = refused(run("register", "--netuid", "2", "--network", "test", "--fund-from", "//Alice"))
    assert "--fund-from is for local chains" in line


async def test_the_walk_of_a_newcomer_on_a_local_chain(tmp_path: Path) -> None:
    async with running_chain(tmp_path / "chain", one_subnet()) as chain:
        network = f"orchestra-local:{chain.port}"
        wallets = ("--wallet.path", str(tmp_path / "wallets"), "--wallet.name", "newcomer")

        async def at(*arguments: str) -> Result:
            return await asyncio.to_thread(run, *arguments, *wallets, env={"BT_NETWORK": network})

        made = json.loads((await at("wallet", "new", "--no-password", "--json")).stdout)
        poor = await at("register", "--netuid", "2")
        assert poor.exit_code == 1
        assert "cost " in poor.stdout
        assert f"balance  0 TAO on {made['coldkey']}" in poor.stdout
        assert f"to coldkey {made['coldkey']}" in poor.stderr
        assert "--fund-from //Alice" in poor.stderr

        paid = await at("register", "--netuid", "2", "--fund-from", "//Alice")
        assert paid.exit_code == 0, paid.output
        assert f"registered  {made['hotkeys']['default']} holds uid 5" in paid.stdout
        before = json.loads((await at("wallet", "show", "--json", "--network", network)).stdout)["balance_rao"]
        again = await at("register", "--netuid", "2", "--fund-from", "//Alice", "--json")
        assert json.loads(again.stdout)["uid"] == 5
        after = json.loads((await at("wallet", "show", "--json", "--network", network)).stdout)["balance_rao"]
        assert before == after, "the second time costs nothing"

        missing = await at("register", "--netuid", "77", "--fund-from", "//Alice")
        assert "Subnet 77 does not exist" in refused(missing)


def test_amounts_read_as_people_write_them() -> None:
    assert [tao(rao) for rao in (0, 1, 10**9, 1_500_000_000, 10**18)] == [
        "0 TAO",
        "0.000000001 TAO",
        "1 TAO",
        "1.5 TAO",
        "1000000000 TAO",
    ]


def test_every_option_is_explained() -> None:
    root = typer.main.get_command(app)
    context = typer.Context(root)
    for name in ("wallet", "register"):
        command = root.get_command(context, name)  # type: ignore[attr-defined]
        leaves = getattr(command, "commands", {name: command}).values()
        for leaf in leaves:
            assert leaf.help
            assert all(getattr(option, "help", None) for option in leaf.params), leaf.name


# Signatures ----------------------------------------------------------------------------------------------------------


def test_a_signature_verifies_for_its_key_and_bytes_only() -> None:
    alice, bob = dev_signer("//Alice"), dev_signer("//Bob")
    signature = alice.sign(b"orchestra")
    assert verify_signature(alice.ss58_address, b"orchestra", signature)
    assert not verify_signature(bob.ss58_address, b"orchestra", signature)
    assert not verify_signature(alice.ss58_address, b"Orchestra", signature)


@pytest.mark.parametrize("ss58", ["", "x", "5Grw", "0x" + "00" * 32, "5" * 5000, "é", "\0"])
@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"\xff" * 64, b"\0" * 65, b"x" * 10_000])
def test_garbage_is_false_and_never_an_exception(ss58: str, signature: bytes) -> None:
    alice = dev_signer("//Alice").ss58_address
    assert not verify_signature(ss58, b"", signature)
    assert not verify_signature(alice, b"", signature)


def test_the_same_key_under_another_networks_prefix_is_another_name() -> None:
    alice = dev_signer("//Alice")
    polkadot = "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5"  # Alice's key, prefix 0
    assert re.match(r"^5", alice.ss58_address)
    assert not verify_signature(polkadot, b"x", alice.sign(b"x"))
