"""Where an operation of the document is and who may call it: servers, security schemes, and answers that are errors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urljoin

from ledger.entry import Auth, ErrorRule
from ledger.openapi.document import Document, Fields, NotExpressible, fields, items, optional, text

MAX_BASE_URL = 256
_BASE_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
_VARIABLE = re.compile(r"\{([^{}]{1,64})\}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_SCHEMES = {"bearer": "Bearer {key}", "basic": "Basic {key}"}


def base_url(document: Document, holders: Iterable[Fields], published_at: str) -> str:
    """The first server of the nearest holder that names one, resolved against where the document was published.

    Empty when nothing says it: the document has no absolute server and `published_at` is not known.

    Raises:
        NotExpressible: a URL with more than origin and path.
    """
    for holder in (*holders, document.root):
        servers = items(holder, "servers")
        if servers:
            return _resolved(fields(servers[0]), published_at)
    return _resolved({"url": "/"}, published_at)


def _resolved(server: Fields, published_at: str) -> str:
    variables = optional(server, "variables")

    def default(slot: re.Match[str]) -> str:
        return text(fields(variables.get(slot[1], {})), "default")

    url = _VARIABLE.sub(default, text(server, "url"))
    if not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", url):
        if not published_at:
            return ""
        url = urljoin(published_at, url or "/")
    url = url.rstrip("/")
    if len(url) > MAX_BASE_URL or _BASE_URL.fullmatch(url) is None:
        raise NotExpressible(f"the server is not https://host[:port]/path: {url[:100]}")
    return url


def auth_of(document: Document, operation: Fields) -> Auth | None:
    """What the document says a caller needs, without the name of the secret; None when it does not say.

    Of several alternatives the first that an entry can express; an empty one among them makes it optional.

    Raises:
        NotExpressible: none of them can be expressed.
    """
    if "security" not in operation and "security" not in document.root:
        return None
    stated = items(operation if "security" in operation else document.root, "security")
    alternatives = [fields(each) for each in stated]
    wanted = [each for each in alternatives if each]
    if not wanted:
        return Auth()
    refused: list[str] = []
    for each in wanted:
        try:
            found = _alternative(document, each)
        except NotExpressible as reason:
            refused.append(str(reason))
        else:
            return found.model_copy(update={"optional": len(wanted) < len(alternatives)})
    if len(wanted) < len(alternatives):
        return Auth()
    raise NotExpressible(f"auth: {'; '.join(dict.fromkeys(refused))}"[:300])


def _alternative(document: Document, schemes: Fields) -> Auth:
    if len(schemes) > 1:
        raise NotExpressible(f"needs {' and '.join(sorted(schemes))[:100]} together")
    name = next(iter(schemes))
    known = optional(optional(document.root, "components"), "securitySchemes")
    if name not in known:
        raise NotExpressible(f"the scheme {name[:60]} is not described")
    scheme = document.follow(known[name])
    kind, where, parameter = text(scheme, "type"), text(scheme, "in"), text(scheme, "name")
    if kind == "apiKey" and where in ("header", "query") and _HEADER.fullmatch(parameter):
        return Auth.model_validate({"kind": where, "name": parameter})
    spelled = _SCHEMES.get(text(scheme, "scheme").lower()) if kind == "http" else None
    if spelled:
        return Auth(kind="header", name="Authorization", format=spelled)
    raise NotExpressible(f"{kind or 'unknown'} {where or text(scheme, 'scheme')}".strip()[:60] + " is no key to send")


def errors_of(operation: Fields) -> tuple[ErrorRule, ...]:
    """Rules for the error answers that the document lists with their status: 401, 402, 403, 429 and 5xx."""
    statuses = sorted(int(each) for each in optional(operation, "responses") if re.fullmatch(r"[45][0-9]{2}", each))
    return tuple(rule for status in statuses if (rule := _rule(status)))


def _rule(status: int) -> ErrorRule | None:
    match status:
        case 401 | 403:
            return ErrorRule(status=status, means="auth", retryable=False)
        case 402:
            return ErrorRule(status=status, means="out_of_credit", retryable=False)
        case 429:
            return ErrorRule(status=status, means="throttled", retryable=True)
        case _ if status >= 500:
            return ErrorRule(status=status, means="fault", retryable=status not in (501, 505))
        case _:
            return None


def header_key(parameter: str) -> Auth | None:
    """The auth that a required header parameter is by its name (`X-API-Key`), as frameworks often document one."""
    name = parameter.lower().replace("_", "-")
    if _HEADER.fullmatch(parameter) and re.fullmatch(r"(x-)?([a-z0-9]+-)?(api|access|auth)-?(key|token)", name):
        return Auth(kind="header", name=parameter)
    return None


def contact_of(document: Document) -> dict[str, Any]:
    """`title`, `version` and the first paragraph of `description`."""
    info = optional(document.root, "info")
    paragraph = re.split(r"\n\s*\n", text(info, "description").strip(), maxsplit=1)[0]
    return {"title": text(info, "title")[:128], "version": text(info, "version")[:64], "description": paragraph}
