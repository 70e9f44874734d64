"""The signed bytes, pinned; and every header spelling that has to be refused."""

from __future__ import annotations

import pytest
from bittensor import http_auth
from bittensor.keyfiles import Keypair
from hypothesis import given
from hypothesis import strategies as st

from orchestra.transport import FreshNonces, Refused, request_digest, sign_request, signed_payload
from orchestra.transport.btauth import read_envelope, verify_request, wire_path

ALICE = Keypair.create_from_uri("//Alice")
BOB = Keypair.create_from_uri("//Bob")
NONCE = 1_800_000_000_000_000_000
BODY = b'{"objective":"price"}'
TARGET = "/v1/challenge?x=%7E&y=a%2Fb"

GOLDEN_PAYLOAD = (
    b"btauth/1\nsr25519\nPOST\n/v1/challenge?x=%7E&y=a%2Fb\n"
    b"d7744dca2fb86d1d3fb8c41b8ef679b9f278f5987caaff5a6134100ac209cdff\n1800000000000000000\n"
    b"5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY\n5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
)
GOLDEN_DIGEST = "0xb9bb8d12dde47bbffaca8a26dc14bb3b1542966d1de3133965728e11cd47c9b1"
GOLDEN_SIGNATURE = (
    "fe40fb08141dbd7d28c30864070dd0f0318c44a70e525e5533a89d0e6f336635"
    "107e37972679ebbf28729e36ef216844332e82d87cbc50ba67cd6b01d713b28a"
)


def test_nonces_differ_in_one_tick_and_follow_a_clock_that_jumps() -> None:
    hour = 3_600 * 10**9
    now = NONCE
    nonces = FreshNonces(lambda: now)
    assert [nonces() for _ in range(3)] == [NONCE, NONCE + 1, NONCE + 2]
    now = NONCE + hour
    assert nonces() == now
    now = NONCE + 5 * 10**9  # set right again: an hour of nonces from the future would be an hour of refusals
    after = [nonces() for _ in range(3)]
    assert after == [now, now + 1, now + 2]
    now += 1
    assert nonces() == now + 2  # a tick behind what was given out is no jump


def signed(**changes: str) -> list[tuple[bytes, bytes]]:
    headers, _ = sign_request(ALICE, method="POST", path=TARGET, body=BODY, receiver=BOB.ss58_address, nonce_ns=NONCE)
    merged = {**{name.lower(): value for name, value in headers.items()}, **changes}
    return [(name.encode(), value.encode()) for name, value in merged.items() if value != "-drop-"]


def refusal_of(headers: list[tuple[bytes, bytes]]) -> str:
    with pytest.raises(Refused) as caught:
        read_envelope(headers)
    return caught.value.problem.code


def test_golden_payload_and_digest() -> None:
    payload = signed_payload(
        method="POST",
        path=TARGET,
        body=BODY,
        nonce_ns=NONCE,
        sender=ALICE.ss58_address,
        receiver=BOB.ss58_address,
    )
    assert payload == GOLDEN_PAYLOAD
    assert request_digest(payload) == GOLDEN_DIGEST
    _, digest = sign_request(ALICE, method="POST", path=TARGET, body=BODY, receiver=BOB.ss58_address, nonce_ns=NONCE)
    assert digest == GOLDEN_DIGEST


def test_golden_signature_verifies() -> None:
    envelope = read_envelope(signed(**{"x-bittensor-signature": "0x" + GOLDEN_SIGNATURE}))
    verify_request(envelope, BODY, method="POST", path=TARGET, self_hotkey=BOB.ss58_address, now_ns=NONCE)


def test_the_sdk_accepts_what_we_sign() -> None:
    headers, _ = sign_request(ALICE, method="POST", path=TARGET, body=BODY, receiver=BOB.ss58_address, nonce_ns=NONCE)
    caller = http_auth.verify(
        headers, BODY, method="POST", path=TARGET, self_hotkey_ss58=BOB.ss58_address, now_ns=NONCE
    )
    assert caller.hotkey_ss58 == ALICE.ss58_address


def test_we_accept_what_the_sdk_signs() -> None:
    headers = http_auth.sign(
        ALICE, method="POST", path=TARGET, body=BODY, receiver_ss58=BOB.ss58_address, nonce_ns=NONCE
    )
    envelope = read_envelope([(name.lower().encode(), value.encode()) for name, value in headers.items()])
    verify_request(envelope, BODY, method="POST", path=TARGET, self_hotkey=BOB.ss58_address, now_ns=NONCE)
    assert envelope.hotkey == ALICE.ss58_address


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("x-bittensor-version", "-drop-", "auth_missing"),
        ("x-bittensor-hotkey", "-drop-", "auth_missing"),
        ("x-bittensor-nonce", "-drop-", "auth_missing"),
        ("x-bittensor-signature", "-drop-", "auth_missing"),
        ("x-bittensor-receiver", "-drop-", "wrong_receiver"),
        ("x-bittensor-version", "2", "auth_malformed"),
        ("x-bittensor-hotkey", "5Grwva", "auth_malformed"),
        ("x-bittensor-hotkey", "0" * 48, "auth_malformed"),
        ("x-bittensor-nonce", "0", "auth_malformed"),
        ("x-bittensor-nonce", "+1800000000000000000", "auth_malformed"),
        ("x-bittensor-nonce", "01800000000000000000", "auth_malformed"),
        ("x-bittensor-nonce", "1_800_000_000_000_000", "auth_malformed"),
        ("x-bittensor-nonce", "9" * 20, "auth_malformed"),
        ("x-bittensor-signature", "0x" + "0" * 126, "auth_malformed"),
        ("x-bittensor-signature", "0x" + "A" * 128, "auth_malformed"),
        ("x-bittensor-crypto", "ed25519", "auth_malformed"),
    ],
)
def test_a_header_has_one_spelling(name: str, value: str, code: str) -> None:
    assert refusal_of(signed(**{name: value})) == code


def test_a_repeated_header_is_ambiguous() -> None:
    assert refusal_of([*signed(), (b"x-bittensor-nonce", str(NONCE).encode())]) == "auth_malformed"


def test_a_hotkey_with_a_bad_checksum_is_malformed() -> None:
    hotkey = ALICE.ss58_address[:-1] + ("Z" if ALICE.ss58_address[-1] != "Z" else "Y")
    envelope = read_envelope(signed(**{"x-bittensor-hotkey": hotkey}))
    with pytest.raises(Refused) as caught:
        verify_request(envelope, BODY, method="POST", path=TARGET, self_hotkey=BOB.ss58_address, now_ns=NONCE)
    assert caught.value.problem.code == "auth_malformed"


def test_a_target_that_is_not_ascii_is_malformed() -> None:
    with pytest.raises(Refused):
        wire_path("/é".encode(), b"")


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_the_wire_form_of_a_path_is_what_was_sent(path: bytes, query: bytes) -> None:
    raw_path, raw_query = path.hex().encode(), query.hex().encode()
    assert wire_path(raw_path, raw_query).encode() == raw_path + (b"?" + raw_query if raw_query else b"")


@given(st.lists(st.tuples(st.sampled_from([name for name, _ in signed()]), st.binary(max_size=80)), max_size=8))
def test_any_headers_are_read_or_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Refused) as caught:
        read_envelope(headers)
    assert caught.value.problem.code in {"auth_missing", "auth_malformed", "wrong_receiver"}
