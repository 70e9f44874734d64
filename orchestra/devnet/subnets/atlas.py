"""Atlas, our own subnet: search, fetch, extract and a time series over signed HTTP, every answer with a signed receipt.

A caller is whoever signs (btauth/1); there are no API keys. The receipt binds the answer's bytes to the request's
bytes, to the caller and to the challenge's public tag, so that the caller can show an auditor that this answer came
from here.
"""

import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response
from starlette.types import Scope

from ledger.canonical import canonical, sha256
from ledger.types import Signer
from orchestra.devnet.subnets.crawler import Fetched, Fetcher, PageUnavailable
from orchestra.devnet.subnets.faults import Faults
from orchestra.devnet.subnets.readings import find_series, reading
from orchestra.devnet.subnets.vectors import VectorIndex
from orchestra.protocol import Receipt
from orchestra.subnets import RECEIPT_HEADER, TAG_HEADER, receipt_payload, write_receipt
from orchestra.synthesis.extraction import extract_records
from orchestra.synthesis.page import read_page, render_text
from orchestra.transport import PROBLEMS, Refused, SignedCall, SignedRequests, install_problems

ENTRY = "atlas"


class Ask(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Search(Ask):
    q: str = Field(min_length=1, max_length=2_000)
    k: int = Field(default=10, ge=1, le=50)


class Fetch(Ask):
    url: str = Field(min_length=1, max_length=2_000)


class Extract(Ask):
    url: str = Field(min_length=1, max_length=2_000)
    fields: dict[str, Any] = Field(min_length=1, max_length=64)


class ReadingOf(Ask):
    series: str = Field(min_length=1, max_length=256)


A = TypeVar("A", bound=Ask)


def error(status: int) -> Response:
    """A failure as a problem document."""
    codes = {401: "bad_signature", 403: "hotkey_unknown", 404: "not_found", 429: "hotkey_rate_limited"}
    problem = PROBLEMS[codes.get(status, "internal_error" if status >= 500 else "bad_request")]
    return Response(problem.body, status, media_type="application/problem+json")


def caller(scope: Scope) -> str:
    """Who calls, for the log: the hotkey that the request claims."""
    return next(
        (value.decode("latin-1")[:64] for name, value in scope["headers"] if name == b"x-bittensor-hotkey"), "anonymous"
    )


def receipt(
    signer: Signer, *, operation: str, caller: str, tag: str, request: bytes, response: bytes, time_ms: int
) -> Receipt:
    """The signed statement that this response answered this request of this caller."""
    request_hash = sha256(request)
    signed = receipt_payload(
        entry=ENTRY,
        operation=operation,
        caller=caller,
        tag=tag,
        request_hash=request_hash,
        response_hash=sha256(response),
        time_ms=time_ms,
    )
    signature = "0x" + signer.sign(signed).hex()
    return Receipt(key=signer.ss58_address, time_ms=time_ms, request_hash=request_hash, signature=signature)


def create_app(
    index: VectorIndex,
    crawler: Fetcher,
    faults: Faults,
    signer: Signer,
    signed: SignedRequests,
    *,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The service. `clock` is UTC seconds: it dates receipts and picks the day of a reading."""
    app = FastAPI(openapi_url=None)
    install_problems(app)

    def answer(operation: str, call: SignedCall, request: Request, document: Mapping[str, Any]) -> Response:
        body = canonical(document)
        statement = receipt(
            signer,
            operation=operation,
            caller=call.hotkey,
            tag=request.headers.get(TAG_HEADER, "")[:128],
            request=call.body,
            response=body,
            time_ms=int(clock() * 1000),
        )
        return Response(body, media_type="application/json", headers={RECEIPT_HEADER: write_receipt(statement)})

    async def page(url: str) -> Fetched:
        try:
            return await crawler.fetch(url)
        except ValueError:
            raise Refused(PROBLEMS["unprocessable"]) from None
        except PageUnavailable:
            raise Refused(PROBLEMS["not_found"]) from None

    @app.post("/v1/search")
    async def search(request: Request, call: Annotated[SignedCall, Depends(signed)]) -> Response:
        asked = _read(Search, call)
        hits = [{"title": hit.title, "url": hit.url, "text": hit.snippet} for hit in index.search(asked.q, asked.k)]
        return answer("search", call, request, {"hits": hits})

    @app.post("/v1/fetch")
    async def fetch(request: Request, call: Annotated[SignedCall, Depends(signed)]) -> Response:
        fetched = await page(_read(Fetch, call).url)
        text = render_text(read_page(fetched.text, fetched.media_type))
        return answer("fetch", call, request, {"url": fetched.url, "page": text})

    @app.post("/v1/extract")
    async def extract(request: Request, call: Annotated[SignedCall, Depends(signed)]) -> Response:
        asked = _read(Extract, call)
        fetched = await page(asked.url)
        try:
            records = extract_records(fetched.text, asked.fields, fetched.media_type)
        except ValueError:
            raise Refused(PROBLEMS["unprocessable"]) from None
        return answer("extract", call, request, {"url": fetched.url, "records": records})

    @app.post("/v1/reading")
    async def latest(request: Request, call: Annotated[SignedCall, Depends(signed)]) -> Response:
        series = find_series(_read(ReadingOf, call).series)
        if series is None:
            raise Refused(PROBLEMS["not_found"])
        now = reading(series, clock())
        document: dict[str, Any] = {"series": now.series, "value": now.value, "unit": now.unit, "at": now.at}
        if faults.control.drifted:
            amount = {"amount": f"{now.value:.2f}", "unit": now.unit}
            document = {"series": now.series, "reading": amount, "observed_at": now.at}
        return answer("reading", call, request, document)

    return app


def _read(model: type[A], call: SignedCall) -> A:
    try:
        return model.model_validate(call.json())
    except ValidationError:
        raise Refused(PROBLEMS["unprocessable"]) from None
