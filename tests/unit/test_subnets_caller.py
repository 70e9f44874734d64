"""One call over the wire: what is sent, what counts as an answer, what it costs, and who gets which key."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from bittensor import http_auth
from bittensor.keyfiles import Keypair

from ledger.canonical import canonical, sha256
from ledger.entry import Operation
from ledger.view import LedgerView, OperationRef
from orchestra.execution.run import Answer, CallFailed
from orchestra.protocol import ErrorKind, Receipt
from orchestra.subnets import RECEIPT_HEADER, TAG_HEADER, Secret, Subnets, receipt_payload, write_receipt
from orchestra.transport import (
    AddressRefused,
    BadResponse,
    PeerTimeout,
    PeerUnreachable,
    RedirectRefused,
    ResponseTooLarge,
)
from tests.builders import entry, operation
from tests.fakes.outbound import ScriptedOutbound, answer

TAG = "0x" + "ab" * 32
KEY = "sk-very-secret-key-0123456789"
ORIGIN = "https://api.desearch.test"
NOW_NS = 1_700_000_000_000_000_000
FOUND = {"data": [{"title": "A", "link": "https://a", "snippet": "s"}, {"title": "B", "link": "https://b"}]}

CALLER = Keypair.create_from_uri("//Alice")
PROVIDER = Keypair.create_from_uri("//Bob")


def verify(hotkey: str, data: bytes, signature: bytes) -> bool:
    return bool(Keypair(ss58_address=hotkey).verify(data, signature))


def search(**changes: Any) -> Operation:
    fields: dict[str, Any] = {
        "endpoint": {"base_url": ORIGIN, "method": "GET", "path": "/web", "arguments": "query"},
        "auth": {"kind": "header", "name": "Authorization", "secret": "ORCHESTRA_KEY_SN22"},
        "price": {"amount": "0.000001", "currency": "TAO"},
    }
    return operation("web_search", **(fields | changes))


def post(**changes: Any) -> Operation:
    endpoint = {"base_url": ORIGIN, "method": "POST", "path": "/v1/search", "arguments": "json_body"}
    return search(**({"endpoint": endpoint} | changes))


def ref(made: Operation) -> OperationRef:
    found = LedgerView((entry("desearch", netuid=22, operations=(made,)),)).operation("desearch", made.name)
    assert found is not None
    return found


def subnets(outbound: ScriptedOutbound, **changes: Any) -> Subnets:
    given: dict[str, Any] = {
        "secrets": {"ORCHESTRA_KEY_SN22": Secret(KEY, ORIGIN)},
        "verify": verify,
        "signer": CALLER,
        "tao_usd": Decimal(400),
        "time_ns": lambda: NOW_NS,
    }
    return Subnets(outbound, **(given | changes))


async def call(
    made: Operation, *answers: Any, arguments: dict[str, Any] | None = None, **changes: Any
) -> tuple[Answer, ScriptedOutbound]:
    outbound = ScriptedOutbound(list(answers))
    caller = subnets(outbound, **changes)
    query = caller.wire_query(made, {"query": "gpu prices"} if arguments is None else arguments)
    return await caller.call(ref(made), query, tag=TAG, timeout_s=2.5), outbound


async def failing(made: Operation, *answers: Any, **changes: Any) -> CallFailed:
    with pytest.raises(CallFailed) as raised:
        await call(made, *answers, **changes)
    return raised.value


# What is sent --------------------------------------------------------------------------------------------------------


async def test_a_get_with_a_raw_key_and_the_answer_mapped() -> None:
    got, outbound = await call(search(), answer(FOUND))
    (sent,) = outbound.sent
    assert (sent.method, sent.url, sent.params) == ("GET", f"{ORIGIN}/web", {"query": "gpu prices"})
    assert sent.headers == {"Accept": "application/json", "Authorization": KEY}
    assert (sent.content, sent.timeout_s) == (None, 2.5)
    assert got.output == {
        "results": [
            {"title": "A", "url": "https://a", "snippet": "s"},
            {"title": "B", "url": "https://b", "snippet": None},
        ]
    }
    assert got.body == json.dumps(FOUND).encode()
    assert got.cost == 1_000


@pytest.mark.parametrize(
    ("auth", "header", "params"),
    [
        ({"kind": "header", "name": "Authorization", "format": "Bearer {key}"}, ("Authorization", f"Bearer {KEY}"), {}),
        ({"kind": "header", "name": "X-API-Key"}, ("X-API-Key", KEY), {}),
        ({"kind": "header", "name": "Authorization", "format": "APIKey {key}"}, ("Authorization", f"APIKey {KEY}"), {}),
        ({"kind": "query", "name": "api_key"}, None, {"api_key": KEY}),
    ],
)
async def test_every_spelling_of_a_key(auth: dict[str, str], header: tuple[str, str] | None, params: Any) -> None:
    _, outbound = await call(search(auth={**auth, "secret": "ORCHESTRA_KEY_SN22"}), answer(FOUND))
    (sent,) = outbound.sent
    assert {k: v for k, v in sent.headers.items() if k != "Accept"} == (dict([header]) if header else {})
    assert sent.params == {"query": "gpu prices", **params}


async def test_a_post_body_is_canonical_json_of_the_query() -> None:
    made = post(request="{q: query, k: `5`, z: nothing}", input_schema={"type": "object"})
    _, outbound = await call(made, answer(FOUND))
    assert outbound.sent[0].content == b'{"k":5,"q":"gpu prices"}'
    assert outbound.sent[0].headers["Content-Type"] == "application/json"


async def test_connect_says_its_version() -> None:
    _, outbound = await call(post(protocol="connect-json"), answer(FOUND))
    assert outbound.sent[0].headers["Connect-Protocol-Version"] == "1"


async def test_arguments_find_their_place_in_path_and_query() -> None:
    made = search(
        request="",
        endpoint={"base_url": f"{ORIGIN}/api/", "method": "GET", "path": "/jobs/{job}/pages", "arguments": "query"},
        input_schema={"type": "object"},
    )
    arguments = {"job": "a/b c?", "tags": ["x", "y"], "deep": True, "n": 2, "o": {"b": 1.5, "a": None}}
    _, outbound = await call(made, answer(FOUND), arguments=arguments)
    (sent,) = outbound.sent
    assert sent.url == f"{ORIGIN}/api/jobs/a%2Fb%20c%3F/pages"
    assert sent.params == {"tags": ["x", "y"], "deep": "true", "n": "2", "o": '{"a":null,"b":1.5}'}


@pytest.mark.parametrize("job", ["..", ".", ""])
async def test_an_argument_cannot_leave_its_place_in_the_path(job: str) -> None:
    made = search(
        request="",
        endpoint={"base_url": ORIGIN, "method": "GET", "path": "/jobs/{job}", "arguments": "query"},
        input_schema={"type": "object"},
    )
    assert (await failing(made, arguments={"job": job})).error.kind == "refused"


async def test_a_query_that_does_not_fit_the_schema_is_not_sent() -> None:
    outbound = ScriptedOutbound()
    with pytest.raises(CallFailed) as raised:
        subnets(outbound).wire_query(search(), {"query": 7})
    assert (raised.value.error.kind, raised.value.cost) == ("schema_mismatch", 0)
    with pytest.raises(CallFailed):
        await subnets(outbound).call(ref(search()), {"query": 7}, tag=TAG, timeout_s=1)
    assert not outbound.sent


def test_a_query_over_the_limit_is_refused() -> None:
    with pytest.raises(CallFailed, match="the query is"):
        subnets(ScriptedOutbound()).wire_query(search(), {"query": "x" * (64 << 10)})


def test_a_request_mapping_that_gives_no_object_is_a_mismatch() -> None:
    with pytest.raises(CallFailed, match="schema_mismatch"):
        subnets(ScriptedOutbound()).wire_query(search(request="query"), {"query": "x"})


# What counts as an answer --------------------------------------------------------------------------------------------


async def test_plain_text_is_the_body_as_a_string() -> None:
    made = search(
        capability="web_scraping",
        request="{query: url}",
        response="{text: @}",
        output_schema={"type": "string"},
        endpoint={
            "base_url": ORIGIN,
            "method": "GET",
            "path": "/crawl",
            "arguments": "query",
            "media_type": "text/plain",
        },
    )
    got, outbound = await call(made, answer(b"# Page"), arguments={"url": "https://x"})
    assert got.output == {"text": "# Page"}
    assert outbound.sent[0].headers["Accept"] == "text/plain"


async def test_a_top_level_array_is_an_answer() -> None:
    made = search(output_schema={"type": "array"}, response="{results: [].{url: link}}")
    got, _ = await call(made, answer(FOUND["data"]))
    assert got.output == {"results": [{"url": "https://a"}, {"url": "https://b"}]}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>oops</html>", "malformed"),
        (b"", "malformed"),
        (b'{"data": [], "data": []}', "malformed"),
        (b'{"data": NaN}', "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"[" * 100 + b"]" * 100, "malformed"),
        (b'{"items": []}', "schema_mismatch"),
        (b"[]", "schema_mismatch"),
        (b'{"data": [{"title": "no link"}]}', "schema_mismatch"),
        (b'{"data": "text"}', "schema_mismatch"),
    ],
)
async def test_what_is_not_as_the_ledger_says_is_not_used(body: bytes, kind: ErrorKind) -> None:
    failed = await failing(search(), answer(body))
    assert (failed.error.kind, failed.error.status, failed.body, failed.cost) == (kind, 200, body, 1_000)


# What went wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "refused"),
        (401, "auth"),
        (402, "out_of_credit"),
        (403, "auth"),
        (404, "refused"),
        (422, "refused"),
        (429, "throttled"),
        (500, "fault"),
        (503, "fault"),
        (301, "refused"),
    ],
)
async def test_a_status_has_a_meaning(status: int, kind: ErrorKind) -> None:
    failed = await failing(search(), answer({"detail": "their words"}, status))
    assert (failed.error.kind, failed.error.status, failed.cost, failed.retryable) == (kind, status, 0, None)
    assert "their words" not in str(failed)


async def test_the_ledgers_rules_come_before_what_http_says() -> None:
    rules = (
        {"status": 400, "contains": "rate_limited", "means": "throttled", "retryable": True},
        {"status": 200, "contains": '"error"', "means": "fault", "retryable": False},
        {"status": 200, "means": "refused", "retryable": False},
    )
    throttled = await failing(search(errors=rules), answer({"code": "rate_limited"}, 400, Retry_After="3"))
    assert (throttled.error.kind, throttled.retryable, throttled.retry_after_s) == ("throttled", True, 3.0)
    fault = await failing(search(errors=rules), answer({"error": {"code": -32005}}))
    assert (fault.error.kind, fault.retryable) == ("fault", False)
    assert (await failing(search(errors=rules), answer({}, 400))).error.kind == "refused"
    got, _ = await call(search(errors=rules), answer(FOUND))
    assert got.status == 200


@pytest.mark.parametrize(
    ("code", "kind"),
    [("resource_exhausted", "throttled"), ("unauthenticated", "auth"), ("unavailable", "fault"), ("nope", "refused")],
)
async def test_connect_names_its_errors(code: str, kind: ErrorKind) -> None:
    failed = await failing(post(protocol="connect-json"), answer({"code": code, "message": "x"}, 400))
    assert failed.error.kind == kind


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("2", 2.0),
        ("0.5", 0.5),
        ("-4", 0.0),
        ("999999", 3_600.0),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
        ("Tue, 14 Nov 99999999999999999999 22:13:10 GMT", None),
        ("Tue, 14 Nov 2023 22:13:10 +99999999999999999", None),
        ("soon", None),
        ("nan", None),
    ],
)
async def test_retry_after_in_both_its_forms(header: str, seconds: float | None) -> None:
    failed = await failing(search(), answer({}, 429, Retry_After=header))
    assert failed.retry_after_s == seconds


@pytest.mark.parametrize(
    ("error", "kind", "cost"),
    [
        (PeerTimeout(1.0), "timeout", 1_000),
        (PeerUnreachable("reset"), "unreachable", 0),
        (ResponseTooLarge(4), "malformed", 1_000),
        (BadResponse("no"), "malformed", 1_000),
        (AddressRefused("private"), "refused", 0),
        (RedirectRefused("away"), "refused", 0),
    ],
)
async def test_what_the_transport_says_becomes_one_class(error: Exception, kind: ErrorKind, cost: int) -> None:
    failed = await failing(search(), error)
    assert (failed.error.kind, failed.cost, failed.body) == (kind, cost, None)


# What it costs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "headers", "cost"),
    [
        ({"amount": "0.000001", "currency": "TAO", "unit": "item", "max_units": 10}, {}, 2_000),
        ({"amount": "0.000001", "currency": "TAO", "unit": "item", "max_units": 1}, {}, 1_000),
        ({"amount": "0.001", "currency": "TAO", "unit": "call", "per": 1000}, {}, 1_000),
        ({"amount": "0.0004", "currency": "USD", "reported_in": "header:X-Cost"}, {"X_Cost": "0.0002"}, 500),
        ({"amount": "0.0004", "currency": "USD", "reported_in": "header:X-Cost"}, {"X_Cost": "9"}, 1_000),
        ({"amount": "0.0004", "currency": "USD", "reported_in": "header:X-Cost"}, {"X_Cost": "-1"}, 1_000),
        ({"amount": "0.0004", "currency": "USD", "reported_in": "header:X-Cost"}, {"X_Cost": "NaN"}, 1_000),
        ({"amount": "0.0004", "currency": "USD", "reported_in": "header:X-Cost"}, {"X_Cost": "1e999990"}, 1_000),
        ({"amount": "0.0004", "currency": "USD", "reported_in": "header:X-Cost"}, {"X_Cost": "9e999999"}, 1_000),
        ({"amount": "0.0004", "currency": "USD", "reported_in": "header:X-Cost"}, {"X_Cost": "1e-999999"}, 1),
        ({"amount": "0.0004", "currency": "USD", "reported_in": "header:X-Cost"}, {}, 1_000),
        ({"amount": "0.000002", "currency": "TAO", "reported_in": "body:cost"}, {}, 1_500),
        (None, {}, 0),
    ],
)
async def test_the_cost_of_an_answer(price: Any, headers: dict[str, str], cost: int) -> None:
    got, _ = await call(search(price=price), answer({**FOUND, "cost": 0.0000015}, **headers))
    assert got.cost == cost


async def test_tokens_are_counted_by_usage() -> None:
    made = search(price={"amount": "0.0001", "currency": "TAO", "unit": "token", "per": 1_000, "max_units": 4_000})
    got, _ = await call(made, answer({**FOUND, "usage": {"total_tokens": 30}}))
    assert got.cost == 3_000
    assert (await call(made, answer(FOUND)))[0].cost == 400_000


async def test_a_dollar_price_without_a_rate_is_not_guessed() -> None:
    got, _ = await call(search(price={"amount": "1", "currency": "USD"}), answer(FOUND), tao_usd=None)
    assert got.cost == 0


async def test_a_failure_costs_what_it_admits() -> None:
    price = {"amount": "0.0004", "currency": "USD", "reported_in": "header:X-Cost"}
    failed = await failing(search(price=price), answer({}, 500, X_Cost="0.0001"))
    assert failed.cost == 250


# Who gets which key --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base_url",
    [
        "https://evil.test",
        "https://api.desearch.test.evil.test",
        "https://api.desearch.test:8443",
        "http://api.desearch.test",
        "https://api.desearch.test@evil.test",
        "https://evil.test\\@api.desearch.test",
        "https://evil.test?@api.desearch.test",
        "https://evil.test#@api.desearch.test",
        "https://api.desearch.test\n.evil.test",
        "http://127.0.0.1:9",
        "https://10.0.0.1",
    ],
)
async def test_a_key_goes_to_no_other_origin(base_url: str) -> None:
    endpoint = search().endpoint.model_copy(update={"base_url": base_url})
    made = search().model_copy(update={"endpoint": endpoint})
    outbound = ScriptedOutbound([answer(FOUND)])
    caller = subnets(outbound, allow_origins=("https://evil.test", "https://10.0.0.1"))
    assert not caller.usable(ref(made))
    with pytest.raises(CallFailed) as raised:
        await caller.call(ref(made), {"query": "x"}, tag=TAG, timeout_s=1)
    assert raised.value.error.kind == "auth"
    assert not outbound.sent
    assert KEY not in repr(raised.value) + str(raised.value.error)


def test_a_missing_key_is_not_usable_and_another_spelling_of_the_origin_is_the_same() -> None:
    caller = subnets(ScriptedOutbound())
    assert caller.usable(ref(search()))
    same = search(
        endpoint={"base_url": "https://API.desearch.test:443/v2", "method": "GET", "path": "/", "arguments": "query"}
    )
    assert caller.usable(ref(same))
    assert not caller.usable(
        ref(search(auth={"kind": "header", "name": "Authorization", "secret": "ORCHESTRA_KEY_SN64"}))
    )


def test_an_origin_without_a_key_needs_the_operators_word() -> None:
    open_data = search(
        auth={"kind": "none"},
        endpoint={"base_url": "https://open.test", "method": "GET", "path": "/", "arguments": "query"},
    )
    assert not subnets(ScriptedOutbound()).usable(ref(open_data))
    assert subnets(ScriptedOutbound(), allow_origins=("https://open.test",)).usable(ref(open_data))


def test_this_machine_is_called_only_on_the_local_network() -> None:
    endpoint = {"base_url": "http://127.0.0.2:8080", "method": "GET", "path": "/", "arguments": "query"}
    local = search(auth={"kind": "none"}, endpoint=endpoint)
    assert not subnets(ScriptedOutbound(), allow_origins=("http://127.0.0.2:8080",)).usable(ref(local))
    assert subnets(ScriptedOutbound(), allow_loopback=True).usable(ref(local))


@pytest.mark.parametrize(
    "auth",
    [
        {"kind": "header", "name": "Authorization", "format": "Bearer {key}\r\nX-Evil: 1"},
        {"kind": "header", "name": "Bad Name", "format": "{key}"},
        {"kind": "header", "name": "", "format": "{key}"},
    ],
)
async def test_a_header_cannot_be_split(auth: dict[str, str]) -> None:
    failed = await failing(search(auth={**auth, "secret": "ORCHESTRA_KEY_SN22"}))
    assert failed.error.kind == "refused"


async def test_a_header_that_is_the_connections_own_is_refused() -> None:
    auth = {"kind": "header", "name": "Host", "format": "{key}", "secret": "ORCHESTRA_KEY_SN22"}
    assert (await failing(search(auth=auth), ValueError("Host"))).error.kind == "refused"


@pytest.mark.parametrize(
    ("value", "origin"), [("a b\n", ORIGIN), ("", ORIGIN), ("k", "http://x.test"), ("k", "x.test")]
)
def test_a_secret_that_cannot_be_kept_is_refused_without_showing_it(value: str, origin: str) -> None:
    with pytest.raises(ValueError) as raised:
        Secret(value, origin)
    assert not value or value not in str(raised.value).replace("origin", "").replace("key", "").replace("blanks", "")


async def test_a_key_is_never_shown(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.DEBUG)
    echo = {**FOUND, "debug": {"headers": {"Authorization": KEY}}}
    shown = [repr(Secret(KEY, ORIGIN)), repr(subnets(ScriptedOutbound()))]
    for scripted in (
        answer({"e": KEY}, 401),
        answer(echo),
        answer({"e": KEY}, 500),
        PeerUnreachable(KEY),
        BadResponse(KEY),
    ):
        failed = await failing(search(), scripted)
        shown += [repr(failed), str(failed), str(failed.error), str(failed.body), repr(failed.__cause__)]
    shown += [caplog.text, *capfd.readouterr()]
    assert not [text for text in shown if KEY in text]


# Receipts ------------------------------------------------------------------------------------------------------------

SIGNED = post(protocol="signed-http", auth={"kind": "hotkey"}, receipt_key=PROVIDER.ss58_address)


def receipt(body: bytes, *, signer: Keypair = PROVIDER, **changes: Any) -> Receipt:
    fields: dict[str, Any] = {
        "entry": "desearch",
        "operation": "web_search",
        "caller": CALLER.ss58_address,
        "tag": TAG,
        "request_hash": sha256(canonical({"query": "gpu prices"})),
        "response_hash": sha256(body),
        "time_ms": 1_700_000_000_000,
    }
    signed = fields | changes
    return Receipt(
        key=signer.ss58_address,
        time_ms=fields["time_ms"],
        request_hash=fields["request_hash"],
        signature="0x" + signer.sign(receipt_payload(**signed)).hex(),
    )


def with_receipt(given: Receipt | str) -> Any:
    got = answer(FOUND)
    header = given if isinstance(given, str) else write_receipt(given)
    return replace(got, headers=type(got.headers)({RECEIPT_HEADER: header}))  # type: ignore[call-arg]


def test_the_signed_payload_is_pinned() -> None:
    payload = receipt_payload(
        entry="e", operation="o", caller="c", tag="t", request_hash="r", response_hash="s", time_ms=1
    )
    assert payload == (
        b'{"caller":"c","domain":"orchestra-receipt/1","entry":"e","operation":"o","request_hash":"r",'
        b'"response_hash":"s","tag":"t","time_ms":1}'
    )


async def test_a_receipt_is_verified_and_kept() -> None:
    given = receipt(answer(FOUND).body)
    got, outbound = await call(SIGNED, with_receipt(given), allow_origins=(ORIGIN,), secrets={})
    assert got.receipt == given
    sent = outbound.sent[0].headers
    assert sent[TAG_HEADER] == TAG
    assert sent[http_auth.HEADER_HOTKEY] == CALLER.ss58_address
    assert sent[http_auth.HEADER_RECEIVER] == PROVIDER.ss58_address


@pytest.mark.parametrize(
    "given",
    [
        receipt(b"another body"),
        receipt(answer(FOUND).body, tag="0x" + "cd" * 32),
        receipt(answer(FOUND).body, caller=PROVIDER.ss58_address),
        receipt(answer(FOUND).body, operation="other"),
        receipt(answer(FOUND).body, time_ms=5),
        receipt(answer(FOUND).body, signer=CALLER),
        "not base64!",
        base64.b64encode(b"{}").decode(),
        "A" * 5_000,
    ],
)
async def test_a_receipt_that_does_not_hold_spoils_the_answer(given: Receipt | str) -> None:
    failed = await failing(SIGNED, with_receipt(given), allow_origins=(ORIGIN,))
    assert failed.error.kind == "malformed"


async def test_an_answer_without_a_receipt_is_an_answer() -> None:
    got, _ = await call(SIGNED, answer(FOUND), allow_origins=(ORIGIN,))
    assert got.receipt is None


async def test_the_tag_is_for_providers_that_sign() -> None:
    _, outbound = await call(search(), answer(FOUND))
    assert TAG not in str(outbound.sent)


async def test_without_a_hotkey_signed_operations_are_not_usable() -> None:
    assert not subnets(ScriptedOutbound(), signer=None, allow_origins=(ORIGIN,)).usable(ref(SIGNED))


async def test_every_signature_has_its_own_nonce() -> None:
    outbound = ScriptedOutbound([answer(FOUND), answer(FOUND)])
    caller = subnets(outbound, allow_origins=(ORIGIN,))
    for _ in range(2):
        await caller.call(ref(SIGNED), {"query": "x"}, tag=TAG, timeout_s=1)
    first, second = outbound.sent
    assert first.headers != second.headers
