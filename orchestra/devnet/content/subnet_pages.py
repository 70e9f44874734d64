"""Pages on the 128 subnets: one or two for each, a page for every capability, and an index.

Five layouts take turns (definition list, fact table, cards, headed sections, bold labels), each with its own words for
the same facts, so that nothing that reads these pages can be tuned to one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ledger.catalogue import vocabulary
from orchestra.devnet.content import markup
from orchestra.devnet.content.facts import Api, SubnetFacts, subnets
from orchestra.devnet.content.web import WebPage

HOST = "subnets.example"
SITE = "Subnet Directory"
_UPPER = {"ai": "AI", "gpu": "GPU", "vpn": "VPN", "rpc": "RPC", "rag": "RAG", "3d": "3D"}
_NAVIGATION = (("All subnets", f"https://{HOST}/"), ("By capability", f"https://{HOST}/capabilities"))


@dataclass(frozen=True, slots=True)
class Layout:
    """How one kind of page looks and what it calls things."""

    title: Callable[[SubnetFacts], str]
    facts: Callable[[markup.Pairs], str]
    words: dict[str, str]


_KEYS = "netuid, purpose, capabilities, public, base, auth, limits, billing, website, repository, date"


def _words(labels: str) -> dict[str, str]:
    return dict(zip(_KEYS.split(", "), labels.split(", "), strict=True))


_LAYOUTS = (
    Layout(
        lambda s: s.name,
        markup.definitions,
        _words(
            "Netuid, Purpose, Capabilities, Public API, API endpoint, Authentication, "
            "Rate limits, Pricing, Website, Repository, As of"
        ),
    ),
    Layout(
        lambda s: f"{s.name} fact sheet",
        markup.key_values,
        _words(
            "Subnet ID, What it does, Can do, Public API, Base URL, Authorization, "
            "Limits, Pricing, Homepage, Source code, Last updated"
        ),
    ),
    Layout(
        lambda s: f"{s.name} profile",
        markup.cards,
        _words("Netuid, Description, Features, Public API, Endpoint, Auth, Rate limit, Cost, Site, Repo, Checked"),
    ),
    Layout(
        lambda s: f"{s.name} (SN{s.netuid})",
        markup.sections,
        _words(
            "Netuid, What it is, Capabilities, Public API, API base, Authentication, "
            "Rate limiting, Fees, Web site, Code repository, Checked"
        ),
    ),
    Layout(
        lambda s: f"Subnet {s.netuid}: {s.name}",
        markup.labelled,
        _words(
            "Netuid, What it does, Capabilities, Public API, API URL, Authentication, "
            "Throttling, Prices, Homepage, Source, Last updated"
        ),
    ),
)


def capability_name(tag: str) -> str:
    """`ai_text_detection` as people write it."""
    return " ".join(_UPPER.get(word, word) for word in tag.split("_"))


def pages() -> tuple[WebPage, ...]:
    """Profiles and API pages by netuid, then capability pages, then the index."""
    profiles = (page for facts in subnets() for page in _of(facts))
    return (*profiles, *_capability_pages(), _capability_index(), _index())


def _of(facts: SubnetFacts) -> Iterator[WebPage]:
    yield _page(f"/{facts.slug}", *_profile(facts))
    if facts.api:
        yield _page(f"/{facts.slug}/api", f"{facts.name} API", _api_body(facts, facts.api))


def _page(path: str, title: str, body: str) -> WebPage:
    html = markup.document(title, SITE, markup.heading(1, title) + body, _NAVIGATION)
    return WebPage(HOST, path, title, html, "subnets")


def _profile(facts: SubnetFacts) -> tuple[str, str]:
    layout = _LAYOUTS[facts.netuid % len(_LAYOUTS)]
    described = [(layout.words[key], value) for key, value in _stated(facts) if value]
    notes = markup.heading(2, "Notes") + markup.paragraph(facts.notes) if facts.notes else ""
    return layout.title(facts), layout.facts(described) + notes + _related(facts)


def _stated(facts: SubnetFacts) -> Iterator[tuple[str, str | None]]:
    api = facts.api
    yield "netuid", str(facts.netuid)
    yield "purpose", facts.description
    yield "capabilities", _capabilities(facts)
    yield "public", "yes" if facts.public_api else "no"
    if api:
        yield "base", api.base_url
        yield "auth", api.auth
        yield "limits", api.rate_limits
        yield "billing", api.billing
    yield "website", facts.website
    yield "repository", facts.repository
    yield "date", facts.as_of.isoformat()


def _capabilities(facts: SubnetFacts) -> str:
    meaning = vocabulary()
    return "; ".join(f"{capability_name(tag)} ({meaning[tag]})" for tag in facts.capabilities)


def _related(facts: SubnetFacts) -> str:
    targets = [(capability_name(tag), f"https://{HOST}/capability/{tag}") for tag in facts.capabilities]
    return markup.heading(2, "See also") + markup.links(targets)


def _api_body(facts: SubnetFacts, api: Api) -> str:
    intro = f"{facts.name} runs on Bittensor as SN{facts.netuid}."
    basics = [
        ("Base URL", api.base_url or "each validator runs its own"),
        ("Documentation", api.docs_url or ""),
        ("Latency", api.latency or ""),
        ("Billing", api.billing or ""),
        ("Rate limits", api.rate_limits or ""),
    ]
    operations = [
        (o.name, o.method, o.path, capability_name(o.capability), o.price or "not published") for o in api.operations
    ]
    errors = [(str(status), "yes" if retryable else "no") for status, retryable in api.errors]
    return (
        markup.paragraph(intro)
        + markup.paragraph(facts.description)
        + markup.definitions([(label, value) for label, value in basics if value])
        + markup.heading(2, "Authentication")
        + markup.paragraph(api.auth)
        + markup.heading(2, "Operations")
        + markup.table(("Operation", "Method", "Path", "Capability", "Price"), operations)
        + (markup.heading(2, "Errors") + markup.table(("Status", "Retry"), errors) if errors else "")
    )


def _used() -> Iterator[tuple[str, str, list[SubnetFacts]]]:
    """The capabilities that some subnet has: tag, meaning, members."""
    for tag, meaning in vocabulary().items():
        if members := [facts for facts in subnets() if tag in facts.capabilities]:
            yield tag, meaning, members


def _capability_pages() -> Iterator[WebPage]:
    for tag, meaning, members in _used():
        name = capability_name(tag)
        title = f"{name[0].upper()}{name[1:]} on Bittensor"
        rows = [(s.name, str(s.netuid), s.description, "yes" if s.public_api else "no") for s in members]
        count = f"{len(members)} {'subnet' if len(members) == 1 else 'subnets'}: {meaning}."
        body = markup.paragraph(count) + markup.table(("Subnet", "Netuid", "Summary", "Public API"), rows)
        yield _page(f"/capability/{tag}", title, body)


def _capability_index() -> WebPage:
    entries = [
        (f"{capability_name(tag)}: {meaning}", f"https://{HOST}/capability/{tag}") for tag, meaning, _ in _used()
    ]
    return _page("/capabilities", "Capabilities", markup.links(entries))


def _index() -> WebPage:
    entries = [(f"{facts.name} (SN{facts.netuid})", f"https://{HOST}/{facts.slug}") for facts in subnets()]
    return _page("/", "All Bittensor subnets", markup.links(entries))
