"""The Ledger API: every route answers, refuses in one shape, counts what it must, and says the same in its OpenAPI."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute

from ledger.canonical import verify_consistency, verify_inclusion
from ledger.changes import Bond, change_leaf
from ledger.database import sqlite_url
from ledger.entry import SubnetEntry
from ledger.serving import models
from ledger.serving.door import MAX_BODY_BYTES
from ledger.serving.edition import Attachments
from ledger.serving.exports import harmless
from ledger.serving.openapi import address, examples
from ledger.serving.problems import PROBLEMS
from ledger.serving.tiers import TIERS
from ledger.view import LedgerView
from orchestra import transport
from tests.builders import entry
from tests.databases import execute
from tests.fakes.asgi import Reply
from tests.ledgerapi import CHECKPOINT, Api, entries, running_api

FILLED = {"subnet": "desearch", "operation": "web_search", "webhook": "0" * 16, "message": "msg_" + "0" * 32}
NEEDS_A_KEY = {"/v1/account"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(sqlite_url(tmp_path / "api.sqlite"), attached=Attachments(CHECKPOINT, b"snap")) as running:
        yield running


def problem(reply: Reply, code: str) -> dict[str, Any]:
    """The reply is this problem document, in the one shape that all have."""
    assert reply.headers["content-type"] == "application/problem+json"
    document = models.ProblemPage.model_validate_json(reply.body).model_dump(exclude_unset=True)
    assert document["code"] == code
    assert (document["type"], document["title"], document["status"]) == (
        f"urn:orchestra:problem:{code}",
        PROBLEMS[code].title,
        PROBLEMS[code].status,
    )
    assert reply.status == document["status"]
    assert len(reply.body) < 2048
    return document


async def routes(api: Api) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of every documented route."""
    document = await api.json("/openapi.json")
    return [(method.upper(), path, each) for path, item in document["paths"].items() for method, each in item.items()]


# every route


async def test_the_documented_routes_are_all_there_are(api: Api) -> None:
    documented = {(method, path) for method, path, _ in await routes(api)}
    assert len(documented) == 22
    others = {route.path for route in api.service.app.routes if isinstance(route, APIRoute)}
    assert others == {"/openapi.json"}, "all the others are included by routers, which are documented"


async def test_every_route_refuses_in_one_shape(api: Api) -> None:
    for method, path, described in await routes(api):
        where = path.format(**FILLED)
        problem(await api.ask(where, "not a key", method=method), "key_unknown")
        problem(await api.ask(where, method="PATCH"), "method_not_allowed")
        problem(await api.ask(where + "/and/more", method=method), "not_found")
        for each in described.get("parameters", ()):
            if "pattern" in json.dumps(each["schema"]) or each["schema"].get("type") in ("integer", "boolean"):
                bad = path.format(**{**FILLED, each["name"]: "~"})
                query = {each["name"]: "~"} if each["in"] == "query" else {}
                problem(await api.ask(bad, method=method, **query), "unprocessable")


async def test_every_route_that_reads_answers_and_its_answer_is_as_documented(api: Api) -> None:
    document = await api.json("/openapi.json")
    for method, path, described in await routes(api):
        if method != "GET":
            continue
        reply = await api.ask(path.format(**FILLED), **({"q": "search the web"} if path == "/v1/search" else {}))
        assert reply.status == 200, (path, reply.body)
        schema = described["responses"]["200"]["content"].get("application/json", {}).get("schema")
        if schema:
            model = getattr(models, schema["$ref"].rpartition("/")[2])
            model.model_validate_json(reply.body)
            assert schema["$ref"].rpartition("/")[2] in document["components"]["schemas"]


async def test_every_refusal_that_is_documented_exists(api: Api) -> None:
    for _, _, described in await routes(api):
        for status, answer in described["responses"].items():
            for code in answer["description"].split("`")[1::2]:
                assert str(PROBLEMS[code].status) == status


async def test_each_example_is_what_the_server_answers(api: Api) -> None:
    document = await api.json("/openapi.json")
    asked = examples(api.service.services.pages().edition)
    assert len(asked) == 12
    for path, parameters in asked.items():
        described = document["paths"][path]["get"]
        given = {each["name"]: each["example"] for each in described.get("parameters", ()) if "example" in each}
        assert given == parameters
        where, _ = address(path, given)
        query = {name: value for name, value in given.items() if f"{{{name}}}" not in path}
        shown = described["responses"]["200"]["content"]["application/json"]["example"]
        assert await api.json(where, **query) == shown


async def test_the_examples_follow_the_edition(api: Api) -> None:
    before = await api.json("/openapi.json")
    await api.commit(entry("newest", netuid=1))
    after = await api.json("/openapi.json")
    path = "/v1/ledger"
    shown = [
        each["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["example"]
        for each in (before, after)
    ]
    assert [each["size"] for each in shown] == [4, 5]


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/subnets/", "/docs", "/redoc", "/v1/subnets/desearch/", "//v1/ledger"]
)
async def test_another_path(api: Api, path: str) -> None:
    problem(await api.ask(path, None), "not_found")


async def test_a_refused_method_says_which_are_taken(api: Api) -> None:
    for path, taken in (("/v1/ledger", "GET"), ("/v1/webhooks", "GET, POST"), ("/v1/webhooks/x", "DELETE")):
        reply = await api.ask(path, None, method="PUT")
        problem(reply, "method_not_allowed")
        asked = await api.ask(path, None, method="OPTIONS")
        assert reply.headers["allow"] == asked.headers["allow"] == f"{taken}, OPTIONS"
        assert (asked.status, asked.body) == (204, b"")


def test_the_codes_mean_here_what_they_mean_elsewhere() -> None:
    for code, mine in PROBLEMS.items():
        assert mine.code == code
        if code in transport.PROBLEMS:
            assert mine.status == transport.PROBLEMS[code].status


async def test_a_database_that_fails_is_our_fault(api: Api) -> None:
    url = str(api.service.reader.engine.url)
    assert await api.ask("/v1/ledger")
    await execute(url, "ALTER TABLE api_usage RENAME TO hidden")
    reply = await api.ask("/v1/subnets/desearch")
    problem(reply, "no_database")
    assert reply.headers["retry-after"] == "1"
    problem(await api.ask("/v1/account"), "no_database")


# the page


PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ledger-api.md").read_text()


def table(title: str) -> list[list[str]]:
    """The cells of the first table under a title of the page, without its head."""
    lines = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0].splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")][2:]


async def test_the_page_lists_every_route_and_says_which_count(api: Api) -> None:
    listed = {row[0].strip("`"): row[1] == "yes" for row in table("Routes")}
    assert set(listed) == {f"{method} {path}" for method, path, _ in await routes(api)}
    for route, counts in listed.items():
        method, _, path = route.partition(" ")
        if method == "GET":
            before = await api.used()
            reply = await api.ask(path.format(**FILLED), **({"q": "x"} if path == "/v1/search" else {}))
            assert (reply.status, await api.used() - before) == (200, int(counts)), route


def test_the_page_says_what_the_tiers_and_the_refusals_are() -> None:
    tiers = {
        (row[0], int(row[1].replace(",", "")), row[2], row[3] == "everything", int(row[4].replace(",", "")))
        for row in table("Tiers and keys")
    }
    assert tiers == {
        (each.name, each.per_minute, f"{each.monthly:,}" if each.monthly else "no end", each.full, each.webhooks)
        for each in TIERS.values()
    }
    assert table("Refusals") == [[f"`{each.code}`", str(each.status), each.title] for each in PROBLEMS.values()]


# who sees what


async def test_the_free_tier_sees_what_a_subnet_is_and_not_how_to_call_it(api: Api) -> None:
    for key in (None, "free"):
        shown = await api.json("/v1/subnets/desearch", key)
        assert set(shown["subnet"]) == set(models.BasicSubnet.model_fields)
        assert set(shown["subnet"]["operations"][0]) == set(models.BasicOperation.model_fields)
        assert shown["proof"] is None
        listed = await api.json("/v1/subnets", key)
        assert all(set(each) == set(models.BasicSubnet.model_fields) for each in listed["subnets"])
        one = await api.json("/v1/subnets/desearch/operations/web_search", key)
        assert set(one["operation"]) == set(models.BasicOperation.model_fields)
        assert all(each["body"] is None for each in (await api.json("/v1/changes", key))["changes"])
        assert b"schema" not in (await api.ask("/v1/export.json", key)).body
        assert b"127.0.0.1" not in (await api.ask("/v1/export.csv", key)).body
        problem(await api.ask("/v1/snapshot", key), "tier_too_low")


@pytest.mark.parametrize("tier", ["developer", "production", "enterprise"])
async def test_the_other_tiers_see_everything(api: Api, tier: str) -> None:
    shown = await api.json("/v1/subnets/desearch", tier)
    assert SubnetEntry.model_validate(shown["subnet"]) == entries()[3]
    one = await api.json("/v1/subnets/desearch/operations/web_search", tier)
    assert one["operation"]["input_schema"] == entries()[0].operations[0].input_schema
    assert (await api.ask("/v1/snapshot", tier)).body == b"snap"


@pytest.mark.parametrize("tier", [None, "free", "developer"])
async def test_webhooks_come_with_production(api: Api, tier: str | None) -> None:
    wanted = (("GET", "webhooks"), ("POST", "webhooks"), ("GET", "deliveries"), ("DELETE", "webhooks/" + "0" * 16))
    for method, path in wanted:
        reply = await api.ask(f"/v1/{path}", tier, method=method, body={"url": "https://a.example/"})
        problem(reply, "key_missing" if tier is None else "tier_too_low")
        assert tier is not None or reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "orchestra_x", "Bearer a b"])
async def test_what_is_no_key_is_refused(api: Api, header: str) -> None:
    problem(await api.ask("/v1/ledger", None, headers={"authorization": header}), "key_unknown")


# what the log says


async def test_an_entry_proves_itself(api: Api) -> None:
    page = await api.json("/v1/subnets/desearch")
    proof = page["proof"]
    assert change_leaf(SubnetEntry.model_validate(page["subnet"])) == proof["leaf"] == page["change"]["leaf"]
    assert verify_inclusion(proof["leaf"], proof["index"], proof["size"], proof["path"], proof["root"])
    assert page["ledger_version"] == f"{proof['size']}:{proof['root']}" == LedgerView(entries()).version
    assert proof["checkpoint"] == CHECKPOINT.decode(), "it is of this size"
    earlier = await api.json("/v1/subnets/chutes/proof", size=2)
    assert earlier["root"] == LedgerView(entries()[:2]).version.partition(":")[2]
    assert verify_inclusion(earlier["leaf"], 1, 2, earlier["path"], earlier["root"])
    assert earlier["checkpoint"] is None, "the one there is vouches for another size"


@pytest.mark.parametrize(("subnet", "size"), [("desearch", 3), ("desearch", 5), ("chutes", 1)])
async def test_a_proof_within_another_log_is_refused(api: Api, subnet: str, size: int) -> None:
    problem(await api.ask(f"/v1/subnets/{subnet}/proof", size=size), "unknown_version")


async def test_the_history_of_an_entry(api: Api) -> None:
    page = await api.json("/v1/subnets/desearch/history", limit=1)
    assert [(each["index"], each["block"]) for each in page["changes"]] == [(0, 5)]
    rest = await api.json("/v1/subnets/desearch/history", since=page["next"])
    assert [each["index"] for each in rest["changes"]] == [3]
    assert rest["next"] is None
    bodies = [SubnetEntry.model_validate(each["body"]) for each in page["changes"] + rest["changes"]]
    assert bodies == [entries()[0], entries()[3]]


async def test_changes_since_a_version_with_the_proof_that_it_was_one(api: Api) -> None:
    had = LedgerView(entries()[:2]).version
    page = await api.json("/v1/changes", since=had, limit=1)
    assert ([each["index"] for each in page["changes"]], page["next"], page["since"]) == ([2], 3, 2)
    size, root = page["ledger_version"].split(":")
    assert verify_consistency(2, int(size), had.partition(":")[2], root, page["consistency"])
    everything = await api.json("/v1/changes")
    assert [SubnetEntry.model_validate(each["body"]) for each in everything["changes"]] == entries()
    assert (await api.json("/v1/changes", since="4"))["changes"] == []


@pytest.mark.parametrize("since", ["5", "99999", f"2:0x{'0' * 64}"])
async def test_a_version_of_another_history_is_refused(api: Api, since: str) -> None:
    problem(await api.ask("/v1/changes", since=since), "unknown_version")


async def test_what_is_attached_and_what_is_not(api: Api, tmp_path: Path) -> None:
    assert (await api.ask("/v1/checkpoint", None)).body == CHECKPOINT
    async with running_api(sqlite_url(tmp_path / "bare.sqlite")) as bare:
        problem(await bare.ask("/v1/checkpoint"), "no_checkpoint")
        problem(await bare.ask("/v1/snapshot"), "no_snapshot")
        assert (await bare.json("/v1/ledger"))["checkpoint"] is False


async def test_leaves_of_another_kind_are_counted_and_told(api: Api) -> None:
    bond = Bond(
        proposal=f"0x{1:064x}",
        substance=f"0x{2:064x}",
        about="schema_update",
        entry="chutes",
        operation="",
        proposer="5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
        outcome="accepted",
        anchor=7,
        revealed=8,
        at_stake="100000",
        lost="0",
    )
    await api.commit(bond, entries()[1])
    told = (await api.json("/v1/changes", since="4"))["changes"]
    assert [(each["index"], each["kind"], each["entry"]) for each in told] == [
        (4, "bond", "chutes"),
        (5, "entry", "chutes"),
    ]
    assert Bond.model_validate(told[0]["body"]) == bond
    assert change_leaf(bond) == told[0]["leaf"]
    shown = await api.json("/v1/subnets/chutes")
    assert shown["change"]["index"] == 5, "its place in the log, not among the entries"
    proof = shown["proof"]
    assert verify_inclusion(proof["leaf"], 5, 6, proof["path"], proof["root"])
    history = await api.json("/v1/subnets/chutes/history")
    assert [each["index"] for each in history["changes"]] == [1, 5], "what an entry said; bonds are in the changes"


# finding


async def test_search_by_words_and_by_limits(api: Api) -> None:
    page = await api.json("/v1/search", q="search the web")
    assert page["hits"][0]["id"] == "desearch"
    assert page["hits"][0]["operations"] == ["web_search"]
    cheap = await api.json("/v1/search", q="search the web, costs under 0.00001 TAO")
    assert "desearch" not in [each["id"] for each in cheap["hits"]]
    assert (await api.json("/v1/search", q=""))["hits"] == []
    assert (await api.json("/v1/search", q="x" * 5000))["hits"] == []


async def test_operations_by_capability_and_limits(api: Api) -> None:
    found = await api.json("/v1/operations", capability="web_search")
    assert [(each["subnet"], each["operation"]) for each in found["operations"]] == [("desearch", "web_search")]
    first = await api.json("/v1/operations", limit=1)
    rest = await api.json("/v1/operations", after=first["next"])
    assert [each["subnet"] for each in first["operations"] + rest["operations"]] == ["chutes", "desearch"]
    assert (await api.json("/v1/operations", max_cost_tao="0.00001"))["operations"] == []
    assert (await api.json("/v1/operations", takes="audio"))["operations"] == []
    known = (await api.json("/v1/operations", max_latency_ms=5))["operations"]
    assert {why for each in known for why in each["why"]} == {"how long it takes is not known"}


async def test_subnets_page_by_page(api: Api) -> None:
    first = await api.json("/v1/subnets", limit=2)
    rest = await api.json("/v1/subnets", after=first["next"])
    assert [each["id"] for each in first["subnets"] + rest["subnets"]] == ["chutes", "desearch", "silent"]
    assert (await api.json("/v1/subnets", status="deprecated"))["subnets"] == []
    assert len((await api.json("/v1/subnets", limit=-5))["subnets"]) == 1, "at least one line"
    assert [each["id"] for each in (await api.json("/v1/subnets", capability="chat_completion"))["subnets"]] == [
        "chutes"
    ]


async def test_exports_hold_everything(api: Api) -> None:
    listed = json.loads((await api.ask("/v1/export.json")).body)
    assert {each["id"]: SubnetEntry.model_validate(each) for each in listed} == dict(LedgerView(entries()).entries)
    rows = list(csv.DictReader(io.StringIO((await api.ask("/v1/export.csv")).body.decode())))
    assert [(each["subnet"], each["operation"]) for each in rows] == [
        ("chutes", "chat"),
        ("desearch", "web_search"),
        ("silent", ""),
    ]
    assert (rows[1]["url"], rows[1]["price"], rows[1]["currency"]) == ("http://127.0.0.1:1/web", "0.0001", "TAO")


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_a_cell_is_never_a_formula(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"


# limits, counts, versions


async def test_an_answer_that_did_not_change_is_not_sent_and_no_database(api: Api) -> None:
    first = await api.ask("/v1/subnets/desearch")
    etag = first.headers["etag"]
    again = await api.ask("/v1/subnets/desearch", headers={"if-none-match": f'"other", {etag}'})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
    assert await api.used() == 1
    basic = await api.ask("/v1/subnets/desearch", None)
    assert basic.headers["etag"] != etag, "another tier sees another answer"
    problem(await api.ask("/v1/subnets/nobody", headers={"if-none-match": etag}), "no_subnet")
    await api.commit(entry("newest", netuid=1))
    changed = await api.ask("/v1/subnets/desearch", headers={"if-none-match": etag})
    assert (changed.status, await api.used()) == (200, 2)


async def test_only_what_was_answered_is_counted(api: Api) -> None:
    for path in ("/v1/ledger", "/v1/health", "/v1/tiers", "/v1/account", "/openapi.json", "/v1/checkpoint"):
        assert (await api.ask(path)).status == 200
    problem(await api.ask("/v1/subnets/nobody"), "no_subnet")
    problem(await api.ask("/v1/subnets", limit="many"), "unprocessable")
    assert await api.used() == 0
    for path in ("/v1/subnets", "/v1/export.csv", "/v1/subnets/desearch/proof"):
        assert (await api.ask(path)).status == 200
    assert await api.used() == 3
    assert (await api.json("/v1/account"))["usage"] == {str(max(map(int, (await api.json("/v1/account"))["usage"]))): 3}


async def test_a_request_with_a_name_is_counted_once(api: Api) -> None:
    for _ in range(3):
        assert (await api.ask("/v1/subnets/desearch", headers={"x-request-id": "r-1"})).status == 200
    assert await api.used() == 1


async def test_the_name_of_one_lookup_does_not_pay_for_another(api: Api) -> None:
    for path in ("/v1/subnets/desearch", "/v1/subnets/chutes"):
        assert (await api.ask(path, headers={"x-request-id": "r-1"})).status == 200
    assert await api.used() == 2


async def test_the_month_of_a_developer_ends(api: Api) -> None:
    first = await api.ask("/v1/subnets/desearch", "developer")
    assert '"month";q=1000;' in first.headers["ratelimit-policy"]
    assert '"month";r=999;' in first.headers["ratelimit"]
    await execute(str(api.service.reader.engine.url), "UPDATE api_usage SET lookups = 999")
    assert '"month";r=0;' in (await api.ask("/v1/subnets/desearch", "developer")).headers["ratelimit"]
    reply = await api.ask("/v1/subnets/desearch", "developer")
    problem(reply, "quota_exceeded")
    assert 0 < int(reply.headers["retry-after"]) <= 31 * 86_400
    assert f"t={reply.headers['retry-after']}" in reply.headers["ratelimit"]
    assert "etag" not in reply.headers
    assert await api.used("developer") == 1000
    assert (await api.ask("/v1/account", "developer")).status == 200, "what is not counted is still answered"


async def test_the_pace_of_those_without_a_key_is_by_address(api: Api) -> None:
    for _ in range(30):
        assert (await api.ask("/v1/ledger", None)).status == 200
    reply = await api.ask("/v1/ledger", None)
    problem(reply, "rate_limited")
    assert (reply.headers["retry-after"], reply.headers["ratelimit-policy"]) == ("2", '"minute";q=30;w=60')
    assert (await api.ask("/v1/ledger", None, peer="192.0.2.8")).status == 200
    assert (await api.ask("/v1/ledger", "free")).status == 200, "a key has a pace of its own"


async def test_behind_a_proxy_the_address_is_the_one_it_names(tmp_path: Path) -> None:
    async with running_api(sqlite_url(tmp_path / "api.sqlite"), behind_proxy=True) as api:
        for number in range(30):
            claimed = {"x-forwarded-for": f"10.0.0.{number}, 198.51.100.1"}
            assert (await api.ask("/v1/ledger", None, headers=claimed)).status == 200
        problem(await api.ask("/v1/ledger", None, headers={"x-forwarded-for": "198.51.100.1"}), "rate_limited")
        assert (await api.ask("/v1/ledger", None, headers={"x-forwarded-for": "198.51.100.2"})).status == 200
        assert (await api.ask("/v1/ledger", None)).status == 200


async def test_what_a_caller_claims_to_be_is_nothing_without_a_proxy(api: Api) -> None:
    for number in range(30):
        await api.ask("/v1/ledger", None, headers={"x-forwarded-for": f"198.51.100.{number}"})
    problem(await api.ask("/v1/ledger", None, headers={"x-forwarded-for": "198.51.100.99"}), "rate_limited")


async def test_guessing_keys_is_paced_by_address(api: Api) -> None:
    for number in range(30):
        problem(await api.ask("/v1/ledger", f"orchestra_{number}"), "key_unknown")
    problem(await api.ask("/v1/ledger", "orchestra_31"), "rate_limited")
    assert (await api.ask("/v1/ledger", "production")).status == 200


async def test_a_body_that_is_too_large_or_no_json(api: Api) -> None:
    problem(await api.ask("/v1/webhooks", method="POST", raw=b"x" * (MAX_BODY_BYTES + 1)), "body_too_large")
    for raw in (b"{", b"[" * 9000, b'"\xff"', b"null"):
        reply = await api.ask("/v1/webhooks", method="POST", raw=raw)
        assert reply.status in (400, 422)
        problem(reply, json.loads(reply.body)["code"])


async def test_before_anything_was_read_it_says_so(api: Api) -> None:
    api.service.reader.edition = None
    reply = await api.ask("/v1/ledger")
    problem(reply, "not_ready")
    assert reply.headers["retry-after"] == "1"


async def test_both_engines_answer_alike(url: str) -> None:
    async with running_api(url) as api:
        assert (await api.json("/v1/subnets/desearch"))["change"]["index"] == 3
        assert [each["index"] for each in (await api.json("/v1/subnets/desearch/history"))["changes"]] == [0, 3]
        assert len((await api.json("/v1/changes", since="1"))["changes"]) == 3
        await api.commit(entry("newest", netuid=1))
        assert (await api.json("/v1/search", q="newest"))["hits"][0]["id"] == "newest"
        made = await api.ask("/v1/webhooks", method="POST", body={"url": "https://a.example/x"})
        assert made.status == 201
        assert len((await api.json("/v1/webhooks"))["webhooks"]) == 1
        assert (await api.json("/v1/deliveries", state="dead"))["deliveries"] == []
        await execute(url, "UPDATE api_usage SET lookups = 1000")
        assert (await api.ask("/v1/subnets/desearch", "developer")).status == 200, "its own count is another"
        assert await api.used("developer") == 1
        assert sum((await api.json("/v1/account"))["usage"].values()) == 1000


# webhooks


async def test_a_webhook_from_its_making_to_its_end(api: Api) -> None:
    reply = await api.ask("/v1/webhooks", method="POST", body={"url": "https://a.example/x", "entries": ["chutes"]})
    assert reply.status == 201
    made = models.WebhookMade.model_validate_json(reply.body)
    assert made.secret.startswith("whsec_")
    listed = (await api.ask("/v1/webhooks")).body
    assert made.secret.encode() not in listed, "shown once"
    assert [each["id"] for each in json.loads(listed)["webhooks"]] == [made.id]
    assert json.loads((await api.ask("/v1/webhooks", "enterprise")).body) == {"webhooks": []}
    assert (await api.ask(f"/v1/webhooks/{made.id}", "enterprise", method="DELETE")).status == 204
    assert made.id.encode() in (await api.ask("/v1/webhooks")).body, "it was not theirs"
    for _ in range(2):
        assert (await api.ask(f"/v1/webhooks/{made.id}", method="DELETE")).status == 204
    assert json.loads((await api.ask("/v1/webhooks")).body) == {"webhooks": []}


async def test_a_dead_letter_that_there_is_not(api: Api) -> None:
    reply = await api.ask(f"/v1/deliveries/msg_{'0' * 32}/retry", method="POST")
    problem(reply, "no_letter")


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/",
        "https://",
        "https://localhost/",
        "https://10.0.0.1/",
        "ftp://a.example",
        "https://a b/",
        "https://u:p@a.example/",
        5,
        None,
    ],
)
async def test_an_address_that_is_no_webhook(api: Api, url: Any) -> None:
    problem(await api.ask("/v1/webhooks", method="POST", body={"url": url}), "unprocessable")


async def test_an_address_that_nobody_can_reach(api: Api) -> None:
    reply = await api.ask("/v1/webhooks", method="POST", body={"url": "http://127.0.0.1:9000/x"})
    assert problem(reply, "address_refused")["detail"] == "not public"


async def test_a_key_has_so_many_webhooks_and_no_more(api: Api) -> None:
    for _ in range(100):
        assert (await api.ask("/v1/webhooks", method="POST", body={"url": "https://a.example/"})).status == 201
    problem(await api.ask("/v1/webhooks", method="POST", body={"url": "https://a.example/"}), "too_many_webhooks")
