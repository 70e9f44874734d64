"""OpenAPI documents become operations: what they state, in the words of a Ledger entry, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ledger.entry import Auth, Operation, Price, SubnetEntry
from ledger.entry_diff import difference
from ledger.openapi import (
    DocumentRefused,
    OpenApi,
    Origin,
    Proposal,
    ProposalFailed,
    propose,
    read_document,
    read_operations,
)
from ledger.schemas import compile_schema
from orchestra.gateway.api import create_app
from orchestra.subnets.request import build
from tests.builders import entry, operation
from tests.fakes.backend import ScriptedBackend

HARBOUR = (Path(__file__).parents[1] / "fixtures" / "openapi" / "harbour.yaml").read_bytes()
AT = "https://api.harbour.example/openapi.yaml"
ORIGIN = Origin(AT, "2026-11-27", AT)


def api(paths: dict[str, Any], *, version: str = "3.1.0", at: str = "https://a.example/x.json", **more: Any) -> OpenApi:
    document = {"openapi": version, "info": {"title": "T", "version": "1"}, "paths": paths, **more}
    return read_operations(read_document(json.dumps(document).encode()), published_at=at)


def answering(schema: Any, **more: Any) -> dict[str, Any]:
    return {"responses": {"200": {"content": {"application/json": {"schema": schema}}}}, **more}


def harbour(known: SubnetEntry | None = None, raw: bytes = HARBOUR, **given: Any) -> Proposal:
    read = read_operations(read_document(raw), published_at=AT)
    return propose(read, known, ORIGIN, entry_id="harbour", netuid=7, **given)


def named(proposal: Proposal, name: str) -> Operation:
    found = proposal.entry.operation(name)
    assert found is not None
    return found


def reason(paths: dict[str, Any], **more: Any) -> str:
    read = api(paths, **more)
    assert not read.drafts
    [skipped] = read.skipped
    return skipped.reason


# What a document states ----------------------------------------------------------------------------------------------


def test_a_document_in_yaml_becomes_an_entry() -> None:
    made = harbour().entry
    assert (made.id, made.netuid, made.name) == ("harbour", 7, "Harbour Search")
    assert made.description == "Search and pages for machines."
    assert [each.name for each in made.operations] == ["web_search", "get_pages_page_id", "transcribe", "get_health"]
    assert [(each.kind, each.url) for each in made.surfaces] == [("openapi", AT)]
    assert SubnetEntry.model_validate_json(made.canonical()) == made


def test_where_it_is_and_who_may_call() -> None:
    made = harbour()
    search = named(made, "web_search")
    assert (search.endpoint.base_url, search.endpoint.path) == ("https://api.harbour.example/v2", "/search")
    assert (search.endpoint.method, search.endpoint.arguments) == ("GET", "query")
    key = Auth(kind="header", name="Authorization", format="Bearer {key}", secret="ORCHESTRA_KEY_SN7")
    assert search.auth == key
    assert named(made, "transcribe").auth == Auth(
        kind="header", name="X-Key", secret="ORCHESTRA_KEY_SN7", optional=True
    )
    assert named(made, "get_health").auth == Auth()
    assert [(each.status, each.means, each.retryable) for each in search.errors] == [
        (401, "auth", False),
        (402, "out_of_credit", False),
        (429, "throttled", True),
        (503, "fault", True),
    ]
    assert search.claims[0].authority == "official"


def test_schemas_stand_alone_in_the_dialect_of_2020_12() -> None:
    made = harbour()
    answers = compile_schema(named(made, "web_search").output_schema)
    assert answers.is_valid({"results": [{"url": "u", "snippet": None, "kind": None}]})
    assert not answers.is_valid({"results": [{"url": "u", "title": None}]})
    assert not answers.is_valid({"results": [{"url": "u", "kind": "other"}]})
    assert not answers.is_valid({"results": [{}]})
    assert "secret" not in json.dumps(named(made, "web_search").output_schema)
    takes = compile_schema(named(made, "transcribe").input_schema)
    assert takes.is_valid({"audio_url": "u", "language": None})
    assert not takes.is_valid({"audio_url": None})
    score = compile_schema(named(made, "transcribe").output_schema)
    assert not score.is_valid({"score": 0})
    assert score.is_valid({"score": 0.1})


def test_an_imported_operation_can_be_called_as_it_stands() -> None:
    made = harbour()
    page = build(named(made, "get_pages_page_id"), {"page_id": "a b"}, "k")
    assert page.url == "https://api.harbour.example/v2/pages/a%20b"
    assert page.headers["Authorization"] == "Bearer k"
    assert page.headers["Accept"] == "text/plain"
    search = build(named(made, "web_search"), {"q": "tug", "limit": 3, "tags": ["a", "b"]}, "k")
    assert search.params == {"q": "tug", "limit": "3", "tags": ["a", "b"]}


def test_what_cannot_be_expressed_is_skipped_or_left_out_with_the_reason() -> None:
    made = harbour()
    assert [(each.method, each.path, each.reason) for each in made.skipped] == [
        ("POST", "/uploads", "a body of application/x-www-form-urlencoded"),
        ("GET", "/session", "cookie parameter sid"),
        ("PATCH", "/session", "the method PATCH"),
    ]
    [search, *_] = made.imported
    assert search.remarks == (
        "left out: query parameter codes, an object or a list in one text",
        "left out: header parameter X-Trace",
    )
    assert "codes" not in named(made, "web_search").input_schema["properties"]


def test_nothing_is_invented_and_a_guess_says_so() -> None:
    made = harbour()
    search = named(made, "web_search")
    assert (search.price, search.rate_limit, search.determinism, search.stability_s) == (None, None, "volatile", 0)
    assert search.safe_to_retry
    assert not named(made, "transcribe").safe_to_retry
    reports = {each.name: each for each in made.imported}
    assert reports["web_search"].guessed == ("capability web_search", "role variant")
    assert {"price", "rate_limit", "determinism"} <= set(reports["web_search"].not_said)
    assert "auth" not in reports["web_search"].not_said
    assert reports["get_health"].guessed[-1] == "role support"
    given = harbour(capability="web_search")
    assert {each.capability for each in given.entry.operations} == {"web_search"}
    assert all("capability" not in " ".join(each.guessed) for each in given.imported)


def test_an_operation_is_a_task_only_when_its_wire_keeps_the_promise() -> None:
    hit = {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}
    found = {"type": "object", "properties": {"results": {"type": "array", "items": hit}}, "required": ["results"]}
    parameters = [{"name": "query", "in": "query", "required": True, "schema": {"type": "string"}}]
    for answer, role in ((found, "task"), ({"type": "object"}, "variant")):
        read = api({"/s": {"get": answering(answer, parameters=parameters)}})
        made = propose(read, None, ORIGIN, entry_id="x", netuid=1, capability="web_search")
        assert made.entry.operations[0].role == role


@pytest.mark.parametrize(
    ("servers", "at", "base"),
    [
        ([{"url": "https://b.example/"}], "", "https://b.example"),
        ([{"url": "/v1"}], "https://a.example/docs/openapi.json", "https://a.example/v1"),
        ([], "https://a.example/docs/openapi.json", "https://a.example"),
        ([{"url": "../api"}], "https://a.example/docs/x/openapi.json", "https://a.example/docs/api"),
        ([{"url": "https://{h}.example", "variables": {"h": {"default": "c"}}}], "", "https://c.example"),
        ([{"url": "/v1"}], "", None),
    ],
)
def test_servers_are_resolved_against_the_document_s_own_url(servers: list[Any], at: str, base: str | None) -> None:
    [draft] = api({"/s": {"get": answering({})}}, servers=servers, at=at).drafts
    assert draft.said["endpoint"].get("base_url") == base


@pytest.mark.parametrize(
    "url", ["https://user:pw@a.example", "https://a.example?x=1", "ftp://a.example", "https://[::1"]
)
def test_a_server_that_is_more_than_origin_and_path_is_refused(url: str) -> None:
    assert "the server is not" in reason({"/s": {"get": answering({})}}, servers=[{"url": url}])


def test_an_operation_s_own_server_and_security_come_first() -> None:
    schemes = {"components": {"securitySchemes": {"K": {"type": "apiKey", "in": "query", "name": "key"}}}}
    own = answering({}, servers=[{"url": "https://own.example"}], security=[])
    read = api({"/a": {"get": own}, "/b": {"get": answering({})}}, security=[{"K": []}], **schemes)
    first, second = read.drafts
    assert first.said["endpoint"]["base_url"] == "https://own.example"
    assert (first.said["auth"]["kind"], second.said["auth"]["kind"], second.said["auth"]["name"]) == (
        "none",
        "query",
        "key",
    )


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        ({"type": "oauth2", "flows": {}}, "oauth2 is no key to send"),
        ({"type": "apiKey", "in": "cookie", "name": "sid"}, "apiKey cookie is no key to send"),
        ({"type": "http", "scheme": "digest"}, "http digest is no key to send"),
        (None, "the scheme K is not described"),
    ],
)
def test_auth_that_no_key_can_do_is_skipped(scheme: Any, said: str) -> None:
    schemes = {"securitySchemes": {"K": scheme} if scheme else {}}
    assert reason({"/s": {"get": answering({}, security=[{"K": []}])}}, components=schemes) == f"auth: {said}"


def test_a_required_key_header_is_auth_and_any_other_is_not_expressible() -> None:
    header = {"name": "X-API-Key", "in": "header", "required": True, "schema": {"type": "string"}}
    [draft] = api({"/s": {"get": answering({}, parameters=[header])}}).drafts
    assert (draft.said["auth"]["kind"], draft.said["auth"]["name"]) == ("header", "X-API-Key")
    assert reason({"/s": {"get": answering({}, parameters=[{**header, "name": "X-Realm"}])}}) == (
        "header parameter X-Realm"
    )


JSON_OBJECT = {"content": {"application/json": {"schema": {"type": "object", "properties": {"a": {"type": "string"}}}}}}
JSON_LIST = {"content": {"application/json": {"schema": {"type": "array"}}}}
NEEDED = {"name": "a", "in": "query", "required": True, "schema": {"type": "string"}}


@pytest.mark.parametrize(
    ("path", "stated", "said"),
    [
        ("/s", {"requestBody": {**JSON_LIST, "required": True}}, "a body that is no object"),
        ("/s", {"requestBody": {**JSON_OBJECT, "required": True}, "parameters": [NEEDED]}, "beside the query"),
        ("/s/{a}", {"requestBody": {**JSON_OBJECT, "required": True}}, "does not describe 'a' of the path"),
        (
            "/s/{a}",
            {"requestBody": {**JSON_OBJECT, "required": True}, "parameters": [{**NEEDED, "in": "path"}]},
            "path and body both have a",
        ),
        ("/s", {"parameters": [{**NEEDED, "style": "pipeDelimited"}]}, "in the style pipeDelimited"),
        ("/s", {"parameters": [{**NEEDED, "schema": {"type": "object"}}]}, "an object or a list in one text"),
        ("/s", {"parameters": [{"name": "a", "in": "query", "required": True, "content": {}}]}, "a format of its own"),
        ("/s b", {}, "the path has characters"),
    ],
)
def test_requests_that_an_entry_cannot_make(path: str, stated: dict[str, Any], said: str) -> None:
    assert said in reason({path: {"post": answering({}, **stated)}})


def test_what_is_optional_beside_a_body_is_left_out_and_said() -> None:
    stated = answering({}, requestBody=JSON_OBJECT, parameters=[{**NEEDED, "name": "b", "required": False}])
    [draft] = api({"/s": {"post": stated}}).drafts
    assert set(draft.said["input_schema"]["properties"]) == {"a"}
    assert draft.remarks == ("left out: query parameter b beside a body",)
    [draft] = api({"/s": {"post": {**stated, "parameters": [{**NEEDED, "name": "b"}]}}}).drafts
    assert (draft.said["endpoint"]["arguments"], set(draft.said["input_schema"]["properties"])) == ("query", {"b"})
    assert draft.remarks == ("left out: a body beside the query parameter b",)


def test_answers_of_several_kinds() -> None:
    one, two = {"type": "object", "required": ["a"]}, {"type": "object", "required": ["b"]}

    def draft(responses: dict[str, Any]) -> dict[str, Any]:
        return api({"/s": {"get": {"responses": responses}}}).drafts[0].said

    def of(kind: str, schema: Any) -> dict[str, Any]:
        return {"content": {kind: {"schema": schema}}}

    both = draft({"200": of("application/json", one), "202": of("application/json; charset=utf-8", two)})
    assert both["output_schema"] == {"anyOf": [one, two]}
    assert draft({"200": of("image/png", {})})["endpoint"]["media_type"] == "image/*"
    assert "output_schema" not in draft({"200": {"description": "nothing"}, "default": of("application/json", one)})
    csv = api({"/s": {"get": {"responses": {"200": of("text/csv", {})}}}})
    assert csv.skipped[0].reason == "it answers text/csv"


def test_names_are_slugs_and_unique() -> None:
    stated = [answering({}, operationId=each) for each in ("getThing", "get-thing", "ü", "x" * 200)]
    names = [each.slug for each in api({f"/p{n}": {"get": each} for n, each in enumerate(stated)}).drafts]
    assert names[:3] == ["get_thing", "get_thing_2", "get"]
    assert names[3] == "x" * 60
    unnamed = api({"/v1/things/{id}": {"get": answering({}, parameters=[{**NEEDED, "in": "path", "name": "id"}])}})
    assert unnamed.drafts[0].slug == "get_v1_things_id"


def test_the_document_that_a_real_framework_writes() -> None:
    document = create_app(ScriptedBackend()).openapi()
    read = read_operations(read_document(json.dumps(document).encode()), published_at="http://127.0.0.1:8400/o.json")
    made = propose(read, None, ORIGIN, entry_id="gateway", netuid=2, capability="agents").entry
    assert len(made.operations) >= 2
    for each in made.operations:
        compile_schema(each.input_schema)
        compile_schema(each.output_schema)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "malformed"),
        (b"{", "malformed"),
        (b"[]", "not_openapi"),
        (b'{"swagger": "2.0"}', "not_openapi"),
        (b'{"openapi": "3.2.0", "paths": {}}', "not_openapi"),
        (b'{"openapi": "3.1.0"}', "not_openapi"),
        (b'{"openapi": "3.1.0", "paths": []}', "not_openapi"),
        (b"openapi: 3.1.0\npaths: {/a: {get: 5}, /b: 7}", "not_openapi"),
    ],
)
def test_what_is_no_openapi_document(raw: bytes, code: str) -> None:
    with pytest.raises(DocumentRefused) as refused:
        read_operations(read_document(raw))
    assert refused.value.code == code


# Onto what is known --------------------------------------------------------------------------------------------------


def known() -> SubnetEntry:
    """The entry as somebody had refined it after a first import."""
    made = harbour().entry
    search = named(harbour(), "web_search").model_copy(
        update={
            "name": "search",
            "response": "{results: results}",
            "price": Price(amount="0.1", currency="USD"),
            "determinism": "stable",
            "role": "task",
            "notes": "doubts",
        }
    )
    elsewhere = operation("elsewhere")
    return made.model_copy(update={"operations": (search, *made.operations[1:], elsewhere), "name": "Ours"})


def test_the_same_document_changes_nothing() -> None:
    again = harbour(known())
    assert again.entry == known()
    assert difference(known(), again.entry).kind == "identical"
    assert all(each.not_said == () and each.guessed == () for each in again.imported)


def test_only_what_the_document_states_replaces_what_is_known() -> None:
    drifted = HARBOUR.replace(b"snippet: {type: string, nullable: true}", b"snippet: {type: [string]}").replace(
        b"title: {type: string}", b"title: {type: string, nullable: true}"
    )
    drifted = drifted.replace(b"type: [string]", b"type: string")
    made = harbour(known(), drifted)
    search = named(made, "search")
    assert (search.role, search.notes, search.determinism, search.response) == (
        "task",
        "doubts",
        "stable",
        "{results: results}",
    )
    found = difference(known(), made.entry)
    assert found.kind == "breaking"
    [changed] = found.operations
    assert [str(each) for each in changed.changes if each.path.startswith("output")] == [
        "output_schema.results.title: str -> str | null",
        "output_schema.results.snippet: str | null -> str",
    ]
    assert [each.kind for each in changed.changes if each.path.startswith("output")] == ["breaking", "compatible"]
    assert any("output_schema.results.title: str -> str | null (breaking)" in line for line in found.lines())
    assert json.loads(json.dumps(found.document()))["operations"][0]["kind"] == "breaking"


def test_a_schema_that_means_the_same_stays_as_it_was_spelled() -> None:
    before = known()
    search = before.operations[0]
    spelled = {**search.output_schema, "title": "Found", "minProperties": 0}
    before = before.model_copy(update={"operations": (search.model_copy(update={"output_schema": spelled}),)})
    assert named(harbour(before), "search").output_schema == spelled


def test_operations_are_removed_only_when_the_document_speaks_of_their_host() -> None:
    without = HARBOUR.replace(b"  /health:", b"  /alive:")
    found = difference(known(), harbour(known(), without).entry)
    assert [(each.name, each.state) for each in found.operations] == [("get_alive", "added"), ("get_health", "removed")]
    assert found.kind == "breaking"


def test_an_operation_that_cannot_be_expressed_any_more_is_not_forgotten() -> None:
    cookie = HARBOUR.replace(b"{name: page-id, in: path,", b"{name: sid, in: cookie,")
    made = harbour(known(), cookie)
    assert named(made, "get_pages_page_id") == known().operation("get_pages_page_id")


def test_a_changed_auth_keeps_the_secret_of_its_origin_and_a_new_origin_gets_its_own() -> None:
    moved = HARBOUR.replace(b"type: http, scheme: bearer", b"type: apiKey, in: header, name: X-Other")
    assert named(harbour(known(), moved), "search").auth.secret == "ORCHESTRA_KEY_SN7"
    other = HARBOUR.replace(b"https://{region}.harbour.example/v2", b"https://new-host.harbour.example/v2")
    made = harbour(known(), other)
    assert named(made, "web_search").auth.secret == "ORCHESTRA_KEY_SN7_NEW_HOST"
    assert named(made, "search") == known().operation("search")


def test_an_operation_cut_elsewhere_is_still_the_same_place() -> None:
    cut = known().operation("search")
    assert cut is not None
    endpoint = cut.endpoint.model_copy(update={"base_url": "https://api.harbour.example", "path": "/v2/search"})
    before = known().model_copy(update={"operations": (cut.model_copy(update={"endpoint": endpoint}),)})
    made = harbour(before)
    assert named(made, "search").endpoint == endpoint


def test_a_new_entry_needs_a_netuid_and_words_or_a_capability() -> None:
    with pytest.raises(ProposalFailed, match="--netuid"):
        propose(api({"/s": {"get": answering({})}}), None, ORIGIN, entry_id="x")
    with pytest.raises(ProposalFailed, match="--capability"):
        propose(api({"/qqqq": {"get": answering({})}}), None, ORIGIN, entry_id="x", netuid=1)


# Differences ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("update", "kind", "line"),
    [
        ({"notes": "n"}, "compatible", 'notes: "" -> "n"'),
        ({"endpoint": operation().endpoint.model_copy(update={"path": "/b"})}, "breaking", "endpoint.path: "),
        ({"response": "@"}, "breaking", "response: "),
        ({"price": None}, "compatible", "-> absent"),
        ({"output_schema": {"type": "object", "required": ["data"], "title": "x"}}, "compatible", "in other words"),
        ({"output_schema": {"$ref": "https://x.example"}}, "breaking", "cannot be compared (remote_ref)"),
        ({"input_schema": {"type": "object", "required": ["query", "key"]}}, "breaking", "input_schema.key: "),
    ],
)
def test_a_change_is_named_and_judged(update: dict[str, Any], kind: str, line: str) -> None:
    before = entry("a", netuid=1)
    after = entry("a", netuid=1, operations=(operation().model_copy(update=update),))
    found = difference(before, after)
    assert found.kind == kind
    assert any(line in each for each in found.lines()), found.lines()


def test_fields_of_the_entry_itself() -> None:
    found = difference(entry("a", netuid=1), entry("a", netuid=2))
    assert found.lines() == ["a: compatible", "~ netuid: 1 -> 2"]
    assert difference(None, entry("a", netuid=1)).lines() == ["a: a new entry", "+ operation web_search"]
