"""The catalogue says of every real subnet what a caller needs, and its own examples prove what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jmespath
import pytest

from ledger import catalogue
from ledger.capabilities import CONTRACTS
from ledger.catalogue import vocabulary
from ledger.entry import Operation, SubnetEntry
from ledger.schemas import compile_schema
from ledger.store import MAX_ENTRY_BYTES
from ledger.view import LedgerView
from orchestra.subnets.caller import promise_violation
from orchestra.subnets.mapping import MappingFailed, map_query, map_wire

ENTRIES = catalogue.load()
OPERATIONS = [pytest.param(entry, each, id=f"{entry.id}/{each.name}") for entry in ENTRIES for each in entry.operations]
EXAMPLES: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "fixtures" / "catalogue_examples.json").read_text("utf-8")
)
PROMISED: dict[str, tuple[dict[str, Any], ...]] = {
    "ai_text_detection": ({"text": "A passage."},),
    "audio_transcription": ({"audio_b64": "UklGRg=="}, {"audio_b64": "UklGRg==", "language": "English"}),
    "blockchain_rpc": ({"method": "chain_getHeader"}, {"method": "eth_call", "params": [{}, "latest"]}),
    "chat_completion": ({"instructions": "Be brief.", "text": "Hello."},),
    "deep_research": ({"question": "Which tugs are electric?"},),
    "deepfake_detection": (
        {"url": "https://a.test/b", "media": "image"},
        {"url": "https://a.test/b", "media": "video"},
        {"url": "https://a.test/b"},
    ),
    "grammar_check": ({"text": "A passage."},),
    "market_intelligence": ({"question": "Will rates fall?"},),
    "plagiarism_check": ({"text": "A passage."},),
    "price_forecast": ({"asset": "BTC"}, {"asset": "ETH", "horizon": "1h"}),
    "probability_forecast": ({"question": "Will it rain?"},),
    "social_search": ({"keywords": list("abcdefg"), "limit": 5000}, {"keywords": ["a"]}),
    "speech_synthesis": ({"text": "Hello."}, {"text": "Hello.", "voice": "ember"}),
    "weather_forecast": ({"latitude": 59.9, "longitude": 10.7}, {"latitude": -34, "longitude": 18.4, "hours": 6}),
    "web_scraping": ({"url": "https://a.test/b"},),
    "web_search": ({"query": "tugs"}, {"query": "tugs", "limit": 500}),
}
"""Arguments as a plan may give them, for every capability that the catalogue promises."""


def example(entry: SubnetEntry, operation: Operation) -> dict[str, Any]:
    return EXAMPLES[f"{entry.id}/{operation.name}"]


def test_every_subnet_is_there_once() -> None:
    assert [entry.netuid for entry in ENTRIES] == list(range(1, 129))
    assert len({entry.id for entry in ENTRIES}) == 128
    assert sum(bool(entry.operations) for entry in ENTRIES) == 27
    assert len(OPERATIONS) == len(EXAMPLES) == 126


def test_what_was_loaded_makes_a_ledger_and_comes_back_bit_for_bit() -> None:
    view = LedgerView(ENTRIES)
    assert {ref.operation.role for name in view.capabilities for ref in view.operations(name)} == {"task"}
    for entry in ENTRIES:
        body = entry.canonical()
        assert len(body) < MAX_ENTRY_BYTES
        assert SubnetEntry.model_validate_json(body) == entry
        assert SubnetEntry.model_validate_json(body).digest == entry.digest


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_an_entry_is_described_and_speaks_the_vocabulary(entry: SubnetEntry) -> None:
    assert entry.description
    assert set(entry.capabilities) <= vocabulary().keys()
    assert {each.capability for each in entry.operations} <= set(entry.capabilities)
    assert entry.claims[0].about == "/netuid"


@pytest.mark.parametrize(("entry", "operation"), OPERATIONS)
def test_an_example_of_the_facts_fits_both_schemas(entry: SubnetEntry, operation: Operation) -> None:
    given = example(entry, operation)
    assert compile_schema(operation.input_schema).errors(given["request"]) == []
    answer = compile_schema(operation.output_schema)
    if given["response"] is not None:
        assert answer.errors(given["response"]) == []


@pytest.mark.parametrize(("entry", "operation"), OPERATIONS)
def test_arguments_in_the_path_are_asked_for(entry: SubnetEntry, operation: Operation) -> None:
    slots = set(re.findall(r"\{(\w+)\}", operation.endpoint.path))
    assert slots <= set(operation.input_schema.get("required", ()))
    if operation.endpoint.arguments == "none":
        assert operation.input_schema.get("properties", {}).keys() == slots


def promising() -> list[Any]:
    return [param for param in OPERATIONS if param.values[1].request or param.values[1].response]  # type: ignore[union-attr]


@pytest.mark.parametrize(("entry", "operation"), promising())
def test_a_mapping_keeps_the_promise_of_its_capability(entry: SubnetEntry, operation: Operation) -> None:
    contract = CONTRACTS[operation.capability]
    given = example(entry, operation)
    if operation.role == "task":
        assert operation.request
        assert operation.response
    if operation.request:
        asked = [arguments for arguments in PROMISED[operation.capability] if _accepts(operation, arguments)]
        assert asked, "no arguments of the capability fit"
        assert all(compile_schema(contract.arguments).is_valid(arguments) for arguments in asked)
    if operation.response:
        assert given["response"] is not None
        output = map_wire(operation, given["response"])
        assert promise_violation(operation.capability, output) is None
        assert not (isinstance(output, dict) and all(value in (None, [], {}) for value in output.values()))


def _accepts(operation: Operation, arguments: dict[str, Any]) -> bool:
    try:
        return compile_schema(operation.input_schema).is_valid(map_query(operation, arguments))
    except MappingFailed:
        return False


def test_a_task_of_a_promised_capability_has_mappings_and_every_sample_of_arguments_finds_one() -> None:
    view = LedgerView(ENTRIES)
    for name in CONTRACTS.keys() & view.capabilities:
        refs = view.operations(name)
        assert all(ref.operation.request and ref.operation.response for ref in refs), name
        for arguments in PROMISED[name]:
            assert any(_accepts(ref.operation, arguments) for ref in refs), (name, arguments)


def test_an_image_is_not_sent_to_a_detector_of_videos() -> None:
    bitmind = next(entry for entry in ENTRIES if entry.id == "bitmind")
    accepted = {
        media: {
            each.name
            for each in bitmind.operations
            if each.request and _accepts(each, {"url": "https://a.test/b"} | media_)
        }
        for media, media_ in {"image": {"media": "image"}, "video": {"media": "video"}, "": {}}.items()
    }
    assert accepted["image"] == {"detect_image", "detect_any"}
    assert accepted["video"] == {"detect_video", "detect_any"}
    assert accepted[""] == {"detect_any"}


def test_an_answer_whose_proof_failed_breaks_the_promise() -> None:
    verathos = next(entry for entry in ENTRIES if entry.id == "verathos")
    chat = verathos.operation("chat_completions")
    assert chat is not None
    answer = example(verathos, chat)["response"]
    assert promise_violation("chat_completion", map_wire(chat, answer | {"proof_verified": True})) is None
    assert promise_violation("chat_completion", map_wire(chat, answer | {"proof_verified": False})) is not None


@pytest.mark.parametrize(
    ("entry", "operation"),
    [param for param in OPERATIONS if param.values[1].job],  # type: ignore[union-attr]
)
def test_a_job_is_followed_by_what_its_answers_hold(entry: SubnetEntry, operation: Operation) -> None:
    job = operation.job
    assert job is not None
    status = entry.operation(job.status)
    assert status is not None
    assert (operation.role, status.role) == ("job", "step")
    number = jmespath.search(job.id, example(entry, operation)["response"])
    assert isinstance(number, str)
    assert compile_schema(status.input_schema).errors({job.argument: number}) == []
    answer = example(entry, status)["response"]
    assert {jmespath.search(job.done, answer), jmespath.search(job.failed, answer)} <= {True, False}


def test_a_secret_belongs_to_one_origin() -> None:
    origins: dict[str, set[str]] = {}
    for entry in ENTRIES:
        for each in entry.operations:
            if each.auth.secret:
                assert each.auth.secret.startswith(f"ORCHESTRA_KEY_SN{entry.netuid}")
                origins.setdefault(each.auth.secret, set()).add(urlsplit(each.endpoint.base_url).netloc)
    assert {name: found for name, found in origins.items() if len(found) > 1} == {}


def test_the_spellings_of_keys_are_those_in_use() -> None:
    spelled = {(each.auth.name, each.auth.format) for entry in ENTRIES for each in entry.operations if each.auth.name}
    assert {
        ("Authorization", "{key}"),
        ("Authorization", "Bearer {key}"),
        ("Authorization", "APIKey {key}"),
        ("Authorization", "Apikey {key}"),
        ("X-API-Key", "{key}"),
        ("x-api-key", "{key}"),
        ("X-API-KEY", "{key}"),
    } <= spelled


@pytest.mark.parametrize(
    ("entry_id", "status", "body", "means"),
    [
        ("its-ai", 400, '{"error": {"code": "validation:rate_limit"}}', "throttled"),
        ("its-ai", 400, '{"error": {"code": "validation:low_words"}}', "refused"),
        ("blockmachine", 200, '{"jsonrpc": "2.0", "id": 2, "error": {"code": -32601}}', "refused"),
        ("blockmachine", 200, '{"jsonrpc":"2.0","id":2,"error":{"code":-32005}}', "throttled"),
        ("synth", 400, '{"message": "missing key in request header"}', "auth"),
        ("data-universe", 464, "", "auth"),
    ],
)
def test_errors_that_are_not_what_their_status_says(entry_id: str, status: int, body: str, means: str) -> None:
    entry = next(entry for entry in ENTRIES if entry.id == entry_id)
    rules = entry.operations[0].errors
    found = next(rule for rule in rules if rule.status == status and rule.contains in body)
    assert found.means == means


def test_nothing_that_creates_or_bills_long_work_is_repeated() -> None:
    never = {each.name for entry in ENTRIES for each in entry.operations if not each.safe_to_retry}
    assert {"check_plagiarism", "generate_proxy", "rent_by_spec", "create_prediction_job", "add_task_text"} <= never
    assert {each.name for entry in ENTRIES for each in entry.operations if each.sensitive} >= {
        "generate_proxy",
        "generate_vpn",
        "get_result",
        "tts_generate",
    }
