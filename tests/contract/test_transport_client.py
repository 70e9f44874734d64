"""What the clients do with peers that are hostile or half dead: real sockets, scripted byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import httpx
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from bittensor.keyfiles import Keypair
from fastapi import FastAPI, Request, Response

from orchestra.transport import (
    AddressRefused,
    AnyCaller,
    BadResponse,
    OutboundClient,
    PeerRefused,
    PeerTimeout,
    PeerUnreachable,
    RedirectRefused,
    ResponseTooLarge,
    SignedCall,
    SignedClient,
    SignedRequests,
    TransportError,
    install_problems,
    serving,
)
from orchestra.transport.addresses import CheckedResolver
from orchestra.transport.aio import AioTransport
from tests.fakes.nonces import MemoryNonces

ALICE = Keypair.create_from_uri("//Alice")
BOB = Keypair.create_from_uri("//Bob").ss58_address


@dataclass
class Peer:
    """A server that answers every connection with the same bytes, whatever it is asked."""

    url: str = ""
    requests: list[bytes] = field(default_factory=list[bytes])
    hung_up: int = 0


@contextlib.asynccontextmanager
async def answering(reply: Callable[[], bytes] | None, *, then_close: bool = True) -> AsyncGenerator[Peer]:
    """`reply` None: accepts, reads and never answers."""
    peer = Peer()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            peer.requests.append(await reader.readuntil(b"\r\n\r\n"))
            if reply is not None:
                writer.write(reply())
                await writer.drain()
            if reply is None or not then_close:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        peer.hung_up += 1
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    peer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield peer
    finally:
        server.close()


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def post(url: str, *, timeout_s: float = 5.0, max_bytes: int = 1000) -> bytes:
    async with SignedClient(ALICE, allow_loopback=True) as client:
        answer = await client.post(
            url, "/v1/challenge", b"{}", receiver=BOB, timeout_s=timeout_s, max_response_bytes=max_bytes
        )
    return answer.body


async def get(url: str, *, timeout_s: float = 5.0, max_bytes: int = 1000) -> bytes:
    async with OutboundClient(allow_loopback=True) as client:
        return (await client.request("GET", url, timeout_s=timeout_s, max_bytes=max_bytes)).body


BOTH = pytest.mark.parametrize("call", [post, get])


# peers that do not answer --------------------------------------------------------------------------------------------


@BOTH
async def test_a_peer_that_accepts_and_never_answers_ends_by_the_deadline(call: Callable[..., object]) -> None:
    async with answering(None) as peer:
        with pytest.raises(PeerTimeout) as caught:
            await call(peer.url, timeout_s=0.05)  # type: ignore[misc]
        assert caught.value.seconds == 0.05


@BOTH
async def test_a_peer_that_stops_halfway_ends_by_the_deadline(call: Callable[..., object]) -> None:
    async with answering(lambda: http(b"x" * 100)[:-1], then_close=False) as peer:
        with pytest.raises(PeerTimeout):
            await call(peer.url, timeout_s=0.05)  # type: ignore[misc]


@BOTH
async def test_a_closed_port_is_unreachable(call: Callable[..., object]) -> None:
    async with answering(None) as peer:
        pass
    with pytest.raises(PeerUnreachable):
        await call(peer.url)  # type: ignore[misc]


@BOTH
@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_a_peer_that_hangs_up_is_unreachable_or_bad_and_asked_once(
    call: Callable[..., object], reply: bytes
) -> None:
    async with answering(lambda: reply) as peer:
        with pytest.raises((PeerUnreachable, BadResponse)):
            await call(peer.url)  # type: ignore[misc]
        assert len(peer.requests) == 1


@BOTH
@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 999 Over\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 000 Under\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        http(b"x", "Content-Encoding: br"),
        http(b"not gzip", "Content-Encoding: gzip"),
        http(gzip.compress(b"x" * 100, mtime=0)[:-9], "Content-Encoding: gzip"),
        http(gzip.compress(b"x", mtime=0) + b"and more", "Content-Encoding: gzip"),
    ],
)
async def test_answers_that_are_not_http_as_we_speak_it(call: Callable[..., object], reply: bytes) -> None:
    async with answering(lambda: reply) as peer:
        with pytest.raises(BadResponse):
            await call(peer.url)  # type: ignore[misc]


# peers that answer too much ------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "reply",
    [
        http(b"x" * 1001),
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"100\r\n" + b"x" * 256 + b"\r\n") * 40,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001,
        http(gzip.compress(b"0" * 10_000_000, mtime=0)[:900], "Content-Encoding: gzip"),
        http(gzip.compress(b"0" * 1001, mtime=0), "Content-Encoding: gzip"),
    ],
)
async def test_answers_over_the_limit(call: Callable[..., object], reply: bytes) -> None:
    async with answering(lambda: reply, then_close=False) as peer:
        with pytest.raises(ResponseTooLarge):
            await call(peer.url)  # type: ignore[misc]


@BOTH
async def test_answers_at_the_limit(call: Callable[..., object]) -> None:
    for reply in (http(b"0" * 1000), http(gzip.compress(b"0" * 1000, mtime=0), "Content-Encoding: gzip")):
        async with answering(lambda reply=reply: reply) as peer:  # type: ignore[misc]
            assert await call(peer.url) == b"0" * 1000  # type: ignore[misc]


async def test_a_gzip_bomb_never_unfolds() -> None:
    bomb = http(gzip.compress(bytes(300 << 20), 1, mtime=0), "Content-Encoding: gzip")  # made before anybody waits
    async with answering(lambda: bomb) as peer:
        with pytest.raises(ResponseTooLarge):
            await get(peer.url, max_bytes=1 << 20)


# peers that refuse ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers", "code", "retry_after_s"),
    [
        (b'{"code":"too_many_in_flight"}', ["Retry-After: 3"], "too_many_in_flight", 3.0),
        (b'{"code":"x"}', ["Retry-After: Fri, 20 Nov 2026 12:00:00 GMT"], "x", None),
        (b'{"code":"x","code":"y"}', [], None, None),
        (b'{"code":"<script>"}', [], None, None),
        (b'{"code":"' + b"x" * 65 + b'"}', [], None, None),
        (b'{"code":["x"]}', [], None, None),
        (b"[" * 500, [], None, None),
        (b"Bad Gateway", ["Retry-After: -1"], None, None),
    ],
)
async def test_a_refusal_is_read_with_care(
    body: bytes, headers: list[str], code: str | None, retry_after_s: float | None
) -> None:
    async with answering(lambda: http(body, *headers, status="503 Busy")) as peer:
        with pytest.raises(PeerRefused) as caught:
            await post(peer.url)
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (503, code, retry_after_s)


@pytest.mark.parametrize("status", ["301 Moved", "307 Temporary Redirect"])
async def test_a_signed_request_follows_no_redirect(status: str) -> None:
    async with answering(lambda: http(b"", "Location: /v1/challenge", status=status)) as peer:
        with pytest.raises(PeerRefused):
            await post(peer.url)
        assert len(peer.requests) == 1


# what is sent --------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def neuron() -> AsyncGenerator[str]:
    app = FastAPI()
    install_problems(app)
    signed = SignedRequests(self_hotkey=BOB, nonces=MemoryNonces(), policy=AnyCaller())

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def echo(request: Request, call: SignedCall = signed.call) -> Response:  # pyright: ignore[reportUnusedFunction]
        target = request.scope["raw_path"] + b"?" + request.scope["query_string"]
        return Response(json.dumps([call.request_digest, target.decode(), request.headers.get("x-orchestra-tag")]))

    async with serving(app) as address:
        yield address.url


@pytest.mark.parametrize(
    "target",
    [
        "/v1/challenge?",
        "/a%2Fb/%7Ec?q=%20%7E+x&y=a%26b",
        "/caf%C3%A9?%F0%9F%8C%8D",
        "/a//b/c?x=/../y",
        "/x?a=%41&b=~",
    ],
)
async def test_the_target_arrives_as_it_was_signed(target: str) -> None:
    async with neuron() as url, SignedClient(ALICE, allow_loopback=True) as client:
        for answer in (
            await client.post(url, target, b"{}", receiver=BOB, headers={"X-Orchestra-Tag": "t"}),
            await client.get(url, target, receiver=BOB, headers={"X-Orchestra-Tag": "t"}),
        ):
            digest, arrived, tag = json.loads(answer.body)
            assert (digest, tag) == (answer.request_digest, "t")
            assert arrived.rstrip("?") == target.rstrip("?")


async def test_every_attempt_has_its_own_nonce() -> None:
    async with neuron() as url, SignedClient(ALICE, allow_loopback=True, clock_ns=_stuck_clock()) as client:
        answers = await asyncio.gather(*(client.post(url, "/v1/x", b"{}", receiver=BOB) for _ in range(20)))
    assert len({answer.request_digest for answer in answers}) == 20


def _stuck_clock() -> Callable[[], int]:
    now = time.time_ns()
    return lambda: now


async def test_extra_headers_cannot_replace_the_signature() -> None:
    async with neuron() as url, SignedClient(ALICE, allow_loopback=True) as client:
        answer = await client.post(url, "/v1/x", b"{}", receiver=BOB, headers={"X-Bittensor-Nonce": "1"})
    assert answer.status == 200


async def test_an_outbound_request_says_what_it_was_told_to() -> None:
    async with answering(lambda: http(b"ok")) as peer, OutboundClient(allow_loopback=True) as client:
        answer = await client.request(
            "POST",
            peer.url + "/a%2Fb?x=1",
            params={"q": "a b&c", "n": 2},
            headers={"Authorization": "secret"},
            json={"ä": [1, None]},
        )
    assert (answer.status, answer.body) == (200, b"ok")
    head = peer.requests[0].decode().lower()
    assert head.startswith("post /a%2fb?x=1&q=a+b%26c&n=2 http/1.1")
    assert "authorization: secret" in head
    assert "content-type: application/json" in head
    assert "content-length: 15" in head


async def test_any_status_is_an_answer() -> None:
    reply = http(b'{"detail":"slow down"}', "Retry-After: 5", status="429 Too Many")
    async with answering(lambda: reply) as peer, OutboundClient(allow_loopback=True) as client:
        answer = await client.request("GET", peer.url)
    assert (answer.status, answer.headers["retry-after"]) == (429, "5")


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "connection"])
async def test_an_entry_s_headers_cannot_take_over_the_connection(name: str) -> None:
    async with OutboundClient(allow_loopback=True) as client:
        with pytest.raises(ValueError, match=name.lower()):
            await client.request("GET", "http://127.0.0.1:1/", headers={name: "x"})


async def test_a_header_with_a_line_break_is_refused() -> None:
    async with answering(lambda: http(b"ok")) as peer, OutboundClient(allow_loopback=True) as client:
        with pytest.raises((ValueError, TransportError)):
            await client.request("GET", peer.url, headers={"X-Key": "a\r\nHost: evil"})
        assert peer.requests == []


# answers read as they come --------------------------------------------------------------------------------------------


async def read_lines(url: str, *, timeout_s: float = 5.0, max_bytes: int = 1000) -> list[bytes]:
    async with (
        OutboundClient(allow_loopback=True) as client,
        client.lines("GET", url, timeout_s=timeout_s, max_bytes=max_bytes) as answer,
    ):
        return [line async for line in answer.lines]


async def test_lines_come_whole_however_they_were_cut() -> None:
    async with answering(lambda: http(b"one\ntwo\n\nlast")) as peer:
        assert await read_lines(peer.url) == [b"one", b"two", b"", b"last"]


async def test_lines_are_under_the_same_limits() -> None:
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000
    async with answering(lambda: endless, then_close=False) as peer:
        with pytest.raises(ResponseTooLarge):
            await read_lines(peer.url)
        with pytest.raises(PeerTimeout):
            await read_lines(peer.url, timeout_s=0.05, max_bytes=10_000)
    async with answering(None) as peer:
        with pytest.raises(PeerTimeout):
            await read_lines(peer.url, timeout_s=0.05)
    async with answering(lambda: http(b"x", "Content-Encoding: gzip")) as peer:
        with pytest.raises(BadResponse):
            await read_lines(peer.url)


# redirects -----------------------------------------------------------------------------------------------------------


def scripted(*replies: httpx.Response) -> tuple[httpx.AsyncBaseTransport, list[httpx.Request]]:
    seen: list[httpx.Request] = []
    script = iter(replies)

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return next(script)

    return httpx.MockTransport(handle), seen


async def test_a_redirect_within_the_origin_is_followed_with_its_headers() -> None:
    transport, seen = scripted(httpx.Response(302, headers={"location": "/b?x=1"}), httpx.Response(200, content=b"ok"))
    client = OutboundClient(transport=transport)
    answer = await client.request("GET", "https://api.example.com/a", headers={"Authorization": "secret"})
    assert (answer.status, str(seen[1].url)) == (200, "https://api.example.com/b?x=1")
    assert seen[1].headers["authorization"] == "secret"


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example.com/",
        "https://api.example.com:8443/",
        "//evil.example.com/",
        "https://api.example.com.evil.com/",
        "https://user@evil.com/",
        "http://api.example.com/",
        "http://127.0.0.1/",
        "file:///etc/passwd",
    ],
)
async def test_a_key_never_leaves_its_origin(location: str) -> None:
    transport, seen = scripted(httpx.Response(302, headers={"location": location}))
    with pytest.raises((RedirectRefused, AddressRefused)):
        await OutboundClient(transport=transport).request("GET", "https://api.example.com/a")
    assert len(seen) == 1


async def test_a_post_is_not_redirected_and_a_loop_ends() -> None:
    again = httpx.Response(307, headers={"location": "/a"})
    transport, seen = scripted(again)
    with pytest.raises(RedirectRefused):
        await OutboundClient(transport=transport).request("POST", "https://api.example.com/a", json={})
    transport, seen = scripted(*[httpx.Response(307, headers={"location": "/a"}) for _ in range(9)])
    with pytest.raises(RedirectRefused):
        await OutboundClient(transport=transport).request("GET", "https://api.example.com/a")
    assert len(seen) == 4


# addresses -----------------------------------------------------------------------------------------------------------


class Names(AbstractResolver):
    """Answers each lookup with the next scripted addresses."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        self.asked += 1
        return [
            ResolveResult(hostname=host, host=address, port=port, family=2, proto=6, flags=0)
            for address in self.answers.pop(0)
        ]

    async def close(self) -> None:
        return None


async def test_a_name_is_resolved_once_and_connects_where_it_was_checked() -> None:
    async with answering(lambda: http(b"ok"), then_close=False) as peer:
        port = peer.url.rpartition(":")[2]
        names = Names(["127.0.0.1"], ["10.0.0.1"])
        transport = AioTransport(resolver=CheckedResolver(allow_loopback=True, inner=names))
        async with SignedClient(ALICE, allow_loopback=True, transport=transport) as client:
            answer = await client.get(f"http://miner.example.com:{port}", "/", receiver=BOB)
    assert (answer.body, names.asked) == (b"ok", 1)


@pytest.mark.parametrize("answer", [["10.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["169.254.169.254"], ["::1"]])
async def test_a_name_with_a_private_address_is_not_called(answer: list[str]) -> None:
    transport = AioTransport(resolver=CheckedResolver(allow_loopback=False, inner=Names(answer)))
    async with OutboundClient(transport=transport) as client:
        with pytest.raises(AddressRefused):
            await client.request("GET", "https://rebound.example.com/")
