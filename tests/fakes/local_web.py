"""Runs a Plan against the local collections in this process: the same content and extraction as the local subnets, no
sockets. `down` names capabilities whose every call fails; `lost` pages that are gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from ledger.canonical import canonical
from ledger.types import JSON
from orchestra.devnet.content import posts, web_pages
from orchestra.devnet.subnets.bm25 import Bm25Index
from orchestra.devnet.subnets.documents import documents
from orchestra.devnet.subnets.readings import find_series, reading
from orchestra.execution.arguments import MissingArgument, resolve
from orchestra.execution.run import Attempt, Run, TaskOutcome
from orchestra.planning.plan import Plan, Task
from orchestra.protocol import StepError
from orchestra.synthesis.extraction import extract_records
from orchestra.synthesis.page import read_html, render_text

NOW_S = 1_795_132_800.0


def text_of(html: str) -> str:
    """A page's text as the local crawler gives it."""
    return render_text(read_html(html))


@cache
def _index() -> Bm25Index:
    return Bm25Index(documents())


def search(query: str) -> list[dict[str, str]]:
    """The local search's answer: at most ten hits, as every provider of it gives."""
    return [
        {"title": hit.title, "url": hit.url, "snippet": hit.snippet}
        for hit in _index().search(query, start=0, limit=10)
    ]


@cache
def _pages() -> dict[str, str]:
    return {page.url: page.html for page in web_pages()}


class World:
    """Answers every capability; `answers` replaces the answer of one."""

    def __init__(
        self,
        *,
        down: Iterable[str] = (),
        lost: Iterable[str] = (),
        answers: dict[str, Callable[[dict[str, Any]], JSON]] | None = None,
    ) -> None:
        self.down = frozenset(down)
        self.lost = frozenset(lost)
        self.answers = answers or {}

    def run(self, plan: Plan) -> Run:
        attempts: list[Attempt] = []
        outcomes: dict[str, TaskOutcome] = {}
        outputs: dict[str, JSON] = {}
        optional = {task.id for task in plan.tasks if task.optional}
        for task in plan.tasks:
            step = None
            needs = {ref.task for ref in task.refs()}
            if all(outcomes[need].state == "done" or need in optional for need in needs):
                step = self._ways(task, task.id, outputs, attempts, outcomes)
            outcomes[task.id] = TaskOutcome("done", step) if step else TaskOutcome("failed", cause="no way worked")
        return Run(tuple(attempts), outcomes, elapsed_ms=len(attempts), cost=0)

    def _ways(
        self,
        task: Task,
        task_id: str,
        outputs: dict[str, JSON],
        attempts: list[Attempt],
        outcomes: dict[str, TaskOutcome],
    ) -> int | None:
        way: Task | None = task
        while way is not None:
            try:
                arguments = resolve(way, outputs)
            except MissingArgument:
                return None
            output = self._call(way.capability, arguments)
            step = len(attempts) + 1
            sources = sorted({outcomes[ref.task].step or 0 for ref in way.refs()} - {0})
            attempts.append(_attempt(step, way, task_id, arguments, output, tuple(sources)))
            if output is not None:
                outputs[task_id] = output
                return step
            way = way.otherwise
        return None

    def _call(self, capability: str, arguments: dict[str, Any]) -> JSON:
        if capability in self.down:
            return None
        if capability in self.answers:
            return self.answers[capability](arguments)
        return getattr(self, f"_{capability}")(arguments)

    def _web_search(self, arguments: dict[str, Any]) -> JSON:
        return {"results": [*search(arguments["query"])]}

    def _structured_extraction(self, arguments: dict[str, Any]) -> JSON:
        html = _pages().get(arguments["url"])
        if html is None or arguments["url"] in self.lost:
            return None
        return {"data": extract_records(html, arguments["fields"], "text/html")}

    def _web_scraping(self, arguments: dict[str, Any]) -> JSON:
        html = _pages().get(arguments["url"])
        return None if html is None or arguments["url"] in self.lost else {"text": text_of(html)}

    def _social_search(self, arguments: dict[str, Any]) -> JSON:
        wanted = [word.casefold() for word in arguments["keywords"]]
        found = [post for post in posts() if any(word in post.text.casefold() for word in wanted)]
        return {"posts": [_post(post) for post in found[: arguments.get("limit", 20)]]}

    def _chat_completion(self, arguments: dict[str, Any]) -> JSON:
        sentences = re.split(r"(?<=[.!?])\s+", " ".join(arguments["text"].split()))
        return {"text": " ".join(sentences[:2])}

    def _time_series(self, arguments: dict[str, Any]) -> JSON:
        found = find_series(arguments["series"])
        if found is None:
            return None
        now = reading(found, NOW_S)
        return {"reading": {"value": now.value, "unit": now.unit, "at": now.at}}


def _post(post: Any) -> JSON:
    return {
        "text": post.text,
        "author": post.user,
        "url": post.uri,
        "datetime": post.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _attempt(
    step: int, way: Task, task_id: str, arguments: dict[str, Any], output: JSON, sources: tuple[int, ...]
) -> Attempt:
    failed = output is None
    return Attempt(
        step=step,
        task_id=task_id,
        task=way.description,
        capability=way.capability,
        subnet="SN1",
        entry="local",
        operation=way.capability,
        query=arguments,
        request=canonical(arguments),
        response=None if failed else canonical(output),
        output=output,
        error=StepError(kind="fault", detail="scripted") if failed else None,
        started_ms=step,
        latency_ms=1,
        cost=0,
        attempt=1,
        depends_on=sources,
    )
