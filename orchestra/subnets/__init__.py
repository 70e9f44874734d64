"""How a task reaches a subnet: wire protocols, not one class per subnet."""

from orchestra.subnets.caller import Outbound, Subnets
from orchestra.subnets.receipts import RECEIPT_HEADER, TAG_HEADER, receipt_holds, receipt_payload, write_receipt
from orchestra.subnets.secrets import Secret, is_loopback, origin_of

__all__ = [
    "RECEIPT_HEADER",
    "TAG_HEADER",
    "Outbound",
    "Secret",
    "Subnets",
    "is_loopback",
    "origin_of",
    "receipt_holds",
    "receipt_payload",
    "write_receipt",
]
