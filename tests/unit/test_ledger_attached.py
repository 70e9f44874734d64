"""A checkpoint or snapshot is served as its file is: replaced, gone, back again."""

from __future__ import annotations

from pathlib import Path

from ledger.database import sqlite_url
from ledger.serving.attached import Attached, Watched
from ledger.serving.edition import NOTHING_ATTACHED, Attachments
from tests.ledgerapi import running_api


def replace(path: Path, content: bytes) -> None:
    """As those who make it should: whole, and at once."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(path)


def test_a_file_is_followed_through_its_changes(tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    watched = Watched(path)
    assert watched.content() is None
    for content in (b"one", b"two", b""):
        replace(path, content)
        assert watched.content() == content
        assert watched.content() is watched.content(), "read once"
    path.unlink()
    assert watched.content() is None
    replace(path, b"back")
    assert watched.content() == b"back"


async def test_nothing_is_attached_without_files() -> None:
    assert await Attached(Watched(None), Watched(None))() == NOTHING_ATTACHED


async def test_a_checkpoint_that_comes_later_is_served_without_a_change_of_the_log(tmp_path: Path) -> None:
    note = tmp_path / "checkpoint"
    async with running_api(sqlite_url(tmp_path / "api.sqlite")) as api:
        api.service.reader.attachments = Attached(Watched(note), Watched(None))
        before = await api.json("/v1/ledger")
        etag = (await api.ask("/v1/subnets/desearch")).headers["etag"]
        assert before["checkpoint"] is False
        replace(note, b"signed")
        await api.service.refresh()
        assert (await api.ask("/v1/checkpoint")).body == b"signed"
        after = await api.json("/v1/ledger")
        assert (after["checkpoint"], after["ledger_version"]) == (True, before["ledger_version"])
        again = await api.ask("/v1/subnets/desearch", headers={"if-none-match": etag})
        assert again.status == 200, "its proof may name the checkpoint now"
        assert api.service.reader.edition is not None
        assert api.service.reader.edition.attached == Attachments(b"signed")
