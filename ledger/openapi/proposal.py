"""From the operations that a document states to the entry that it proposes, and what was taken from elsewhere.

Where the Ledger already has an operation at the same place, only what the document states replaces what is known: its
name, mappings, price and doubts are nobody's to forget. What a new operation needs beyond the document is the careful
default, and its capability and role, where nobody gave them, are guesses; all three are listed, never passed off as
the provider's word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from ledger.capabilities import CONTRACTS
from ledger.difference import Direction, diff
from ledger.entry import Auth, Claim, Endpoint, Operation, SubnetEntry, Surface
from ledger.openapi.operations import Draft, OpenApi, Skipped
from ledger.schema_measure import SchemaRefused
from ledger.search import SearchIndex
from ledger.store import MAX_ENTRY_BYTES
from ledger.view import LedgerView

_UNSAID = ("output_schema", "auth", "errors", "price", "rate_limit", "determinism", "safe_to_retry", "max_batch")
_SUPPORT = re.compile(r"(health|healthz|livez|readyz|ping|status|version|models|balance|usage|quota|pricing|prices|me)")
_KNOWN_BONUS = 3.0
"""How much more a capability weighs that the entry claims already."""


class ProposalFailed(ValueError):
    """What is missing to make an entry of the document, and how to give it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the document came from: `source` in words, `url` when it was published at one, and the day it was read."""

    source: str
    day: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """One operation of the proposed entry that the document states."""

    name: str
    guessed: tuple[str, ...]
    not_said: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    entry: SubnetEntry
    imported: tuple[Imported, ...]
    skipped: tuple[Skipped, ...]


def propose(
    api: OpenApi,
    known: SubnetEntry | None,
    origin: Origin,
    *,
    entry_id: str,
    netuid: int | None = None,
    name: str = "",
    description: str = "",
    capability: str = "",
) -> Proposal:
    """The entry that the document makes of `known`, or a new one.

    An operation of `known` stays when the document does not speak of its host, or has it but cannot be expressed;
    otherwise one that the document no longer has is removed. `capability` is for the new operations; without it each
    gets the one that its words speak of most.

    Raises:
        ProposalFailed: a new entry without netuid; an operation whose capability cannot even be guessed; an entry that
            would be larger than the Ledger keeps.
    """
    if known is None and netuid is None:
        raise ProposalFailed(f"no entry {entry_id!r} in this Ledger: a new one needs --netuid")
    number = netuid if netuid is not None or known is None else known.netuid
    merger = _Merger(known, api, origin, capability, f"ORCHESTRA_KEY_SN{number}")
    merged = [merger.merge(draft) for draft in api.drafts]
    kept = [] if known is None else _kept(known, api, merger.replaced)
    operations = _in_order(known, [*kept, *(operation for operation, _ in merged)])
    base: dict[str, Any] = {"id": entry_id, "description": _shortened(api.description), "name": api.title or entry_id}
    if known is not None:
        base = known.model_dump(mode="json")
    given = {"netuid": netuid, "name": name or None, "description": description or None}
    base |= {field: value for field, value in given.items() if value is not None}
    claimed = (*(known.capabilities if known else ()), *(each.capability for each in operations))
    base["capabilities"] = list(dict.fromkeys(claimed))
    base["operations"] = [each.model_dump(mode="json") for each in operations]
    base["surfaces"] = [each.model_dump(mode="json") for each in _surfaces(known, origin)]
    entry = SubnetEntry.model_validate(base)
    if (size := len(entry.canonical())) > MAX_ENTRY_BYTES:
        raise ProposalFailed(f"the entry would be {size} bytes, at most {MAX_ENTRY_BYTES}: import fewer operations")
    return Proposal(entry, tuple(report for _, report in merged), api.skipped)


class _Merger:
    def __init__(self, known: SubnetEntry | None, api: OpenApi, origin: Origin, capability: str, secret: str) -> None:
        self._known = known
        self._about = " ".join((api.title, api.description[:300], *(each.summary for each in api.drafts)))
        self._origin = origin
        self._capability = capability
        self._secret = secret
        self._names = {each.name for each in known.operations} if known else set[str]()
        self.replaced: set[str] = set()

    def merge(self, draft: Draft) -> tuple[Operation, Imported]:
        same = next((each for each in self._known.operations if _is_at(each, draft)), None) if self._known else None
        if same is not None and same.name not in self.replaced:
            self.replaced.add(same.name)
            operation, guessed = self._updated(same, draft), []
        else:
            same = None
            operation, guessed = self._new(draft)
        states = {*draft.said, *(("base_url",) if "base_url" in draft.said["endpoint"] else ())}
        not_said = [] if same else [field for field in ("base_url", *_UNSAID) if field not in states]
        return operation, Imported(operation.name, tuple(guessed), tuple(not_said), draft.remarks)

    def _updated(self, known: Operation, draft: Draft) -> Operation:
        said = dict(draft.said)
        for which in ("input_schema", "output_schema"):
            if which in said and _is_identical(getattr(known, which), said[which], which):
                del said[which]
        said["endpoint"] = known.endpoint.model_dump() | _joined_like(known.endpoint, said["endpoint"])
        if "auth" in said:
            said["auth"] = self._auth(Auth.model_validate(said["auth"]), known, said["endpoint"]["base_url"])
        if "errors" in said:
            stated = {rule.status for rule in known.errors}
            more = [rule for rule in said["errors"] if rule["status"] not in stated]
            said["errors"] = [*(rule.model_dump() for rule in known.errors), *more]
        updated = Operation.model_validate(known.model_dump() | said)
        return updated if updated == known else self._claimed(updated)

    def _new(self, draft: Draft) -> tuple[Operation, list[str]]:
        guessed: list[str] = []
        capability = self._capability
        if not capability:
            capability = _guess(draft.about, self._known) or _guess(self._about, self._known)
            if not capability:
                raise ProposalFailed(f"nothing says what {draft.slug} is for: give --capability")
            guessed.append(f"capability {capability}")
        said: dict[str, Any] = {"auth": {}, "output_schema": {}, **draft.said}
        endpoint: dict[str, Any] = {"base_url": "", **said["endpoint"]}
        said["auth"] = self._auth(Auth.model_validate(said["auth"]), None, endpoint["base_url"])
        fields = said | {
            "name": self._name(draft.slug),
            "capability": capability,
            "protocol": "http-json",
            "endpoint": endpoint,
            "determinism": "volatile",
            "safe_to_retry": endpoint["method"] == "GET",
            "notes": draft.summary,
        }
        operation = self._claimed(Operation.model_validate(fields))
        if (role := _role(operation)) != "task":
            guessed.append(f"role {role}")
        return operation.model_copy(update={"role": role}), guessed

    def _name(self, slug: str) -> str:
        name, number = slug, 2
        while name in self._names:
            name, number = f"{slug}_{number}", number + 1
        self._names.add(name)
        return name

    def _auth(self, auth: Auth, same: Operation | None, base_url: str) -> dict[str, Any]:
        """What the document asks for, with the name of the secret that belongs to this origin."""
        if auth.kind == "none":
            return auth.model_dump()
        operations = self._known.operations if self._known else ()
        host = urlsplit(base_url).netloc
        of_host = [each for each in ([same] if same else []) + list(operations) if each.auth.secret]
        secret = next((each.auth.secret for each in of_host if urlsplit(each.endpoint.base_url).netloc == host), "")
        taken = {each.auth.secret for each in of_host}
        if not secret:
            label = re.sub(r"[^A-Z0-9]", "_", host.partition(".")[0].upper())
            secret = f"{self._secret}_{label}"[:64] if self._secret in taken else self._secret
        return auth.model_dump() | {"secret": secret}

    def _claimed(self, operation: Operation) -> Operation:
        """With the claim that this document says so: the provider's own word when its host published it."""
        own = bool(self._origin.url) and _same_host(self._origin.url, operation.endpoint.base_url)
        authority = "official" if own else "community"
        claim = Claim(authority=authority, source=self._origin.source[:256], as_of=self._origin.day)
        others = tuple(each for each in operation.claims if each.about or each.source != claim.source)
        return operation.model_copy(update={"claims": (*others, claim)})


def _is_at(operation: Operation, draft: Draft) -> bool:
    """Is it the same method at the same URL? Slots may be called differently; without a base URL the path decides."""
    endpoint = draft.said["endpoint"]
    if operation.endpoint.method != endpoint["method"]:
        return False
    here, there = _place(operation.endpoint.base_url + operation.endpoint.path), _place(endpoint["path"])
    base = endpoint.get("base_url")
    return here == _place(base + endpoint["path"]) if base else here.endswith(there)


def _place(url: str) -> str:
    return re.sub(r"\{[^{}]*\}", "{}", url).rstrip("/")


def _joined_like(known: Endpoint, said: dict[str, Any]) -> dict[str, Any]:
    """The stated endpoint, cut into base URL and path where the known one is cut, if both are the same place."""
    base = said.get("base_url")
    if not base:
        return {name: each for name, each in said.items() if name != "path"}
    whole = base + said["path"]
    if _place(whole) == _place(known.base_url + known.path) and whole.startswith(known.base_url + "/"):
        return said | {"base_url": known.base_url, "path": whole[len(known.base_url) :]}
    return said


def _is_identical(known: dict[str, Any], said: dict[str, Any], which: str) -> bool:
    direction: Direction = "input" if which == "input_schema" else "output"
    try:
        return diff(known, said, direction=direction).kind == "identical"
    except SchemaRefused:
        return False


def _kept(known: SubnetEntry, api: OpenApi, replaced: set[str]) -> list[Operation]:
    """Operations that the document does not replace, and has no say over or cannot express."""
    bases: list[str] = [draft.said["endpoint"].get("base_url", "") for draft in api.drafts]
    here = {urlsplit(base).netloc for base in bases if base}
    skipped = [(each.method, _place(each.path)) for each in api.skipped]
    kept: list[Operation] = []
    for each in known.operations:
        place = _place(each.endpoint.base_url + each.endpoint.path)
        is_skipped = any(each.endpoint.method == method and place.endswith(path) for method, path in skipped)
        if each.name not in replaced and (is_skipped or urlsplit(each.endpoint.base_url).netloc not in here):
            kept.append(each)
    return kept


def _in_order(known: SubnetEntry | None, operations: Sequence[Operation]) -> list[Operation]:
    """Known ones where they were, then the new ones; a job that lost an operation it names is no longer followed."""
    places = {each.name: number for number, each in enumerate(known.operations)} if known else {}
    ordered = sorted(operations, key=lambda each: places.get(each.name, len(places)))
    names = {each.name for each in ordered}
    return [each if _job_names(each) <= names else each.model_copy(update={"job": None}) for each in ordered]


def _job_names(operation: Operation) -> set[str]:
    job = operation.job
    return {name for name in (job.status, job.result) if name} if job else set()


@cache
def _vocabulary_index() -> SearchIndex:
    return SearchIndex(LedgerView(()))


def _guess(about: str, known: SubnetEntry | None) -> str:
    """The capability that the words speak of most, rather one that the entry claims; its first if they say nothing."""
    claimed = known.capabilities if known else ()
    scores = {
        name: score * (_KNOWN_BONUS if name in claimed else 1.0)
        for name, score in _vocabulary_index().capabilities(about).items()
    }
    if scores:
        return max(scores, key=lambda name: (scores[name], name))
    return claimed[0] if claimed else ""


def _role(operation: Operation) -> str:
    """`task` only where the wire is what the capability promises, or where it promises nothing."""
    if operation.endpoint.method == "GET" and _SUPPORT.fullmatch(operation.endpoint.path.rpartition("/")[2].lower()):
        return "support"
    contract = CONTRACTS.get(operation.capability)
    if contract is None:
        return "task"
    try:
        takes = diff(contract.arguments, operation.input_schema, direction="input").kind
        gives = diff(contract.result, operation.output_schema).kind
    except SchemaRefused:
        return "variant"
    return "variant" if "breaking" in (takes, gives) else "task"


def _surfaces(known: SubnetEntry | None, origin: Origin) -> list[Surface]:
    surfaces = list(known.surfaces) if known else []
    if origin.url and len(origin.url) <= 512 and all(each.url != origin.url for each in surfaces):
        surfaces.append(Surface(kind="openapi", url=origin.url))
    return surfaces


def _same_host(one: str, other: str) -> bool:
    return urlsplit(one).netloc == urlsplit(other).netloc != ""


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 1024 else line[:1023] + "…"
