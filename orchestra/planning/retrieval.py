"""The planner that always answers: search for what the objective names, read the best pages, compute and summarise.

It has no templates and no model. The target_schema says which fields to read from a page, the objective says which
things to look for and which words to look with, the Ledger's vocabulary says which work needs a subnet that is not
there. Such a need becomes a Gap at once: a capability that nobody offers cannot be replaced by searching for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ledger.catalogue import vocabulary
from ledger.view import LedgerView
from orchestra.planning.asks import PRODUCT, conditions, constraints, product_words, series_names
from orchestra.planning.computed import is_price
from orchestra.planning.demands import Demand, Layout, asked_fields, identity, nouns_of, sort_schema
from orchestra.planning.entities import names_of
from orchestra.planning.needs import needed
from orchestra.planning.objective import Clause, Objective, read
from orchestra.planning.plan import Plan, Ref, Task
from orchestra.planning.queries import Query, keywords_for, queries_for
from orchestra.planning.vocabulary import concepts
from orchestra.planning.words import name_tokens, stem, stems, tokens
from orchestra.protocol import Gap, Hint
from orchestra.schema import Record, TargetSchema

MAX_TASKS = 24
MAX_FIELDS = 48
RESULTS = 10
POSTS = 25

_SEARCHED = frozenset({"web_search", "social_search", "time_series", "chat_completion"})
"""Capabilities that this planner makes tasks for."""


class RetrievalPlanner:
    """Implements the planner port: pure, and under 20 ms for any objective of legal size."""

    name = "retrieval"

    def plan(self, objective: str, schema: TargetSchema, ledger: LedgerView, *, hints: Sequence[Hint] = ()) -> Plan:
        """The tasks for an objective, and Gaps for what this Ledger has no operation for. Never raises."""
        asked = read(objective, nouns_of(schema))
        layout = sort_schema(schema, asked)
        draft = _Draft(asked, schema, layout, ledger)
        draft.make()
        notes = (*draft.notes, *_hint_notes(hints, ledger))
        return Plan(objective, tuple(draft.tasks), tuple(draft.gaps), self.name, notes)


@dataclass(slots=True)
class _Draft:
    """A plan in the making."""

    objective: Objective
    schema: TargetSchema
    layout: Layout
    ledger: LedgerView
    tasks: list[Task] = field(default_factory=list[Task])
    gaps: list[Gap] = field(default_factory=list[Gap])
    notes: list[str] = field(default_factory=list[str])

    def make(self) -> None:
        if not self.objective.clauses:
            self.gaps.append(Gap(fields=self._all_fields(), reason="the objective says nothing to look for"))
        clauses = self._served_clauses()
        if not clauses:
            return
        demands = [kept for demand in self.layout.demands if (kept := self._served_part(demand))]
        web = [demand for demand in demands if demand.channel in ("web", "pages")]
        if all(needed(clause) == "chat_completion" for clause in clauses) and self._given():
            web = []
        for scope, wanted in _scopes(self.objective, clauses, web):
            self._web(scope, wanted)
        for demand in demands:
            if demand.channel == "posts":
                self._posts(clauses, demand)
            elif demand.posts:
                self._posts(clauses, replace(demand, record=Record(demand.posts)))
            elif demand.channel == "reading":
                self._readings(demand)
        self._summary()

    # what cannot be done ---------------------------------------------------------------------------------------------

    def _served_clauses(self) -> list[Clause]:
        """The clauses that something in this Ledger can work for; the others become Gaps."""
        served: list[Clause] = []
        missing: dict[str, list[Clause]] = {}
        for clause in self.objective.clauses:
            capability = needed(clause)
            if capability in _SEARCHED and (capability == "web_search" or capability in self.ledger.capabilities):
                served.append(clause)
            else:
                missing.setdefault(capability, []).append(clause)
        for capability in missing:
            fields = self._fields_of(capability) if served else self._all_fields()
            self._gap(capability, fields)
        return served

    def _gap(self, capability: str, fields: Iterable[str]) -> None:
        reason = f"no subnet in this Ledger offers {capability}"
        if capability in self.ledger.capabilities:
            reason = f"this planner cannot use {capability} yet"
        meaning = vocabulary().get(capability)
        gap = Gap(fields=tuple(fields), capability=capability, reason=f"{reason} ({meaning})" if meaning else reason)
        if not any(known.capability == capability for known in self.gaps):
            self.gaps.append(gap)

    def _all_fields(self) -> tuple[str, ...]:
        return tuple(leaf.pointer for leaf in self.schema.leaves())

    def _fields_of(self, capability: str) -> tuple[str, ...]:
        """The leaves whose keys speak of a capability."""
        spoken = _spoken_of(capability)
        return tuple(pointer for pointer in self._all_fields() if spoken & set(stems(pointer.replace("/", " "))))

    def _served_part(self, demand: Demand) -> Demand | None:
        """A demand without the fields that are gaps already; None when nothing is left of it."""
        lost = {pointer for gap in self.gaps for pointer in gap.fields}
        if demand.plain or demand.kind == "hidden":
            return None if lost.intersection(demand.pointers) else demand
        fields = zip(demand.record.fields, demand.pointers, strict=True)
        kept = tuple(part for part, pointer in fields if pointer not in lost)
        return replace(demand, record=Record(kept)) if kept else None

    # the web ---------------------------------------------------------------------------------------------------------

    def _web(self, clauses: Sequence[Clause], demands: Sequence[Demand]) -> None:
        if not demands:
            return
        fields = self._page_fields(demands)
        serves = tuple(dict.fromkeys(pointer for demand in demands for pointer in demand.pointers))
        readable = [name for name in ("structured_extraction", "web_scraping") if name in self.ledger.capabilities]
        if not readable and any(demand.channel == "web" for demand in demands):
            self._gap("structured_extraction", serves)
        for url in self.objective.urls:
            self._read_page(url, f"read {url[:120]}", fields, serves, readable)
        named = (
            any(demand.channel == "web" for demand in demands) and self.objective.urls and not self.objective.entities
        )
        if named:
            self.notes.append("the objective names the pages to read; nothing is searched for")
        elif "web_search" not in self.ledger.capabilities:
            self._gap("web_search", serves)
        else:
            self._search(queries_for(self.objective, clauses, _asked(demands)), fields, serves, readable)

    def _page_fields(self, demands: Sequence[Demand]) -> dict[str, Any]:
        """What to read from a page: the fields asked for, and what tells records apart and shows that they fit."""
        fields: dict[str, Any] = {}
        for demand in demands:
            if demand.channel == "web":
                for name, spec in asked_fields(demand).items():
                    fields.setdefault(name, spec)
        if not fields:
            return {}
        fields.setdefault("name", "str")
        for condition in conditions(self.objective):
            fields.setdefault(condition.metric, "float")
        numeric = [name for name, spec in fields.items() if spec in ("float", "int")]
        for product in sorted(product_words(self.objective))[:2]:
            fields |= {
                f"{product}_{name}": "float" for name in numeric[:6] if name not in fields or fields[name] == "float"
            }
        if any(_is_priced(name) and spec in ("float", "int", "str") for name, spec in fields.items()):
            fields.setdefault("pricing", "dict")
        counted = any(number.rule == "count" for number in self.layout.numbers)
        if counted or any(entity.number is not None for entity in self.objective.entities):
            fields.setdefault("netuid", "int")
        chosen = any("enum(" in str(spec) for spec in fields.values())
        if chosen or not self.objective.entities:
            for name in ("description", "capabilities", *constraints(self.objective)):
                fields.setdefault(name, "str")
        return dict(list(fields.items())[:MAX_FIELDS])

    def _search(
        self, queries: Sequence[Query], fields: dict[str, Any], serves: tuple[str, ...], readable: list[str]
    ) -> None:
        room = MAX_TASKS - len(self.tasks) - 1 - sum(d.channel in ("posts", "reading") for d in self.layout.demands)
        queries = queries[: max(1, room)]
        wanted = [query.pages if fields and readable else 0 for query in queries]
        for query, pages in zip(queries, _shared(wanted, room - len(queries)), strict=True):
            search = Task(
                id=self._id("search"),
                capability="web_search",
                description=f"find pages on {query.text}"[:200],
                arguments={"query": query.text, "limit": RESULTS},
                serves=serves,
            )
            self.tasks.append(search)
            for rank in range(pages):
                about = f"read result {rank + 1} for {query.text[:100]!r} into {', '.join(fields)}"
                self._read_page(Ref(search.id, f"results[{rank}].url"), about[:250], fields, serves, readable)

    def _read_page(
        self, url: str | Ref, about: str, fields: dict[str, Any], serves: tuple[str, ...], readable: list[str]
    ) -> None:
        """One page into records; where no extraction answers, its text, from which the records are read here."""
        if not readable or len(self.tasks) >= MAX_TASKS:
            return
        task_id = self._id("read")
        ways = {
            "structured_extraction": {"url": url, "fields": fields},
            "web_scraping": {"url": url},
        }
        other = (
            Task(f"{task_id}-text", readable[1], f"fetch the text instead: {about}"[:250], ways[readable[1]], serves)
            if len(readable) > 1
            else None
        )
        self.tasks.append(Task(task_id, readable[0], about, ways[readable[0]], serves, otherwise=other))

    # posts, readings, prose ------------------------------------------------------------------------------------------

    def _posts(self, clauses: Sequence[Clause], demand: Demand) -> None:
        if "social_search" not in self.ledger.capabilities:
            self._gap("social_search", demand.pointers)
            return
        entities = [demand.entity] if demand.entity else list(self.objective.entities)
        subjects = [names_of(entity) for entity in entities] or [keywords_for(self.objective, clauses)]
        for keywords in subjects[: MAX_TASKS - len(self.tasks)]:
            about = f"find posts about {' '.join(keywords)}"[:250]
            arguments = {"keywords": keywords, "limit": POSTS}
            self.tasks.append(Task(self._id("posts"), "social_search", about, arguments, demand.pointers))

    def _readings(self, demand: Demand) -> None:
        if "time_series" not in self.ledger.capabilities:
            self._gap("time_series", demand.pointers)
            return
        for series in series_names(self.objective)[: MAX_TASKS - len(self.tasks)]:
            about = f"read the latest value of the series {series}"[:250]
            self.tasks.append(Task(self._id("reading"), "time_series", about, {"series": series}, demand.pointers))

    def _summary(self) -> None:
        """Prose from what was found, where an endpoint writes it; the synthesiser can do without."""
        if not self.layout.prose or "chat_completion" not in self.ledger.capabilities or len(self.tasks) >= MAX_TASKS:
            return
        given = self._given()
        material: str | list[Any] = "\n\n".join(given) if given else self._found()
        if not material:
            return
        length = f"at most {min(6, max(3, len(self.objective.entities)))} sentences"
        instructions = f"Answer in {length}, only from the text given: {self.objective.text}"[:2000]
        serves = tuple("/" + "/".join(path) for path in self.layout.prose)
        arguments = {"instructions": instructions, "text": material}
        task = Task(
            self._id("summary"), "chat_completion", "summarise what was found", arguments, serves, optional=True
        )
        self.tasks.append(task)

    def _found(self) -> list[Any]:
        """The first record of the best page of every search; without readable pages, what the searches say of them."""
        searches = [task.id for task in self.tasks if task.capability == "web_search"]
        best = {f"{search}:results[{rank}].url" for search in searches for rank in range(4 - min(3, len(searches)))}
        pages = [task.id for task in self.tasks for ref in task.refs() if f"{ref.task}:{ref.path}" in best]
        if pages and "structured_extraction" in self.ledger.capabilities:
            return [Ref(page, "data[0]") for page in pages]
        posts = [Ref(task.id, "posts[:5].text") for task in self.tasks if task.capability == "social_search"]
        return [*posts, *(Ref(search, f"results[{rank}].snippet") for search in searches for rank in range(2))]

    def _given(self) -> list[str]:
        """Texts that the objective brings along to be worked on."""
        return [text for text in self.objective.quoted if len(tokens(text)) > 8]

    def _id(self, kind: str) -> str:
        return f"{kind}-{1 + sum(task.id.startswith(f'{kind}-') for task in self.tasks)}"


def _spoken_of(capability: str) -> frozenset[str]:
    concept = concepts().get(capability)
    own = {stem(word) for word in name_tokens(capability)}
    things = {thing for deed in concept.deeds for thing in deed.things} if concept else set[str]()
    return frozenset(own | things | {word for phrase in (concept.called if concept else ()) for word in phrase})


def _is_priced(name: str) -> bool:
    """A key that holds a price, or one product's."""
    return is_price(name) or any(PRODUCT.search(word) for word in name_tokens(name))


def _shared(wanted: Sequence[int], room: int) -> list[int]:
    """What each gets of a limited room: the largest wishes give way first."""
    given = list(wanted)
    while sum(given) > max(0, room):
        given[given.index(max(given))] -= 1
    return given


def _asked(demands: Sequence[Demand]) -> list[str]:
    """The names of the fields asked for, without those that only name the thing."""
    return [
        demand.sought(part.name)
        for demand in demands
        if demand.kind != "hidden"
        for part in demand.record.fields
        if part.name != identity(demand.record)
    ]


def _scopes(
    objective: Objective, clauses: Sequence[Clause], demands: Sequence[Demand]
) -> list[tuple[list[Clause], list[Demand]]]:
    """Which clauses are about which lists: told apart only where two lists are each named in clauses of their own."""
    named: dict[int, list[Clause]] = {}
    for index, demand in enumerate(demands):
        if demand.kind == "table":
            noun = stem(name_tokens(demand.path[-1])[-1])
            named[index] = [clause for clause in clauses if noun in stems(clause.text)]
    own = [tuple(found) for found in named.values() if found]
    if len(own) < 2 or len(set(own)) < len(own):
        return [(list(clauses), list(demands))]
    rest = [demand for index, demand in enumerate(demands) if not named.get(index)]
    scopes = [(found, [demands[index]]) for index, found in named.items() if found]
    scopes[0][1].extend(rest)
    return scopes


def _hint_notes(hints: Sequence[Hint], ledger: LedgerView) -> Iterator[str]:
    for hint in hints:
        known = ledger.operation(hint.entry, hint.operation) if hint.operation else ledger.entry(hint.entry)
        verdict = "the Ledger's own entry is used" if known else "the Ledger has no such entry"
        yield f"a hint names {hint.entry}/{hint.operation}: {verdict}"
