"""A local network that does not come up: what its folder holds fits the next start, and the cause is said."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from orchestra.chain.owner import LOCAL
from orchestra.devnet.network import NETUID, Layout, LocalNetwork
from orchestra.devnet.processes import Processes, ProcessFailed


async def failing(folder: Path) -> dict[str, Any]:
    """A start that ends at the chain, whose port is taken; what it left as the network's description."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ProcessFailed, match="chain ended"):
        await LocalNetwork(Layout(folder), chain_port=taken.getsockname()[1]).start()
    return json.loads((folder / "network.json").read_text())


async def test_a_start_that_failed_leaves_ports_that_its_ledger_names(tmp_path: Path) -> None:
    state = await failing(tmp_path)
    entries = json.loads((tmp_path / "ledger.json").read_text())
    served = {entry["id"]: urlsplit(entry["operations"][0]["endpoint"]["base_url"]).port for entry in entries}
    assert served
    assert served == {name: state["subnets"][name] for name in served}


async def test_its_subnet_is_as_the_owners_command_wants_it(tmp_path: Path) -> None:
    await failing(tmp_path)
    genesis = json.loads((tmp_path / "genesis.json").read_text())
    (ours,) = (subnet for subnet in genesis["subnets"] if subnet["netuid"] == NETUID)
    assert ours["hyperparameters"].items() >= {name: rule.value for name, rule in LOCAL.items()}.items()


async def test_a_port_that_was_taken_meanwhile_is_given_up(tmp_path: Path) -> None:
    before = await failing(tmp_path)
    (tmp_path / "genesis.json").write_text("{}")  # so that it fails again, as early
    taken = before["gateways"]["validator-1"]
    with socket.create_server(("127.0.0.1", taken)), pytest.raises(ProcessFailed, match="chain ended"):
        await LocalNetwork(Layout(tmp_path)).start()
    after = json.loads((tmp_path / "network.json").read_text())
    assert after["gateways"]["validator-1"] != taken
    assert after["gateway"] == f"http://127.0.0.1:{after['gateways']['validator-1']}"
    assert (after["ports"], after["subnets"]) == (before["ports"], before["subnets"])


async def test_a_process_that_said_nothing_at_all(tmp_path: Path) -> None:
    (tmp_path / "quiet.log").write_text("what it said yesterday\n")
    with pytest.raises(ProcessFailed, match=r"quiet ended with 0 .*quiet\.log\nit wrote nothing: is the disk full\?"):
        await Processes(tmp_path).start("quiet", "this", [])
