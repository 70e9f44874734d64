"""A miner that lies well, for the local network: it plans, routes and seals like an honest one, but calls nobody.

It invents every answer in the shape that the Ledger prescribes, signs receipts with its own key, hashes all of it
consistently and reveals it on demand. Leaves, root, signature and bytes fit together; only replay and receipts show
that nothing happened. It is in the package because the demonstration and the tests of every validator need it.
"""

import json
import random
import time
from collections.abc import Mapping
from itertools import takewhile
from typing import Any, cast

from ledger.canonical import canonical, sha256
from ledger.entry import Operation
from ledger.types import Signer
from ledger.view import OperationRef
from neurons.miner import command
from neurons.running import Neuron, start
from orchestra.execution.run import Answer, SubnetCaller
from orchestra.protocol import Receipt
from orchestra.subnets import receipt_payload
from orchestra.subnets.mapping import map_output

_WORDS = ("leading", "low latency", "verified", "flexible terms", "global regions", "open models", "team support")
_ADDRESSES = frozenset({"url", "uri", "link", "base_url", "website"})
_INSTANTS = frozenset({"at", "datetime", "observed_at", "date"})


class Inventor:
    """A `SubnetCaller` that makes everything up, plausibly and always the same for the same query."""

    def __init__(self, honest: SubnetCaller, signer: Signer) -> None:
        self._honest = honest
        self._signer = signer

    def wire_query(self, operation: Operation, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return self._honest.wire_query(operation, arguments)

    async def call(self, ref: OperationRef, query: Mapping[str, Any], *, tag: str, timeout_s: float) -> Answer:
        dice = random.Random(canonical(dict(query)))
        wire = _invent(ref.operation.output_schema, query, dice)
        body = wire.encode() if isinstance(wire, str) else json.dumps(wire).encode()
        receipt = self._receipt(ref, query, tag, body) if ref.operation.receipt_key else None
        return Answer(200, body, map_output(ref.operation, body), 1_000, receipt)

    def _receipt(self, ref: OperationRef, query: Mapping[str, Any], tag: str, body: bytes) -> Receipt:
        now_ms = time.time_ns() // 1_000_000
        request_hash, response_hash = sha256(canonical(dict(query))), sha256(body)
        signed = receipt_payload(
            entry=ref.entry.id,
            operation=ref.operation.name,
            caller=self._signer.ss58_address,
            tag=tag,
            request_hash=request_hash,
            response_hash=response_hash,
            time_ms=now_ms,
        )
        signature = "0x" + self._signer.sign(signed).hex()
        return Receipt(key=ref.operation.receipt_key, time_ms=now_ms, request_hash=request_hash, signature=signature)


def _invent(schema: Mapping[str, Any], query: Mapping[str, Any], dice: random.Random, name: str = "") -> Any:
    """A value that the schema allows for a property of this name, coloured by the query."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return dice.choice(schema["enum"])
    kinds = schema.get("type", "string")
    kind = kinds if isinstance(kinds, str) else cast("list[str]", kinds)[0]
    match kind:
        case "object" if "properties" in schema:
            return {key: _invent(part, query, dice, key) for key, part in schema["properties"].items()}
        case "object":
            return _record(query, dice)
        case "array":
            return [_invent(schema.get("items", {"type": "string"}), query, dice) for _ in range(dice.randint(1, 3))]
        case "integer":
            return dice.randint(1, 90)
        case "number":
            return round(dice.uniform(0.5, 4.0), 2)
        case "boolean":
            return dice.random() < 0.5
        case "null":
            return None
        case _:
            return f"{dice.uniform(20, 90):.2f}" if "pattern" in schema else _text(name, query, dice)


def _text(name: str, query: Mapping[str, Any], dice: random.Random) -> str:
    about = _about(query)
    if name in _ADDRESSES:
        return f"https://{about.lower().replace(' ', '-')}.example/{dice.choice(('pricing', 'docs', 'about'))}"
    if name in _INSTANTS:
        return f"2026-11-{dice.randint(10, 28)}T00:00:00Z"
    if name == "unit":
        return "%"
    return f"{about}: {dice.choice(_WORDS)}, {dice.choice(_WORDS)}, from {dice.uniform(0.5, 4.0):.2f} USD"


def _about(query: Mapping[str, Any]) -> str:
    """What a query is about: the names it begins with, or the host that an earlier invention put them in."""
    texts = [value for value in query.values() if isinstance(value, str)]
    hosts = [
        text.split("/")[2].split(".")[0].replace("-", " ").title() for text in texts if text.startswith("https://")
    ]
    words = next((text.split() for text in texts if " " in text and not text.startswith("{")), ["the", "provider"])
    names = list(takewhile(lambda word: word[:1].isupper() and word not in ("GPU", "Bittensor"), words))
    return next(iter(hosts), " ".join(names or words))


def _record(query: Mapping[str, Any], dice: random.Random) -> dict[str, Any]:
    """A record with the fields that an extraction asks for."""
    asked = query.get("fields", {})
    fields: dict[str, Any] = json.loads(asked) if isinstance(asked, str) else asked
    return {name: _of_word(name, str(word), query, dice) for name, word in fields.items()}


def _of_word(name: str, word: str, query: Mapping[str, Any], dice: random.Random) -> Any:
    match word.split("[")[0].strip(" ?"):
        case "int":
            return dice.randint(1, 128)
        case "float":
            return round(dice.uniform(0.5, 4.0), 2)
        case "bool":
            return True
        case "dict":
            return {"a100_80gb": round(dice.uniform(0.9, 2.5), 2), "h100_80gb": round(dice.uniform(2.0, 4.0), 2)}
        case "list":
            return dice.sample(_WORDS, 2)
        case "url":
            return _text("url", query, dice)
        case _:
            return _about(query) if name == "name" else _text(name, query, dice)


def invent(neuron: Neuron) -> SubnetCaller:
    """The forger's way to the subnets: none."""
    return Inventor(neuron.subnets, neuron.signer)


if __name__ == "__main__":
    start(command(invent))
