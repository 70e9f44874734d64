"""`orchestra ledger serve` and `keys` as people run them, and what requests nobody thought of get as answers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ledger.database import sqlite_url
from ledger.store import LedgerStore
from orchestra.transport import OutboundClient
from tests.builders import entry
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
ORCHESTRA = Path(sys.executable).with_name("orchestra")
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
EXAMPLES = 40

pytestmark = pytest.mark.e2e


def orchestra(*arguments: str, code: int = 0) -> str:
    """What a command prints, and with an error code what it complains."""
    done = subprocess.run([ORCHESTRA, "ledger", *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout.strip()


@asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[str]:
    """A server as a process; the address that it prints."""
    process = await asyncio.create_subprocess_exec(
        str(ORCHESTRA), "ledger", "serve", "--port", "0", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        assert " at http://127.0.0.1:" in line
        yield line.rsplit(" ", 1)[-1].strip()
    finally:
        process.terminate()
        assert await process.wait() == 0


async def test_a_ledger_is_served_to_whoever_has_a_key_until_it_is_revoked(tmp_path: Path) -> None:
    seed, database = tmp_path / "seed.json", f"sqlite:///{tmp_path / 'api.sqlite'}"
    orchestra("seed", "--out", str(seed), "desearch", "chutes")
    key = orchestra("keys", "new", "Ada", "--tier", "developer", "--database", database)
    listed = orchestra("keys", "list", "--database", database)
    account = listed.split()[0]
    assert "developer" in listed
    assert "Ada" in listed
    assert key not in listed
    async with (
        serving("--ledger.seed", str(seed), "--database", database) as url,
        OutboundClient(allow_loopback=True) as client,
    ):
        authorization = {"authorization": f"Bearer {key}"}
        answer = await client.request("GET", f"{url}/v1/subnets/desearch", headers=authorization)
        assert json.loads(answer.body)["subnet"]["operations"][0]["input_schema"]
        assert answer.headers["ratelimit"].startswith('"minute";r=119;')
        assert (await client.request("GET", f"{url}/v1/subnets/taoshi")).status == 404, "not in the seed"
        async with await LedgerStore.open(sqlite_url(tmp_path / "api.sqlite")) as store:
            await store.append([entry("newest", netuid=1)], onto=2, block=9)

        async def seen() -> bool | None:
            return (await client.request("GET", f"{url}/v1/subnets/newest")).status == 200 or None

        await until("a change to be served", seen)
        orchestra("keys", "revoke", account, "--database", database)

        async def refused() -> bool | None:
            answer = await client.request("GET", f"{url}/v1/ledger", headers=authorization)
            return answer.status == 401 or None

        await until("the revoked key to be refused", refused)
    assert "revoked" in orchestra("keys", "list", "--database", database)
    assert "no key" in orchestra("keys", "revoke", account, "--database", database, code=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("serve", "--database", "mysql://a/b"), "use sqlite or postgresql"),
        (("serve", "--database", "sqlite:////nowhere/at/all/x.sqlite"), "there is no folder /nowhere/at/all"),
        (("serve", "--ledger.seed", "/nowhere.json", "--database", "sqlite://"), "cannot read /nowhere.json"),
        (("serve", "--data", "/nowhere", "--database", "sqlite://"), "no /nowhere/ledger.sqlite"),
        (("serve", "--data", ".", "--snapshot", "x", "--database", "sqlite://"), "leave --ledger.seed, --checkpoint"),
        (("keys", "new", "two\nlines", "--database", "sqlite://"), "an owner is"),
        (("keys", "list", "--database", "postgresql://127.0.0.1:1/none"), "cannot use the database"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    complaint = orchestra(*arguments, code=1)
    assert complaint.count("\n") == 1
    assert complaint.startswith("error: ")
    assert said in complaint


async def test_requests_nobody_thought_of(tmp_path: Path) -> None:
    """No 5xx, at least half of the answers 2xx, and every answer as documented: schemathesis finds no failure."""
    database = f"sqlite:///{tmp_path / 'api.sqlite'}"
    key = orchestra("keys", "new", "schemathesis", "--tier", "production", "--database", database)
    har = tmp_path / "answers.har"
    async with serving("--database", database) as url:
        process = await asyncio.create_subprocess_exec(
            str(SCHEMATHESIS), "run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {key}",
            "--seed", "31", "--max-examples", str(EXAMPLES), "--report", "har", "--report-har-path", str(har),
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, env={**os.environ, "NO_COLOR": "1"},
        )  # fmt: skip
        said, _ = await process.communicate()
    answers = Counter(each["response"]["status"] for each in json.loads(har.read_text())["log"]["entries"])
    print(dict(answers))
    assert not [status for status in answers if status >= 500 or status == 0], said.decode()
    assert sum(count for status, count in answers.items() if 200 <= status < 300) * 2 >= answers.total() > 500, answers
    assert process.returncode == 0, said.decode()
