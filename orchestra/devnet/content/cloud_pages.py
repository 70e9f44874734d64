"""Pages on GPU clouds: for each a pricing page in one of six layouts, one for developers, one about the company."""

from __future__ import annotations

from collections.abc import Iterator

from orchestra.devnet.content import markup
from orchestra.devnet.content.facts import Cloud, Gpu, clouds
from orchestra.devnet.content.web import WebPage


def pages() -> tuple[WebPage, ...]:
    return tuple(page for cloud in clouds() for page in _of(cloud))


def _of(cloud: Cloud) -> Iterator[WebPage]:
    yield _page(cloud, "/pricing", f"{cloud.name} GPU cloud pricing", _pricing(cloud))
    yield _page(cloud, "/docs/api", f"{cloud.name} API", _developers(cloud))
    yield _page(cloud, "/about", f"About {cloud.name}", _company(cloud))


def _page(cloud: Cloud, path: str, title: str, body: str) -> WebPage:
    base = f"https://{cloud.host}"
    navigation = (("Pricing", f"{base}/pricing"), ("API", f"{base}/docs/api"), ("About", f"{base}/about"))
    html = markup.document(title, cloud.name, markup.heading(1, title) + body, navigation)
    return WebPage(cloud.host, path, title, html, "clouds")


def _usd(amount: float) -> str:
    return f"${amount:.2f}"


def _pricing(cloud: Cloud) -> str:
    prices = {
        "table": _table,
        "cards": _cards,
        "memory": _memory,
        "definitions": _definitions,
        "prose": _prose,
        "list": _list,
    }
    terms = [
        ("Billing", cloud.billing),
        ("Minimum rental", cloud.minimum_rental),
        ("Storage", f"{_usd(cloud.storage_price)} per GB and month"),
        ("Egress", f"{_usd(cloud.egress_price)} per GB"),
    ]
    updated = f"Last updated: {cloud.updated.isoformat()}"
    return (
        markup.paragraph(cloud.tagline)
        + prices[cloud.layout](cloud)
        + markup.heading(2, "Terms")
        + (markup.key_values(terms) if cloud.founded % 2 else markup.definitions(terms))
        + markup.paragraph(updated)
    )


def _rate(gpu: Gpu) -> str:
    return f"{_usd(gpu.on_demand)}/hr"


def _table(cloud: Cloud) -> str:
    header = ("GPU", "Memory", "On-demand price", "Spot price")
    rows = [(g.name, g.memory, _rate(g), f"{_usd(g.spot)}/hr" if g.spot else "not offered") for g in cloud.gpus]
    return (
        markup.heading(2, "GPU pricing")
        + markup.table(header, rows)
        + markup.heading(2, f"Why choose {cloud.name}")
        + markup.bullets(cloud.strengths)
    )


def _cards(cloud: Cloud) -> str:
    return (
        markup.heading(2, "Current prices")
        + markup.cards([(gpu.name, f"{_usd(gpu.on_demand)} per hour") for gpu in cloud.gpus])
        + markup.heading(2, "Strengths")
        + markup.bullets(cloud.strengths)
        + markup.heading(2, "Drawbacks")
        + markup.bullets(cloud.weaknesses)
    )


def _memory(cloud: Cloud) -> str:
    rows = [(g.name, g.memory, f"{g.on_demand:.2f} USD") for g in cloud.gpus]
    return markup.table(("GPU", "VRAM", "Price per GPU and hour"), rows, "On-demand instances") + markup.definitions(
        [("Strengths", ", ".join(cloud.strengths)), ("Watch out", "; ".join(cloud.weaknesses))]
    )


def _definitions(cloud: Cloud) -> str:
    return (
        markup.heading(2, "Rates per GPU and hour")
        + markup.definitions([(gpu.name, f"USD {gpu.on_demand:.2f}") for gpu in cloud.gpus])
        + markup.heading(2, "Advantages")
        + markup.bullets(cloud.strengths)
    )


def _prose(cloud: Cloud) -> str:
    offers = ", ".join(f"{gpu.name} at {_usd(gpu.on_demand)}" for gpu in cloud.gpus)
    return (
        markup.paragraph(f"Prices are per GPU and hour: {offers}.")
        + markup.paragraph(f"{cloud.name} is known for {' and '.join(cloud.strengths)}.")
        + markup.paragraph(f"Keep in mind: {'; '.join(cloud.weaknesses)}.")
    )


def _list(cloud: Cloud) -> str:
    return (
        markup.heading(2, "Cost per hour")
        + markup.bullets(f"{gpu.name} — {_usd(gpu.on_demand)} per hour" for gpu in cloud.gpus)
        + markup.heading(2, "Benefits")
        + markup.bullets(cloud.strengths)
    )


def _developers(cloud: Cloud) -> str:
    return (
        markup.paragraph(f"{cloud.name} instances are created, listed and stopped over HTTPS with JSON bodies.")
        + markup.definitions([("Base URL", cloud.api_base), ("Support", cloud.support)])
        + markup.heading(2, "Authentication")
        + markup.paragraph(cloud.auth)
        + markup.heading(2, "Operations")
        + markup.table(
            ("Operation", "Method", "Path"),
            (
                ("list_instances", "GET", "/instances"),
                ("create_instance", "POST", "/instances"),
                ("stop_instance", "DELETE", "/instances/{id}"),
            ),
        )
    )


def _company(cloud: Cloud) -> str:
    return markup.paragraph(cloud.about) + markup.key_values(
        [
            ("Founded", str(cloud.founded)),
            ("Headquarters", cloud.headquarters),
            ("Regions", ", ".join(cloud.regions)),
            ("Uptime", f"{cloud.uptime:g} %"),
            ("Support", cloud.support),
            ("Minimum rental", cloud.minimum_rental),
        ]
    )
