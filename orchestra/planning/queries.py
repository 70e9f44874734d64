"""What to type into a search, and how many of its results to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ledger.catalogue import vocabulary
from orchestra.planning.computed import is_result_word
from orchestra.planning.entities import Entity
from orchestra.planning.objective import COMPUTED_VERBS, Clause, Objective, selecting, topic
from orchestra.planning.vocabulary import concepts_in
from orchestra.planning.words import content_words, name_tokens, stem, tokens

MAX_QUERY_WORDS = 16
PAGES_PER_NAME = (4, 3, 3, 2)
"""Pages to read for each thing named, by how many are named; the last for more."""
PAGES_PER_QUESTION = 10
PAGES_OF_DETAIL = 6


@dataclass(frozen=True, slots=True)
class Query:
    """What to type into a search, and the thing it is about, if it is about one."""

    text: str
    entity: Entity | None
    pages: int


def queries_for(objective: Objective, clauses: Sequence[Clause], fields: Iterable[str]) -> list[Query]:
    """One query for each thing named, else for each alternative, else one for everything and one for its details."""
    telling = [clause for clause in clauses if clause.verb not in COMPUTED_VERBS] or list(clauses)
    said = " ".join(clause.text.casefold() for clause in clauses)
    entities = [e for e in objective.entities if e.name.casefold() in said or str(e.number or "") in tokens(said)]
    entities = entities or list(objective.entities)
    if entities:
        said_of_them = topic(objective, telling) or topic(objective, clauses)
        words = [word for word in said_of_them if not is_result_word(word)]
        pages = PAGES_PER_NAME[min(len(entities), len(PAGES_PER_NAME)) - 1]
        return [Query(_joined([*_name_words(entity), *words]), entity, pages) for entity in entities]
    return _open_queries(objective, [clause for clause in telling if clause in selecting(objective)] or telling, fields)


def _open_queries(objective: Objective, clauses: Sequence[Clause], fields: Iterable[str]) -> list[Query]:
    chosen = [word for word in topic(objective, clauses) if not is_result_word(word)]
    readings = [list(option) for option in objective.alternatives] or [chosen]
    about_subnets = "subnet" in objective.stems
    queries = [
        Query(_joined([*words, *(_tags(words) if about_subnets else ())]), None, PAGES_PER_QUESTION)
        for words in readings
    ]
    details = [word for name in fields for word in name_tokens(name) if stem(word) not in set(map(stem, chosen))]
    if len(queries) == 1 and details:
        named = [part for name in sorted(concepts_in(" ".join(chosen))) for part in name_tokens(name)]
        queries.append(Query(_joined([*chosen, *(named if about_subnets else ()), *details]), None, PAGES_OF_DETAIL))
    return [query for query in queries if query.text] or [Query(objective.text[:200], None, PAGES_PER_QUESTION)]


def _name_words(entity: Entity) -> list[str]:
    if entity.number is None:
        return entity.name.split()
    return ["subnet", str(entity.number), f"SN{entity.number}"] if entity.label == "netuid" else entity.name.split()


def _tags(words: Sequence[str]) -> Iterator[str]:
    """The vocabulary's own words for the capabilities that a query speaks of: pages on a capability use them."""
    for name in sorted(concepts_in(" ".join(words))):
        yield from name_tokens(name)
        yield from content_words(vocabulary().get(name, ""))


def _joined(words: Iterable[str]) -> str:
    seen: dict[str, str] = {}
    for word in words:
        seen.setdefault(stem(word), word)
    return " ".join(list(seen.values())[:MAX_QUERY_WORDS])


def keywords_for(objective: Objective, clauses: Sequence[Clause]) -> list[str]:
    quoted = [text for text in objective.quoted if len(tokens(text)) <= 5]
    return quoted or list(topic(objective, clauses, asking_for_posts=True))[:5] or [objective.text[:100]]
