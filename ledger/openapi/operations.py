"""Every operation of an OpenAPI document as the fields of a Ledger operation that the document states, and no others.

What it does not say (a price, how stable an answer is, a rate limit) is not here; `ledger.openapi.proposal` fills in
what the Ledger knows already or the defaults, and lists them as not said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ledger.canonical import canonical
from ledger.openapi.access import auth_of, base_url, contact_of, errors_of
from ledger.openapi.arguments import arguments_of
from ledger.openapi.document import Document, DocumentRefused, Fields, NotExpressible, fields, items, optional, text
from ledger.openapi.schemas import Closure, Purse

MAX_OPERATIONS = 500
_METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
_SENT = {"get": "GET", "put": "PUT", "post": "POST", "delete": "DELETE"}
_PATH = re.compile(r"/([A-Za-z0-9._~!$&'()*+,;=:@%/-]|\{[^{}]{1,64}\})*")
_ANSWERED = frozenset(
    {"text/plain", "text/event-stream", "application/octet-stream", "application/pdf", "application/xml", "audio/wav"}
)


@dataclass(frozen=True, slots=True)
class Draft:
    """One operation. `said` are fields of `ledger.entry.Operation` as the document states them; `about` is what it says
    of itself in words; `remarks` what was left out of it.
    """

    slug: str
    summary: str
    about: str
    said: dict[str, Any]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """An operation that a Ledger entry cannot express, and why."""

    method: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class OpenApi:
    """What a document says of itself, its operations, and those that were skipped; in its own order."""

    title: str
    version: str
    description: str
    drafts: tuple[Draft, ...]
    skipped: tuple[Skipped, ...]


def read_operations(document: Document, *, published_at: str = "") -> OpenApi:
    """Read every operation. `published_at` is the document's own URL, for servers that it names relative to that.

    Raises:
        DocumentRefused: no paths, or more than 500 operations.
    """
    try:
        found = list(_listed(document))
        contact = contact_of(document)
    except NotExpressible as reason:
        raise DocumentRefused("not_openapi", str(reason)) from None
    if not found:
        raise DocumentRefused("not_openapi", "it has no paths with operations")
    if len(found) > MAX_OPERATIONS:
        raise DocumentRefused("too_many", f"{len(found)} operations, at most {MAX_OPERATIONS}")
    reader = _Reader(document, published_at)
    drafts: list[Draft] = []
    skipped: list[Skipped] = []
    for path, method, item, operation in found:
        try:
            drafts.append(reader.read(path, method, item, operation))
        except NotExpressible as reason:
            skipped.append(Skipped(method.upper(), path[:256], str(reason)[:300]))
    return OpenApi(contact["title"], contact["version"], contact["description"], tuple(drafts), tuple(skipped))


def _listed(document: Document) -> Iterator[tuple[str, str, Fields, object]]:
    for path, item in optional(document.root, "paths").items():
        if path.startswith("x-"):
            continue
        found = document.follow(item)
        for method in _METHODS:
            if method in found:
                yield path, method, found, found[method]


class _Reader:
    def __init__(self, document: Document, published_at: str) -> None:
        self._document = document
        self._published_at = published_at
        self._purse = Purse()
        self._slugs: set[str] = set()

    def read(self, path: str, method: str, item: Fields, operation: object) -> Draft:
        stated = fields(operation)
        if method not in _SENT:
            raise NotExpressible(f"the method {method.upper()}")
        if len(path) > 256 or _PATH.fullmatch(path) is None:
            raise NotExpressible("the path has characters that are not sent")
        sends = method in ("post", "put")
        taken = arguments_of(self._document, path, item, stated, sends_body=sends, purse=self._purse)
        media_type, output = self._answer(stated)
        base = base_url(self._document, (stated, item), self._published_at)
        auth = auth_of(self._document, stated)
        if taken.key and auth and auth.kind != "none":
            raise NotExpressible(f"auth: needs {taken.key.name} and {auth.name} together")
        auth = taken.key or auth
        endpoint = {"base_url": base, "method": _SENT[method], "path": taken.path, "arguments": taken.where}
        said: dict[str, Any] = {
            "endpoint": {name: each for name, each in endpoint.items() if name != "base_url" or base},
            "input_schema": taken.schema,
        }
        if media_type:
            said["endpoint"]["media_type"] = media_type
        optional_fields = {"output_schema": output, "auth": auth and auth.model_dump(mode="json")}
        said |= {name: each for name, each in optional_fields.items() if each is not None}
        if errors := errors_of(stated):
            said["errors"] = [each.model_dump(mode="json") for each in errors]
        summary = text(stated, "summary") or text(stated, "description").strip().partition("\n")[0]
        return Draft(self._slug(path, method, stated), summary[:300], _about(path, stated), said, tuple(taken.remarks))

    def _answer(self, operation: Fields) -> tuple[str, dict[str, Any] | None]:
        """Media type and schema of a success; empty and None where the document does not say."""
        answers = optional(operation, "responses")
        good = [self._document.follow(answers[each]) for each in sorted(answers) if re.fullmatch(r"2(\d\d|XX)", each)]
        media = [(kind, fields(each)) for one in good for kind, each in optional(one, "content").items()]
        if not media:
            return "", None
        kinds = {kind: _media_type(kind) for kind, _ in media}
        chosen = min((kind for kind in kinds.values() if kind), key=lambda one: one != "application/json", default="")
        if not chosen:
            raise NotExpressible(f"it answers {', '.join(kinds)[:100]}")
        closure = Closure(self._document, "output", self._purse)
        of_chosen = [each for kind, each in media if kinds[kind] == chosen]
        if not all("schema" in each for each in of_chosen):
            return chosen, None
        distinct = {_canonical_text(added): added for each in of_chosen for added in [closure.add(each["schema"])]}
        schemas = list(distinct.values())
        whole: object = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        return chosen, closure.finish(fields(whole) if whole is not True else {})

    def _slug(self, path: str, method: str, operation: Fields) -> str:
        spelled = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text(operation, "operationId")[:256] or f"{method}_{path}")
        wanted = re.sub(r"[^a-z0-9]+", "_", spelled.lower()).strip("_")[:60] or method
        slug, number = wanted, 2
        while slug in self._slugs:
            slug, number = f"{wanted[:58]}_{number}", number + 1
        self._slugs.add(slug)
        return slug


def _canonical_text(schema: object) -> bytes:
    """The canonical bytes of a schema.

    Raises:
        NotExpressible: it holds what strict JSON does not.
    """
    try:
        return canonical(schema)
    except ValueError as error:
        raise NotExpressible(f"malformed: {error}"[:200]) from None


def _media_type(kind: str) -> str:
    """The media type as an entry names it; empty where it has none for it."""
    plain = kind.partition(";")[0].strip().lower()
    if plain in ("application/json", "*/*") or plain.endswith("+json"):
        return "application/json"
    if plain.startswith("image/"):
        return "image/*"
    return plain if plain in _ANSWERED else ""


def _about(path: str, operation: Fields) -> str:
    tags = [each for each in items(operation, "tags") if isinstance(each, str)]
    words = (*tags[:8], text(operation, "operationId"), path, text(operation, "summary"))
    said = " ".join((*words, text(operation, "description")[:300]))
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", said)[:900].replace("_", " ")
