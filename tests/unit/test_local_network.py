"""A local network that does not come up: what its folder holds fits the next start, and the cause is said."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from orchestra.devnet.network import Layout, LocalNetwork
from orchestra.devnet.processes import Processes, ProcessFailed


async def test_a_start_that_failed_leaves_ports_that_its_ledger_names(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ProcessFailed, match="chain ended"):
        await LocalNetwork(layout, chain_port=taken.getsockname()[1]).start()
    state = json.loads(layout.state.read_text())
    entries = json.loads(layout.ledger.read_text())
    served = {entry["id"]: urlsplit(entry["operations"][0]["endpoint"]["base_url"]).port for entry in entries}
    assert served
    assert served == {name: state["subnets"][name] for name in served}


async def test_a_process_that_said_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match=r"quiet ended with 0 .*quiet\.log\nit wrote nothing: is the disk full\?"):
        await Processes(tmp_path).start("quiet", "this", [])
