"""A provider's signature over one answer: the strongest evidence there is that a call was really made.

The payload binds provider, operation, caller, challenge tag, both bodies and the time, so that a receipt cannot be
reused for another caller, another challenge or another answer. It travels in a response header, base64 of JSON.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from pydantic import ValidationError

from ledger.canonical import StrictJSONError, canonical, parse_strict, sha256
from ledger.types import Verify
from ledger.view import OperationRef
from orchestra.protocol import Receipt

RECEIPT_DOMAIN = "orchestra-receipt/1"
RECEIPT_HEADER = "X-Orchestra-Receipt"
TAG_HEADER = "X-Orchestra-Tag"
MAX_HEADER_CHARS = 4_096


class ReceiptRefused(ValueError):
    """There is a receipt and it does not hold."""


def receipt_payload(
    *, entry: str, operation: str, caller: str, tag: str, request_hash: str, response_hash: str, time_ms: int
) -> bytes:
    """The exact bytes that a receipt signs. `caller` is the SS58 hotkey that signed the request; the hashes are over
    the body bytes, the request's being canonical JSON of the query.
    """
    return canonical(
        {
            "domain": RECEIPT_DOMAIN,
            "entry": entry,
            "operation": operation,
            "caller": caller,
            "tag": tag,
            "request_hash": request_hash,
            "response_hash": response_hash,
            "time_ms": time_ms,
        }
    )


def receipt_holds(
    receipt: Receipt,
    ref: OperationRef,
    *,
    caller: str,
    tag: str,
    request_hash: str,
    response_hash: str,
    verify: Verify,
) -> bool:
    """Is this the provider's own word on exactly this exchange? The key must be the one that the Ledger names."""
    if receipt.key != ref.operation.receipt_key or receipt.request_hash != request_hash:
        return False
    payload = receipt_payload(
        entry=ref.entry.id,
        operation=ref.operation.name,
        caller=caller,
        tag=tag,
        request_hash=request_hash,
        response_hash=response_hash,
        time_ms=receipt.time_ms,
    )
    return verify(receipt.key, payload, bytes.fromhex(receipt.signature[2:]))


def write_receipt(receipt: Receipt) -> str:
    """The value of `RECEIPT_HEADER`."""
    return base64.b64encode(canonical(receipt.model_dump(mode="json"))).decode()


def read_receipt(
    headers: Mapping[str, str],
    ref: OperationRef,
    *,
    caller: str,
    tag: str,
    request: bytes,
    response: bytes,
    verify: Verify,
) -> Receipt | None:
    """The verified receipt of an answer; None when the provider sent none.

    Raises:
        ReceiptRefused: it is not one, or does not hold for this exchange.
    """
    header = headers.get(RECEIPT_HEADER, "")
    if not header:
        return None
    if len(header) > MAX_HEADER_CHARS:
        raise ReceiptRefused("the receipt is longer than a receipt")
    try:
        fields = parse_strict(base64.b64decode(header, validate=True))
        receipt = Receipt.model_validate(fields)
    except (binascii.Error, StrictJSONError, ValidationError):
        raise ReceiptRefused("the receipt cannot be read") from None
    if not receipt_holds(
        receipt,
        ref,
        caller=caller,
        tag=tag,
        request_hash=sha256(request),
        response_hash=sha256(response),
        verify=verify,
    ):
        raise ReceiptRefused("the receipt does not verify")
    return receipt
