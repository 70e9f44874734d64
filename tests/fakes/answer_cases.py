"""Objectives over the local collections with the answers that their pages state, and how an answer is marked.

None of them is a demo objective. `expected` holds what must be in the result: every leaf of it is one mark. Records
of a list are matched by their first key, whatever their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from orchestra.execution.run import Run
from orchestra.protocol import Derivation, Source
from orchestra.schema import leaf_pointers, resolve_pointer
from orchestra.synthesis import Synthesis, evaluate, supports


@dataclass(frozen=True, slots=True)
class Case:
    """One objective; `missing` are capabilities that the answer must name as missing."""

    name: str
    objective: str
    schema: dict[str, Any]
    expected: dict[str, Any]
    missing: tuple[str, ...] = ()
    only: bool = False


CASES = (
    Case(
        "three clouds side by side",
        "Compare Northgrid, Kestrel Cloud and Basalt Compute: A100 hourly price, regions, uptime and headquarters.",
        {
            "providers": [
                {"name": "str", "a100_price": "float", "regions": "list[str]", "uptime": "float", "headquarters": "str"}
            ],
            "cheapest": "str",
        },
        {
            "providers": [
                {
                    "name": "Northgrid",
                    "a100_price": 1.72,
                    "regions": ["EU North"],
                    "uptime": 99.9,
                    "headquarters": "Luleå, Sweden",
                },
                {
                    "name": "Kestrel Cloud",
                    "a100_price": 2.1,
                    "regions": ["EU West", "UK South"],
                    "uptime": 99.95,
                    "headquarters": "Dublin, Ireland",
                },
                {
                    "name": "Basalt Compute",
                    "a100_price": 1.6,
                    "regions": ["Iceland"],
                    "uptime": 99.0,
                    "headquarters": "Reykjavík, Iceland",
                },
            ],
            "cheapest": "Basalt Compute",
        },
    ),
    Case(
        "an average and the cheapest",
        "What is the average A100 price across RunPod, Vast.ai and Lambda?",
        {"average_price": "float", "cheapest": {"provider": "str", "price": "float"}},
        {"average_price": 1.776667, "cheapest": {"provider": "Vast.ai", "price": 1.45}},
    ),
    Case(
        "a median of five with its explanation",
        "What is the median A100 price among RunPod, Vast.ai, Lambda, Northgrid and Basalt Compute?",
        {"median_price": "float", "prices": "dict[str, float]"},
        {
            "median_price": 1.72,
            "prices": {"RunPod": 1.99, "Vast.ai": 1.45, "Lambda": 1.89, "Northgrid": 1.72, "Basalt Compute": 1.6},
        },
    ),
    Case(
        "a difference of two prices",
        "How much does an H100 cost at Vast.ai compared to Lambda?",
        {"prices": "dict[str, float]", "difference": "float"},
        {"prices": {"Vast.ai": 2.19, "Lambda": 2.99}, "difference": 0.8},
    ),
    Case(
        "two columns of a table for one product",
        "Compare the spot and on-demand price of the H100 at RunPod and Basalt Compute.",
        {"clouds": [{"name": "str", "on_demand": "float", "spot": "float"}]},
        {
            "clouds": [
                {"name": "RunPod", "on_demand": 2.79, "spot": 1.69},
                {"name": "Basalt Compute", "on_demand": 2.35, "spot": 1.75},
            ]
        },
    ),
    Case(
        "ranks",
        "Rank RunPod, Vast.ai, Lambda by their A100 price",
        {"providers": [{"name": "str", "price": "float", "rank": "int"}]},
        {
            "providers": [
                {"name": "RunPod", "price": 1.99, "rank": 3},
                {"name": "Vast.ai", "price": 1.45, "rank": 1},
                {"name": "Lambda", "price": 1.89, "rank": 2},
            ]
        },
    ),
    Case(
        "the cheapest of all",
        "Which GPU cloud has the cheapest H100 and at what price?",
        {"provider": "str", "price": "float"},
        {"provider": "Vast.ai", "price": 2.19},
    ),
    Case(
        "one company's facts, keyed by its name",
        "When was RunPod founded, where is it based and what does its storage cost?",
        {"runpod": {"founded": "int", "headquarters": "str", "storage_price": "float"}},
        {"runpod": {"founded": 2022, "headquarters": "Mount Laurel, New Jersey", "storage_price": 0.1}},
    ),
    Case(
        "good and bad sides",
        "What are the strengths and drawbacks of Vast.ai?",
        {"strengths": "list", "weaknesses": "list"},
        {
            "strengths": ["lowest price", "marketplace"],
            "weaknesses": ["hosts differ in reliability", "no uptime guarantee"],
        },
    ),
    Case(
        "a page given by its address",
        "Extract the GPU prices from https://northgrid.example/pricing",
        {"prices": "dict[str, float]", "provider": "str"},
        {
            "prices": {"a100_80gb": 1.72, "h100_80gb": 2.55, "h200_141gb": 3.2, "b200_192gb": 4.9},
            "provider": "Northgrid",
        },
    ),
    Case(
        "by number",
        "What is the website of subnet 75?",
        {"website": "url", "name": "str"},
        {"website": "https://hippius.com/", "name": "Hippius"},
    ),
    Case(
        "bools, urls, ints and an optional date",
        "Give netuid, repository and whether there is a public API for Data Universe, Compute Horde and Zeus.",
        {
            "subnets": [
                {"name": "str", "netuid": "int", "repository": "url", "public_api": "bool", "checked?": "datetime"}
            ]
        },
        {
            "subnets": [
                {
                    "name": "Data Universe",
                    "netuid": 13,
                    "repository": "https://github.com/macrocosm-os/data-universe",
                    "public_api": True,
                    "checked": "2026-08-22T00:00:00Z",
                },
                {"name": "Compute Horde", "netuid": 12, "public_api": True},
                {"name": "Zeus", "netuid": 18, "repository": "https://github.com/Orpheus-AI/Zeus", "public_api": True},
            ]
        },
    ),
    Case(
        "one thing by what it does, with a nested object",
        "Which Bittensor subnet offers weather forecasts and how does one authenticate with its API?",
        {"name": "str", "netuid": "int", "api": {"base_url": "url", "auth": "str"}},
        {
            "name": "Zeus",
            "netuid": 18,
            "api": {"base_url": "https://api.zeussubnet.com", "auth": "API key in the X-API-Key header."},
        },
    ),
    Case(
        "one thing by what it does, in two sentences",
        "Find a subnet with S3-compatible object storage. How do I authenticate?",
        {"name": "str", "netuid": "int", "website": "url"},
        {"name": "Hippius", "netuid": 75, "website": "https://hippius.com/"},
    ),
    Case(
        "either of two capabilities",
        "List the Bittensor subnets for storage or VPN with netuid and website.",
        {"subnets": [{"netuid": "int", "name": "str", "website": "url"}]},
        {
            "subnets": [
                {"netuid": 75, "name": "Hippius", "website": "https://hippius.com/"},
                {"netuid": 65, "name": "TAO Private Network", "website": "https://tpn.taofu.xyz/"},
                {"netuid": 105, "name": "Beam", "website": "https://b1m.ai"},
            ]
        },
        only=True,
    ),
    Case(
        "a list of plain numbers",
        "Which subnet numbers belong to robotics projects?",
        {"netuids": "list[int]"},
        {"netuids": [49, 80, 124]},
        only=True,
    ),
    Case(
        "a list of plain names",
        "Name the subnets for genomics",
        {"subnets": "list[str]"},
        {"subnets": ["NIOME", "Minos"]},
        only=True,
    ),
    Case(
        "objects keyed by what they are about",
        "What are the netuid and repository of Ridges, Gittensor and Bitsec.ai?",
        {
            "subnets": {
                "ridges": {"netuid": "int", "repository": "url"},
                "gittensor": {"netuid": "int"},
                "bitsec": {"netuid": "int"},
            }
        },
        {
            "subnets": {
                "ridges": {"netuid": 62, "repository": "https://github.com/ridgesai/ridges"},
                "gittensor": {"netuid": 74},
                "bitsec": {"netuid": 60},
            }
        },
    ),
    Case(
        "yes or no for each",
        "Which of Chutes, Targon and Apex has a public API?",
        {"subnets": [{"name": "str", "public_api": "bool"}]},
        {
            "subnets": [
                {"name": "Chutes", "public_api": True},
                {"name": "Targon", "public_api": True},
                {"name": "Apex", "public_api": False},
            ]
        },
    ),
    Case(
        "a closed choice",
        "Compare Zeus and Synth: what they do and whether they have a public API.",
        {"comparison": [{"name": "str", "public_api": "bool", "kind": "enum(forecast, storage, search)"}]},
        {
            "comparison": [
                {"name": "Zeus", "public_api": True, "kind": "forecast"},
                {"name": "Synth", "public_api": True, "kind": "forecast"},
            ]
        },
    ),
    Case(
        "records inside of one thing",
        "What API operations does Desearch have?",
        {"operations": [{"operation": "str", "method": "str", "path": "str"}], "base_url": "url"},
        {
            "base_url": "https://api.desearch.ai",
            "operations": [{"operation": "ai_search", "method": "POST", "path": "/desearch/ai/search"}],
        },
    ),
    Case(
        "a limit on a number",
        "List GPU clouds with an uptime of at least 99.92 %",
        {"clouds": [{"name": "str", "uptime": "float"}]},
        {"clouds": [{"name": "Kestrel Cloud", "uptime": 99.95}]},
        only=True,
    ),
    Case(
        "the first three by price",
        "List the three cheapest GPU clouds for an A100",
        {"clouds": [{"name": "str", "a100_price": "float"}]},
        {
            "clouds": [
                {"name": "Vast.ai", "a100_price": 1.45},
                {"name": "Basalt Compute", "a100_price": 1.6},
                {"name": "Northgrid", "a100_price": 1.72},
            ]
        },
        only=True,
    ),
    Case(
        "below a price",
        "List GPU clouds where an A100 costs under $1.65 per hour",
        {"clouds": [{"name": "str", "a100_price": "float"}]},
        {"clouds": [{"name": "Vast.ai", "a100_price": 1.45}, {"name": "Basalt Compute", "a100_price": 1.6}]},
        only=True,
    ),
    Case(
        "a recommended thing and not only its price",
        "Recommend a GPU cloud among RunPod, Vast.ai and Lambda for A100 jobs and say why.",
        {"recommendation": {"provider": "str", "price": "float", "rationale": "str"}},
        {"recommendation": {"provider": "Vast.ai", "price": 1.45}},
    ),
    Case(
        "the oldest of three",
        "Which of RunPod, Vast.ai and Lambda is the oldest company?",
        {"company": "str", "founded": "int"},
        {"company": "Lambda", "founded": 2012},
    ),
    Case(
        "the highest, and whose it is",
        "What is the highest uptime among Northgrid, Kestrel Cloud and RunPod?",
        {"highest_uptime": "float", "provider": "str"},
        {"highest_uptime": 99.95, "provider": "Kestrel Cloud"},
    ),
    Case(
        "how many, and which",
        "Get the number of subnets working on genomics and their names",
        {"count": "int", "names": "list[str]"},
        {"count": 2, "names": ["NIOME", "Minos"]},
        only=True,
    ),
    Case(
        "what one saves",
        "What is the price of an A100 at RunPod on spot, and how much is saved compared to on demand?",
        {"spot_price": "float", "on_demand_price": "float", "saving": "float"},
        {"spot_price": 1.19, "on_demand_price": 1.99, "saving": 0.8},
    ),
    Case(
        "posts inside of records",
        "For Chutes and Targon give netuid and what people post about them",
        {"subnets": [{"name": "str", "netuid": "int", "posts": [{"author": "str"}]}]},
        {"subnets": [{"name": "Chutes", "netuid": 64}, {"name": "Targon", "netuid": 4}]},
    ),
    Case(
        "keys that name what they are about",
        "Tell me the billing of lium.io and the base URL of Synth",
        {"lium_billing": "str", "synth_base_url": "url"},
        {
            "lium_billing": "per second at price_per_gpu x gpu_count, no minimum",
            "synth_base_url": "https://api.synthdata.co",
        },
    ),
    Case(
        "half of it cannot be done",
        "Generate an image of a lighthouse and find the base URL of Chutes",
        {"image": "url", "base_url": "url"},
        {"base_url": "https://llm.chutes.ai/v1"},
        missing=("image_generation",),
        only=True,
    ),
    Case(
        "nobody transcribes",
        "Transcribe this recording, please",
        {"transcript": "str", "language": "str"},
        {},
        missing=("audio_transcription",),
        only=True,
    ),
    Case(
        "nobody rents out machines",
        "Could you rent me a machine with two H100 for an hour?",
        {"machine": {"provider": "str", "price": "float"}},
        {},
        missing=("compute_gpu",),
        only=True,
    ),
    Case("nothing knows", "Who won the 2022 world cup?", {"winner": "str", "year": "int"}, {}, only=True),
)


@dataclass(frozen=True, slots=True)
class Marks:
    """How many leaves were expected, which of them are wrong or absent, and what is there beyond them."""

    total: int
    wrong: tuple[str, ...]
    beyond: tuple[str, ...]


def mark(case: Case, data: dict[str, Any]) -> Marks:
    """Compare a result with what was expected of it."""
    expected = dict(_named_leaves(case.expected))
    found = dict(_named_leaves(data))
    wrong = tuple(path for path, value in expected.items() if not (path in found and _equal(found[path], value)))
    beyond = tuple(path for path in found if path not in expected) if case.only else ()
    return Marks(len(expected), wrong, beyond)


def _equal(found: Any, value: Any) -> bool:
    if isinstance(found, bool) or isinstance(value, bool) or not isinstance(value, str):
        return isinstance(found, bool) == isinstance(value, bool) and found == value
    return isinstance(found, str) and supports(found, value)


def _named_leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in cast("dict[str, Any]", value).items():
            yield from _named_leaves(part, f"{path}/{key}")
    elif isinstance(value, list):
        for part in cast("list[Any]", value):
            first = next(iter(part.values())) if isinstance(part, dict) else part
            yield from _named_leaves(part, f"{path}[{first}]")
    else:
        yield path, value


def unsourced(synthesis: Synthesis, run: Run) -> list[str]:
    """Leaves whose provenance is absent, does not resolve, or does not support them: there must be none."""
    outputs = {attempt.step: attempt.output for attempt in run.attempts if attempt.ok}
    outputs |= {len(run.attempts) + 1 + index: step.output for index, step in enumerate(synthesis.local)}

    def lookup(source: Source) -> Any:
        return resolve_pointer(outputs[source.step], source.pointer)

    def holds(pointer: str, value: Any) -> bool:
        grounds = synthesis.provenance.get(pointer)
        if isinstance(grounds, Derivation):
            return evaluate(grounds, lookup) == value
        return bool(grounds) and all(supports(lookup(source), value) for source in grounds)

    leaves = leaf_pointers(synthesis.data) if synthesis.data else {}
    strays = [pointer for pointer in synthesis.provenance if pointer not in leaves]
    return strays + [pointer for pointer, value in leaves.items() if not holds(pointer, value)]
