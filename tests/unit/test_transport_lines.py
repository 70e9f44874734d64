"""Answers read line by line: whole lines whatever the chunks, one deadline and one limit, nothing left open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.transport import (
    AddressRefused,
    BadResponse,
    OutboundClient,
    PeerTimeout,
    PeerUnreachable,
    ResponseTooLarge,
    TransportError,
)

URL = "http://127.0.0.1:8400/v1/objectives"


class Body(httpx.AsyncByteStream):
    """Scripted chunks; an exception among them is raised, None never comes."""

    def __init__(self, chunks: Iterable[bytes | Exception | None]) -> None:
        self.chunks = list(chunks)
        self.closed = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            if chunk is None:
                await asyncio.Event().wait()
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk or b""

    async def aclose(self) -> None:
        self.closed += 1


class Wire(httpx.AsyncBaseTransport):
    def __init__(self, *chunks: bytes | Exception | None, status: int = 200, **headers: str) -> None:
        self.body = Body(chunks)
        self.requests: list[httpx.Request] = []
        self._status, self._headers = status, headers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self._status, headers=self._headers, stream=self.body)


async def lines_of(wire: Wire, **options: Any) -> list[bytes]:
    async with (
        OutboundClient(allow_loopback=True, transport=wire) as client,
        client.lines("POST", URL, content=b"{}", **options) as answer,
    ):
        assert answer.status == 200
        return [line async for line in answer.lines]


async def failing(wire: Wire, error: type[TransportError], **options: Any) -> None:
    with pytest.raises(error):
        await lines_of(wire, **options)
    assert wire.body.closed == 1


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([], []),
        ([b"\n"], [b""]),
        ([b"a"], [b"a"]),
        ([b"a\n"], [b"a"]),
        ([b"a\nb"], [b"a", b"b"]),
        ([b"a", b"", b"b\n", b"\nc\n"], [b"ab", b"", b"c"]),
    ],
)
async def test_lines_whatever_the_chunks(chunks: list[bytes], lines: list[bytes]) -> None:
    wire = Wire(*chunks)
    assert await lines_of(wire) == lines
    assert wire.body.closed == 1


@given(st.lists(st.binary(max_size=4).map(lambda raw: raw.replace(b"\r", b"")), max_size=12))
async def test_any_chunks_are_the_lines_of_their_whole(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    expected = whole.split(b"\n")
    assert await lines_of(Wire(*chunks)) == (expected[:-1] if not expected[-1] else expected)


async def test_a_status_that_is_not_200_is_read_the_same_way() -> None:
    wire = Wire(b'{"code": "busy"}', status=503)
    async with (
        OutboundClient(allow_loopback=True, transport=wire) as client,
        client.lines("POST", URL, content=b"{}") as answer,
    ):
        assert (answer.status, [line async for line in answer.lines]) == (503, [b'{"code": "busy"}'])


async def test_no_compression_is_asked_for_or_taken() -> None:
    wire = Wire(b"a\n")
    await lines_of(wire)
    assert wire.requests[0].headers["accept-encoding"] == "identity"
    await failing(Wire(b"\x1f\x8b", **{"content-encoding": "gzip"}), BadResponse)


async def test_more_than_the_limit_is_cut_off() -> None:
    assert await lines_of(Wire(b"abc\n"), max_bytes=4) == [b"abc"]
    await failing(Wire(b"abc\n", b"d"), ResponseTooLarge, max_bytes=4)
    await failing(Wire(b"x" * 5), ResponseTooLarge, max_bytes=4)


async def test_the_deadline_is_for_all_of_it() -> None:
    await failing(Wire(b"a\n", None), PeerTimeout, timeout_s=0.01)


async def test_what_breaks_is_one_of_ours() -> None:
    await failing(Wire(b"a\n", httpx.ReadError("reset")), PeerUnreachable)
    await failing(Wire(httpx.RemoteProtocolError("no chunk")), BadResponse)
    await failing(Wire(b"a\n", status=999), BadResponse)


async def test_leaving_early_closes_the_answer() -> None:
    wire = Wire(b"a\n", b"b\n", None)
    async with OutboundClient(allow_loopback=True, transport=wire) as client:
        async with client.lines("POST", URL, content=b"{}") as answer:
            assert await anext(answer.lines) == b"a"
        assert wire.body.closed == 1


@pytest.mark.parametrize("url", ["http://192.0.2.1/x", "http://10.0.0.1/x", "ftp://127.0.0.1/x"])
async def test_an_address_that_may_not_be_called(url: str) -> None:
    wire = Wire(b"a\n")
    async with OutboundClient(allow_loopback=True, transport=wire) as client:
        with pytest.raises(AddressRefused):
            async with client.lines("POST", url, content=b"{}"):
                pass
    assert not wire.requests
