"""Standard Webhooks: the published example verifies, and nothing that differs from it does."""

from __future__ import annotations

import pytest

from ledger.webhook_signature import is_genuine, new_secret, signed_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE, TIMESTAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}'
HEADERS = {
    "webhook-id": MESSAGE,
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
"""The example that the Standard Webhooks libraries publish and test against."""


def test_the_published_example() -> None:
    assert signed_headers(SECRET, MESSAGE, TIMESTAMP, BODY) == HEADERS
    assert is_genuine(SECRET, HEADERS, BODY, now_s=TIMESTAMP)


def test_one_of_several_signatures_is_enough() -> None:
    several = {**HEADERS, "webhook-signature": f"v1,AAAA v2,zzzz {HEADERS['webhook-signature']}"}
    assert is_genuine(SECRET, several, BODY, now_s=TIMESTAMP)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "msg_other"},
        {"webhook-timestamp": "1614265331"},
        {"webhook-timestamp": "²"},
        {"webhook-timestamp": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": HEADERS["webhook-signature"].replace("v1", "v2")},
    ],
)
def test_what_differs_is_not_genuine(changed: dict[str, str]) -> None:
    assert not is_genuine(SECRET, {**HEADERS, **changed}, BODY, now_s=TIMESTAMP)


def test_another_body_secret_or_time_is_not_genuine() -> None:
    assert not is_genuine(SECRET, HEADERS, BODY + b" ", now_s=TIMESTAMP)
    assert not is_genuine(new_secret(), HEADERS, BODY, now_s=TIMESTAMP)
    assert is_genuine(SECRET, HEADERS, BODY, now_s=TIMESTAMP + 300)
    for now_s in (TIMESTAMP + 301, TIMESTAMP - 301):
        assert not is_genuine(SECRET, HEADERS, BODY, now_s=now_s)
    assert not is_genuine(SECRET, {}, BODY, now_s=TIMESTAMP)


def test_a_new_secret_signs_and_is_of_the_published_form() -> None:
    secret = new_secret()
    assert secret.startswith("whsec_")
    assert is_genuine(secret, signed_headers(secret, "m", 5, b"x"), b"x", now_s=5)
    assert new_secret() != secret
