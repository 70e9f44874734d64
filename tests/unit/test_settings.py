"""Settings: checked before anything is opened, each mistake one line that says what to type instead."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orchestra import settings
from orchestra.chain import UnknownNetwork
from orchestra.chain.networks import LOCAL_PORT, resolve
from orchestra.flags import EVERY_ADDRESS
from orchestra.settings import NeuronSettings, SettingsError, neuron_settings, read_cost, read_rate, read_secrets

KEY = {"ORCHESTRA_KEY_SN22": {"key": "k-1", "origin": "https://api.desearch.example"}}


def made(**changes: Any) -> NeuronSettings:
    fields: dict[str, Any] = {
        "netuid": 2,
        "network": "test",
        "wallet": ("alice", "miner1", "~/.bittensor/wallets"),
        "axon": ("192.0.2.7", "", 8091),
        "data": None,
        "ledger_seed": None,
        "ledger_committer": "5Committer",
        "ledger_follow": True,
        "keys": None,
        "tao_usd": "300",
        "min_stake": 1000,
    }
    return neuron_settings(**fields | changes)


def keys_file(folder: Path, document: Any = KEY, mode: int = 0o600) -> Path:
    path = folder / "keys.json"
    path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    path.chmod(mode)
    return path


@pytest.fixture
def local_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a network of `orchestra up`."""
    monkeypatch.setenv("ORCHESTRA_LOCAL", str(tmp_path))
    (tmp_path / "network.json").write_text(json.dumps({"ledger_committer": "5Local", "gateway": "http://127.0.0.1:5"}))
    (tmp_path / "ledger.json").write_text("[]")
    keys_file(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRA_LOCAL", str(tmp_path / "no-network"))


def test_what_was_given_is_kept() -> None:
    found = made()
    assert (found.netuid, found.network, found.wallet_name, found.wallet_hotkey) == (2, "test", "alice", "miner1")
    assert (found.axon_ip, found.axon_external_ip, found.axon_port) == ("192.0.2.7", "", 8091)
    assert (found.tao_usd, found.validator_min_stake_rao) == (Decimal(300), 1000 * 10**9)
    assert found.secrets == {}


def test_no_two_neurons_share_a_folder() -> None:
    folders = {
        made(**changes).data
        for changes in (
            {},
            {"netuid": 3},
            {"network": "finney"},
            {"network": "ws://127.0.0.1:9944"},
            {"wallet": ("alice", "miner2", "")},
            {"wallet": ("bob", "miner1", "")},
        )
    }
    assert len(folders) == 6
    assert all(folder.is_relative_to(Path.home() / ".orchestra") for folder in folders)
    assert all(":" not in str(folder) for folder in folders)


def test_a_folder_that_is_given_is_used(tmp_path: Path) -> None:
    database = made(data=tmp_path / "a" / "b").database("scores")
    assert database == tmp_path / "a" / "b" / "scores.sqlite"
    assert database.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="choose another folder with --data"):
        made(data=tmp_path / "file" / "x").database("scores")


def test_without_a_committer_the_council_is_followed() -> None:
    assert made(ledger_committer="").governed
    assert made(ledger_committer="council").governed
    assert not made(ledger_committer="5" + "A" * 47).governed
    assert not made(ledger_committer="", ledger_follow=False).governed


def test_a_local_network_that_is_not_up_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRA_LOCAL", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=r"orchestra up.* is not in .*none: is it up\?"):
        made(network="orchestra-local", ledger_committer="")


def test_an_address_to_publish_must_be_said() -> None:
    with pytest.raises(SettingsError, match=r"--axon\.external_ip"):
        made(axon=(EVERY_ADDRESS, "", 8091))
    assert made(axon=(EVERY_ADDRESS, "198.51.100.2", 8091)).axon_external_ip == "198.51.100.2"


@pytest.mark.parametrize("axon", [("localhost", "", 8091), (EVERY_ADDRESS, "example.com", 8091), ("", "", 8091)])
def test_an_address_to_publish_is_a_number(axon: tuple[str, str, int]) -> None:
    with pytest.raises(SettingsError, match=r"is no IP address: write for example --axon\.(external_)?ip 203"):
        made(axon=axon)


def test_addresses_are_written_as_the_chain_writes_them() -> None:
    assert made(axon=(EVERY_ADDRESS, "198.51.100.2", 1)).published(8091) == "198.51.100.2:8091"
    assert made(axon=("2001:db8:0::7", "", 1)).published(8091) == "[2001:db8::7]:8091"


def test_an_unknown_network_is_said_before_anything_else() -> None:
    with pytest.raises(UnknownNetwork, match="pass --network finney"):
        made(network="nowhere", ledger_committer="", axon=(EVERY_ADDRESS, "", 8091))


def test_the_flags_that_name_a_wallet_leave_out_defaults() -> None:
    assert made().wallet_flags == " --wallet.name alice --wallet.hotkey miner1"
    assert made(wallet=("default", "default", "/w")).wallet_flags == " --wallet.path /w"


def test_the_local_network_is_where_its_chain_listens(local_network: Path) -> None:
    assert resolve("orchestra-local").endpoint == f"http://127.0.0.1:{LOCAL_PORT}"
    known = {"ledger_committer": "5Local", "gateway": "http://127.0.0.1:5", "chain_port": 23456}
    (local_network / "network.json").write_text(json.dumps(known))
    assert resolve("orchestra-local").endpoint == "http://127.0.0.1:23456"
    assert resolve("orchestra-local:7").endpoint == "http://127.0.0.1:7"


def test_the_local_network_is_known(local_network: Path) -> None:
    found = made(network="orchestra-local:9955", ledger_committer="")
    assert (found.ledger_committer, found.ledger_seed) == ("5Local", local_network / "ledger.json")
    assert set(found.secrets) == {"ORCHESTRA_KEY_SN22"}
    assert settings.default_gateway() == "http://127.0.0.1:5"


def test_what_is_said_goes_before_what_is_known(local_network: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    found = made(network="orchestra-local", ledger_committer="5Mine", ledger_seed=other)
    assert (found.ledger_committer, found.ledger_seed) == ("5Mine", other)


def test_other_networks_know_nothing_of_the_local_one(local_network: Path) -> None:
    found = made(network="test")
    assert (found.ledger_committer, found.ledger_seed, found.secrets) == ("5Committer", None, {})


@pytest.mark.parametrize("written", [None, b"", b"{", b"[]", b"7", b'{"gateway": "x"}', b'{"ledger_committer": "x"}'])
def test_no_local_network(written: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRA_LOCAL", str(tmp_path))
    if written is not None:
        (tmp_path / "network.json").write_bytes(written)
    assert settings.read_local_network() is None
    assert settings.default_gateway() == settings.DEFAULT_GATEWAY


@pytest.mark.parametrize(
    ("network", "local"),
    [("orchestra-local", True), ("orchestra-local:1", True), ("local", False), ("orchestra-localhost", False)],
)
def test_which_network_is_local(network: str, *, local: bool) -> None:
    assert settings.is_local(network) is local


@pytest.mark.parametrize(("text", "rate"), [("300", Decimal(300)), ("412.5", Decimal("412.5")), (" 3 ", Decimal(3))])
def test_a_rate(text: str, rate: Decimal) -> None:
    assert read_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0", "-1", "NaN", "Infinity", "300 USD", "1,5"])
def test_not_a_rate(text: str) -> None:
    with pytest.raises(SettingsError, match="--tao-usd 300"):
        read_rate(text)


def test_keys_from_a_file(tmp_path: Path) -> None:
    found = read_secrets(keys_file(tmp_path), {})
    assert {name: (each.value, each.origin) for name, each in found.items()} == {
        "ORCHESTRA_KEY_SN22": ("k-1", "https://api.desearch.example")
    }
    assert "k-1" not in repr(found)


def test_keys_from_the_environment_go_before_the_file(tmp_path: Path) -> None:
    environment = {
        "ORCHESTRA_KEY_SN22": "k-2",
        "ORCHESTRA_KEY_SN22_ORIGIN": "https://other.example",
        "ORCHESTRA_KEY_SN64": "",
        "PATH": "/bin",
    }
    found = read_secrets(keys_file(tmp_path), environment)
    assert {name: each.value for name, each in found.items()} == {"ORCHESTRA_KEY_SN22": "k-2"}
    assert found["ORCHESTRA_KEY_SN22"].origin == "https://other.example"


def test_a_key_in_the_environment_needs_its_origin() -> None:
    with pytest.raises(SettingsError, match="ORCHESTRA_KEY_SN22_ORIGIN"):
        read_secrets(None, {"ORCHESTRA_KEY_SN22": "k"})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_file_that_others_can_read(mode: int, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="chmod 600"):
        read_secrets(keys_file(tmp_path, mode=mode), {})


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        {"A": "k"},
        {"A": {"key": "k"}},
        {"A": {"origin": "https://x.example"}},
        b'{"A": {"key": "k", "origin": "https://x.example"}, "A": {"key": "l", "origin": "https://y.example"}}',
    ],
)
def test_a_file_of_another_form(document: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not a keys file: write"):
        read_secrets(keys_file(tmp_path, document), {})


@pytest.mark.parametrize(
    "bound",
    [
        {"key": "", "origin": "https://x.example"},
        {"key": "a\nb", "origin": "https://x.example"},
        {"key": "k", "origin": "http://x.example"},
        {"key": "k", "origin": "x.example"},
        {"key": "k", "origin": "https://me:pw@x.example"},
    ],
)
def test_a_key_that_cannot_be_used_is_named_and_not_shown(bound: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ORCHESTRA_KEY_SN9") as caught:
        read_secrets(keys_file(tmp_path, {"ORCHESTRA_KEY_SN9": bound | {"key": bound["key"] or ""}}), {})
    assert not bound["key"] or bound["key"] == "k" or bound["key"] not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="check --keys"):
        read_secrets(tmp_path / "none.json", {})


def test_looking_at_subnets_may_cost_nothing_and_a_challenge_may_not() -> None:
    assert read_cost("0", "--upkeep.max-cost", or_nothing=True) == 0
    assert read_cost("0.0001", "--upkeep.max-cost", or_nothing=True) == 100_000
    with pytest.raises(SettingsError, match=r"--upkeep\.max-cost"):
        read_cost("-1", "--upkeep.max-cost", or_nothing=True)
    with pytest.raises(SettingsError, match=r"--challenge\.max-cost"):
        read_cost("0")
