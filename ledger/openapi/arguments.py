"""What an operation of the document takes, and where it travels, as one JSON Schema of one arguments object.

A Ledger operation sends its arguments in the path and in one more place, the query or a JSON body. What a document
wants elsewhere (a header, a cookie, a query beside a body, a spelling of lists that we do not write) is left out where
it is optional, and that is said; where it is required, the operation cannot be expressed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from ledger.entry import Auth
from ledger.openapi.access import header_key
from ledger.openapi.document import Document, Fields, NotExpressible, fields, items, optional, text
from ledger.openapi.schemas import Closure, Purse

MAX_PARAMETERS = 128
_SLOT = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
_PLAIN_OBJECT = frozenset(
    {"type", "properties", "required", "additionalProperties", "title", "description", "examples", "default"}
)
_IGNORED_HEADERS = frozenset({"accept", "content-type", "authorization"})
"""Header parameters of these names are ignored, says OpenAPI: other parts of the document speak of them."""

Where = Literal["query", "json_body", "multipart", "none"]


@dataclass(slots=True)
class Arguments:
    """How an operation is called: `path` with slots that a Ledger entry knows, the rest in `where`."""

    path: str
    where: Where
    schema: dict[str, Any]
    key: Auth | None = None
    remarks: list[str] = field(default_factory=list[str])


def arguments_of(
    document: Document, path: str, item: Fields, operation: Fields, *, sends_body: bool, purse: Purse
) -> Arguments:
    """Read parameters and request body.

    Raises:
        NotExpressible: something required has no place, or a schema is refused.
    """
    return _Reader(document, path, purse).read(_parameters(document, item, operation), operation, sends_body)


def _parameters(document: Document, item: Fields, operation: Fields) -> list[Fields]:
    """Those of the path and of the operation, which override them."""
    listed = [*items(item, "parameters"), *items(operation, "parameters")]
    if len(listed) > MAX_PARAMETERS:
        raise NotExpressible(f"more than {MAX_PARAMETERS} parameters")
    found = [document.follow(each) for each in listed]
    return list({(text(each, "in"), text(each, "name")): each for each in found}.values())


class _Reader:
    def __init__(self, document: Document, path: str, purse: Purse) -> None:
        self._document = document
        self._path = path
        self._closure = Closure(document, "input", purse)
        self._properties: dict[str, Any] = {}
        self._required: list[str] = []
        self._in_query: list[str] = []
        self._remarks: list[str] = []
        self._key: Auth | None = None

    def read(self, parameters: list[Fields], operation: Fields, sends_body: bool) -> Arguments:
        slots = _SLOT.findall(self._path)
        for each in parameters:
            self._parameter(each, slots)
        if missing := [slot for slot in slots if _named(slot) not in self._properties]:
            raise NotExpressible(f"the document does not describe {missing[0][:60]!r} of the path")
        path = _SLOT.sub(lambda slot: "{" + _named(slot[1]) + "}", self._path)
        body: Fields = self._document.follow(operation["requestBody"]) if "requestBody" in operation else {}
        if body and not sends_body:
            self._remarks.append("a body, which this method does not send")
            body = {}
        where, schema = self._body(body) if body else (None, {})
        if where is None:
            where = "query" if self._in_query else "none"
            schema = self._object()
        return Arguments(path, where, self._closure.finish(schema), self._key, self._remarks)

    # Parameters ------------------------------------------------------------------------------------------------------

    def _parameter(self, parameter: Fields, slots: list[str]) -> None:
        name, place, required = text(parameter, "name"), text(parameter, "in"), parameter.get("required") is True
        if place == "header" and name.lower() in _IGNORED_HEADERS:
            return
        if place == "header" and required and (key := header_key(name)):
            self._key = key
            return
        try:
            schema = self._expressed(parameter, name, place, slots)
        except NotExpressible as reason:
            if required or place == "path":
                raise
            self._remarks.append(f"left out: {reason}")
            return
        if place == "path":
            name = _named(name)
        else:
            self._in_query.append(name)
        if name in self._properties:
            raise NotExpressible(f"two parameters are called {name[:60]}")
        self._properties[name] = schema
        if required or place == "path":
            self._required.append(name)

    def _expressed(self, parameter: Fields, name: str, place: str, slots: list[str]) -> Any:
        shown = f"{place} parameter {name[:60]}"
        if place not in ("path", "query") or not name:
            raise NotExpressible(shown)
        if place == "path" and name not in slots:
            raise NotExpressible(f"{shown}, which the path does not have")
        if "schema" not in parameter:
            raise NotExpressible(f"{shown} in a format of its own")
        schema = self._closure.add(parameter["schema"])
        style, types = text(parameter, "style"), self._closure.types(schema)
        if style and style != ("simple" if place == "path" else "form"):
            raise NotExpressible(f"{shown} in the style {style[:20]}")
        if "object" in types or ("array" in types and (place == "path" or parameter.get("explode") is False)):
            raise NotExpressible(f"{shown}, an object or a list in one text")
        return _described(schema, parameter)

    def _object(self) -> dict[str, Any]:
        found: dict[str, Any] = {"type": "object"}
        if self._properties:
            found["properties"] = self._properties
        if self._required:
            found["required"] = list(self._required)
        return found

    # Bodies ----------------------------------------------------------------------------------------------------------

    def _body(self, body: Fields) -> tuple[Where | None, dict[str, Any]]:
        """Where the body goes and the schema of everything, or None when it is left out."""
        required = body.get("required") is True
        try:
            where, media = _sendable(optional(body, "content"))
            if needed := [name for name in self._in_query if name in self._required]:
                raise NotExpressible(f"a body beside the query parameter {needed[0][:60]}")
        except NotExpressible as reason:
            if required:
                raise
            self._remarks.append(f"left out: {reason}")
            return None, {}
        for name in self._in_query:
            del self._properties[name]
            self._remarks.append(f"left out: query parameter {name[:60]} beside a body")
        if "schema" not in media:
            self._remarks.append("what the body holds is not said")
        return where, self._with_body(_described(self._closure.add(media.get("schema", {"type": "object"})), media))

    def _with_body(self, body: Any) -> dict[str, Any]:
        types = self._closure.types(body)
        if body is True or body == {}:
            body = {"type": "object"}
        if not isinstance(body, dict) or (types and "object" not in types):
            raise NotExpressible("a body that is no object")
        schema = cast("dict[str, Any]", body)
        if not self._properties:
            return schema
        if schema.keys() - _PLAIN_OBJECT:
            raise NotExpressible("a path parameter beside a body that is no plain object")
        own = optional(schema, "properties")
        if twice := own.keys() & self._properties.keys():
            raise NotExpressible(f"path and body both have {min(twice)[:60]}")
        required = [*self._required, *(name for name in items(schema, "required") if name not in self._required)]
        return {**schema, "type": "object", "properties": {**self._properties, **own}, "required": required}


def _named(slot: str) -> str:
    """A path parameter as a slot may be called; its name does not travel."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", slot)
    if _NAME.fullmatch(name) is None:
        raise NotExpressible(f"the path parameter {slot[:60]!r} has no usable name")
    return name


def _sendable(content: Fields) -> tuple[Where, Fields]:
    """The form of a body that we can send."""
    for media_type, media in content.items():
        kind = media_type.partition(";")[0].strip().lower()
        if kind in ("application/json", "*/*") or kind.endswith("+json"):
            return "json_body", fields(media)
    for media_type, media in content.items():
        if media_type.partition(";")[0].strip().lower() == "multipart/form-data":
            return "multipart", fields(media)
    raise NotExpressible(f"a body of {', '.join(content)[:100] or 'no media type'}")


def _described(schema: Any, holder: Mapping[str, Any]) -> Any:
    """The schema with the description and the example that stand beside it."""
    if not isinstance(schema, dict):
        return cast("object", schema)
    found = cast("dict[str, Any]", schema)
    if text(holder, "description") and "description" not in found:
        found = {**found, "description": holder["description"]}
    examples = [holder["example"]] if "example" in holder else []
    if isinstance(named := holder.get("examples"), dict):
        shown = [cast("Fields", each) for each in cast("dict[str, object]", named).values() if isinstance(each, dict)]
        examples += [each["value"] for each in shown if "value" in each][:4]
    return {**found, "examples": examples} if examples and "examples" not in found else found
