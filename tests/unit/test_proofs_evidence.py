"""The evidence a miner keeps: durable, bounded, shown to one validator, and never replaced."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestra.proofs import Code, EvidenceBundle, EvidenceExists, EvidenceMissing, SqliteEvidence, StepBytes
from orchestra.proofs.disclosure import MAX_TOTAL_BYTES, disclose
from orchestra.protocol import MAX_EVIDENCE_BYTES, Evidence, EvidenceRequest, StepEvidence
from tests import proofkit as kit

VALIDATOR, OTHER = kit.VALIDATOR.ss58_address, kit.OTHER.ss58_address


class Now:
    ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
async def store(tmp_path: Path, now: Now) -> AsyncIterator[SqliteEvidence]:
    async with await SqliteEvidence.open(
        tmp_path / "evidence.db", now_ms=now, max_bundles=3, max_age_ms=1_000
    ) as opened:
        yield opened


def bundle(name: str, *bodies: bytes | None) -> EvidenceBundle:
    steps = tuple(StepBytes(step, b'{"q":%d}' % step, body) for step, body in enumerate(bodies, 1))
    return EvidenceBundle(kit.h(name), VALIDATOR, steps)


def ask(name: str, *steps: int) -> EvidenceRequest:
    return EvidenceRequest(challenge_id=kit.h(name), steps=steps or (1,))


async def test_what_was_put_is_revealed_step_by_step(store: SqliteEvidence) -> None:
    await store.put(bundle("a", b"\x00\xff", None, b""))
    found = await store.reveal(ask("a", 3, 2, 1, 1, 9), validator=VALIDATOR)
    assert found.challenge_id == kit.h("a")
    assert [(step.step, base64.b64decode(step.request)) for step in found.steps] == [
        (1, b'{"q":1}'),
        (2, b'{"q":2}'),
        (3, b'{"q":3}'),
    ]
    assert [step.response if step.response is None else base64.b64decode(step.response) for step in found.steps] == [
        b"\x00\xff",
        None,
        b"",
    ]


async def test_only_the_validator_that_asked_may_see_it(store: SqliteEvidence) -> None:
    await store.put(bundle("a", b"x"))
    with pytest.raises(EvidenceMissing):
        await store.reveal(ask("a"), validator=OTHER)


@pytest.mark.parametrize("request_", [ask("b"), ask("a", 7)])
async def test_what_never_was_is_missing(store: SqliteEvidence, request_: EvidenceRequest) -> None:
    await store.put(bundle("a", b"x"))
    with pytest.raises(EvidenceMissing):
        await store.reveal(request_, validator=VALIDATOR)


async def test_a_challenge_is_answered_once(store: SqliteEvidence) -> None:
    assert not await store.has(kit.h("a"))
    await store.put(bundle("a", b"first"))
    assert await store.has(kit.h("a"))
    with pytest.raises(EvidenceExists):
        await store.put(bundle("a", b"second"))
    found = await store.reveal(ask("a"), validator=VALIDATOR)
    assert base64.b64decode(found.steps[0].response or "") == b"first"


async def test_a_restart_keeps_it(tmp_path: Path, now: Now) -> None:
    path = tmp_path / "kept.db"
    async with await SqliteEvidence.open(path, now_ms=now) as store:
        await store.put(bundle("a", b"x"))
    async with await SqliteEvidence.open(path, now_ms=now) as store:
        assert await store.has(kit.h("a"))
        assert (await store.reveal(ask("a"), validator=VALIDATOR)).steps[0].step == 1


async def test_the_oldest_go_by_count(store: SqliteEvidence, now: Now) -> None:
    for name in "abcd":
        await store.put(bundle(name, b"x"))
        now.ms += 1
    assert [name for name in "abcd" if await store.has(kit.h(name))] == ["b", "c", "d"]


async def test_the_oldest_go_by_bytes(tmp_path: Path, now: Now) -> None:
    async with await SqliteEvidence.open(tmp_path / "bounded.db", now_ms=now, max_bytes=2_500) as store:
        for name, size in (("a", 1_000), ("b", 1_000), ("c", 1_000)):
            await store.put(bundle(name, b"x" * size))
            now.ms += 1
        assert [name for name in "abc" if await store.has(kit.h(name))] == ["b", "c"]
        await store.put(bundle("d", b"x" * 9_000))
        assert [name for name in "abcd" if await store.has(kit.h(name))] == ["d"], "the newest is always kept"


async def test_a_file_from_before_sizes_were_kept_is_bounded_too(tmp_path: Path, now: Now) -> None:
    path = tmp_path / "old.db"
    async with await SqliteEvidence.open(path, now_ms=now) as store:
        await store.put(bundle("a", b"x" * 1_000))
    with closing(sqlite3.connect(path)) as file:
        file.execute("ALTER TABLE bundles DROP COLUMN bytes")
    now.ms += 1
    async with await SqliteEvidence.open(path, now_ms=now, max_bytes=1_500) as store:
        assert await store.has(kit.h("a"))
        await store.put(bundle("b", b"x" * 1_000))
        assert [name for name in "ab" if await store.has(kit.h(name))] == ["b"]


class Generous:
    """A miner that reveals one large step at a time, for as long as it is asked."""

    def __init__(self, size: int) -> None:
        self.body = base64.b64encode(b"x" * size).decode()
        self.sent = 0

    async def __call__(self, request: EvidenceRequest, /) -> Evidence:
        self.sent += 1
        step = StepEvidence(step=request.steps[0], request="e30=", response=self.body)
        return Evidence(challenge_id=request.challenge_id, steps=(step,))


async def test_an_auditor_keeps_so_much_evidence_and_asks_for_no_more() -> None:
    story = kit.make_story()
    response, _ = story.seal()
    miner = Generous(MAX_TOTAL_BYTES // 2)
    disclosed = await disclose(response, None, miner, beyond=99, seed=b"1" * 32, timeout_s=10)
    assert miner.sent == 2, "the second goes over, and there is no third question"
    wrong = [finding.step for finding in disclosed.findings if finding.code is not Code.EVIDENCE_MISSING]
    assert len(wrong) == 1


async def test_the_oldest_go_by_age(store: SqliteEvidence, now: Now) -> None:
    await store.put(bundle("a", b"x"))
    now.ms += 1_001
    with pytest.raises(EvidenceMissing):
        await store.reveal(ask("a"), validator=VALIDATOR)
    await store.put(bundle("b", b"x"))
    assert not await store.has(kit.h("a"))
    assert await store.has(kit.h("b"))


async def test_forgotten_bundles_leave_no_steps_behind(tmp_path: Path, now: Now) -> None:
    path = tmp_path / "small.db"
    async with await SqliteEvidence.open(path, now_ms=now, max_bundles=1) as store:
        for number in range(30):
            now.ms += 1
            await store.put(bundle(str(number), b"x" * 100_000))
        with pytest.raises(EvidenceMissing):
            await store.reveal(ask("0"), validator=VALIDATOR)
    assert path.stat().st_size < 10 * 100_000


async def test_more_than_fits_comes_in_several_messages(store: SqliteEvidence) -> None:
    part = b"x" * (4 << 20)
    await store.put(bundle("a", *[part] * 8))
    first = await store.reveal(ask("a", *range(1, 9)), validator=VALIDATOR)
    assert 0 < len(first.steps) < 8
    assert len(first.to_wire()) <= MAX_EVIDENCE_BYTES
    came = [step.step for step in first.steps]
    while len(came) < 8:
        rest = await store.reveal(ask("a", *range(len(came) + 1, 9)), validator=VALIDATOR)
        came += [step.step for step in rest.steps]
    assert came == list(range(1, 9))


async def test_a_failed_put_leaves_nothing_and_the_store_usable(store: SqliteEvidence) -> None:
    twice = EvidenceBundle(kit.h("a"), VALIDATOR, (StepBytes(1, b"", b""), StepBytes(1, b"", b"")))
    with pytest.raises(Exception, match="UNIQUE"):
        await store.put(twice)
    assert not await store.has(kit.h("a"))
    await store.put(bundle("a", b"x"))


async def test_a_cancelled_put_is_whole_or_not_at_all_and_the_store_usable(store: SqliteEvidence) -> None:
    for turns in range(12):
        name = f"cancelled {turns}"
        task = asyncio.ensure_future(store.put(bundle(name, b"x", b"y")))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if await store.has(kit.h(name)):
            assert len((await store.reveal(ask(name, 1, 2), validator=VALIDATOR)).steps) == 2
        else:
            await store.put(bundle(name, b"x", b"y"))


async def test_many_at_once(store: SqliteEvidence) -> None:
    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(store.put(bundle(name, b"x")))
            group.create_task(store.has(kit.h(name)))
    assert [await store.has(kit.h(name)) for name in "abc"] == [True] * 3


async def test_a_marker_hears_of_every_write_transaction_and_of_nothing_else(tmp_path: Path, now: Now) -> None:
    heard: list[bool] = []
    async with await SqliteEvidence.open(tmp_path / "marked.db", now_ms=now, marker=heard.append) as store:
        await store.put(bundle("a", b"x"))
        await store.reveal(ask("a"), validator=VALIDATOR)
        with pytest.raises(EvidenceExists):
            await store.put(bundle("a", b"x"))
    assert heard == [True, False, True, False]
