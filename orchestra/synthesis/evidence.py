"""What a run brought home, as items: one record, post, search hit or reading, with the step and pointer it stands at.

Only successful attempts count. Where a page's text came instead of its records, the records are read here, from that
text, and point at it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ledger.types import JSON
from orchestra.execution.run import Attempt, Run
from orchestra.planning.demands import Channel
from orchestra.planning.entities import Entity
from orchestra.planning.objective import Objective
from orchestra.planning.plan import Plan, Ref, Task
from orchestra.planning.words import tokens
from orchestra.protocol import Source
from orchestra.subnets.mapping import MappingFailed, select
from orchestra.synthesis.extraction import extract_records

MAX_ITEMS = 400
_RANK = re.compile(r"^results\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Item:
    """`record` stands at `pointer` in the mapped output of `step`; where it was read from a page's `text`, that does.

    `url`, `title` and `snippet` are of the page, as a search described it, and `asked` is whom that search was about.
    `hit` is where that description stands. `given`: the objective names
    the page itself. `alone`: the page gave no other record. `order`: its place in the plan.
    """

    step: int
    pointer: str
    record: Mapping[str, JSON]
    channel: Channel
    order: int
    text: str | None = None
    url: str = ""
    title: str = ""
    snippet: str = ""
    asked: Entity | None = None
    alone: bool = True
    hit: Source | None = None
    given: bool = False


@dataclass(slots=True)
class _Reader:
    objective: Objective
    plan: Plan
    run: Run
    items: list[Item] = field(default_factory=list[Item])

    def read(self) -> None:
        for task in self.plan.tasks:
            attempt = self.run.result(task.id)
            if attempt is None or not isinstance(attempt.output, dict):
                continue
            for item in self._items(task, attempt, attempt.output):
                if len(self.items) < MAX_ITEMS:
                    self.items.append(item)

    def _items(self, task: Task, attempt: Attempt, output: dict[str, JSON]) -> Iterator[Item]:
        match attempt.capability:
            case "structured_extraction":
                yield from self._records(task, attempt, _objects(output.get("data")))
            case "web_scraping":
                yield from self._text(task, attempt, output.get("text"))
            case "web_search":
                yield from self._listed(task, attempt, "results", "pages", output)
            case "social_search":
                yield from self._listed(task, attempt, "posts", "posts", output)
            case "time_series" if isinstance(reading := output.get("reading"), dict):
                yield Item(attempt.step, "/reading", reading, "reading", len(self.items))
            case _:
                return

    def _records(self, task: Task, attempt: Attempt, records: list[tuple[int, dict[str, JSON]]]) -> Iterator[Item]:
        page = self._page(task)
        for index, record in records:
            alone = len(records) == 1
            order = len(self.items)
            yield Item(attempt.step, f"/data/{index}", record, "web", order, alone=alone, **page)

    def _text(self, task: Task, attempt: Attempt, text: JSON) -> Iterator[Item]:
        fields = _fields(task)
        if not isinstance(text, str) or not fields:
            return
        media_type = "text/html" if text.lstrip()[:1] == "<" else "text/plain"
        records = extract_records(text, fields, media_type)
        page = self._page(task)
        for record in records:
            order = len(self.items)
            yield Item(attempt.step, "/text", record, "web", order, text=text, alone=len(records) == 1, **page)

    def _listed(
        self, task: Task, attempt: Attempt, key: str, channel: Channel, output: dict[str, JSON]
    ) -> Iterator[Item]:
        asked = self._entity(task)
        for index, record in _objects(output.get(key)):
            yield Item(attempt.step, f"/{key}/{index}", record, channel, len(self.items), asked=asked)

    def _page(self, task: Task) -> dict[str, Any]:
        """Where a page's address came from: the search hit, or the objective itself."""
        url = task.arguments.get("url")
        if not isinstance(url, Ref):
            return {"url": str(url or ""), "given": True}
        producer = self.plan.task(url.task)
        attempt = self.run.result(url.task)
        hit = _select(url.path.removesuffix(".url"), attempt.output) if attempt else None
        found = cast("dict[str, JSON]", hit) if isinstance(hit, dict) else {}
        texts = {name: str(found.get(name) or "") for name in ("url", "title", "snippet")}
        rank = _RANK.search(url.path)
        hit = Source(step=attempt.step, pointer=f"/results/{rank[1]}") if attempt and rank else None
        return {**texts, "asked": self._entity(producer), "hit": hit}

    def _entity(self, task: Task) -> Entity | None:
        said = " ".join(str(value) for value in task.arguments.values()).casefold()
        words = set(tokens(said))
        for entity in self.objective.entities:
            if entity.name.casefold() in said or (entity.number is not None and str(entity.number) in words):
                return entity
        return None


def items_of(objective: Objective, plan: Plan, run: Run) -> tuple[Item, ...]:
    """Everything that successful attempts found, in the order of the plan."""
    reader = _Reader(objective, plan, run)
    reader.read()
    return tuple(reader.items)


def _fields(task: Task) -> dict[str, Any]:
    for way in (task, task.otherwise):
        if way is not None and isinstance(fields := way.arguments.get("fields"), dict):
            return cast("dict[str, Any]", fields)
    return {}


def _objects(value: JSON) -> list[tuple[int, dict[str, JSON]]]:
    if not isinstance(value, list):
        return []
    return [(index, part) for index, part in enumerate(value) if isinstance(part, dict)]


def _select(path: str, output: JSON) -> JSON:
    try:
        return select(path, output)
    except MappingFailed:
        return None
