"""A Plan: which tasks, in which order, to serve which fields. Pure data: printable, comparable, hashable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from ledger.canonical import digest
from ledger.types import Hash
from orchestra.protocol import Gap


@dataclass(frozen=True, slots=True)
class Ref:
    """A value that an earlier task will produce: a JMESPath into the output its capability promises."""

    task: str
    path: str


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to be done by one capability.

    `arguments` are the capability's (see `ledger.capabilities`), each a JSON value, a `Ref`, or a list or dict that
    holds Refs. `serves` are the target_schema fields it is for, as leaf paths such as `/competitors/*/pricing`.
    `otherwise` is another way to the same end with another capability, tried when every operation of this one has
    failed. An `optional` task may fail without its dependants being given up: its Refs read as null there.
    """

    id: str
    capability: str
    description: str
    arguments: dict[str, Any]
    serves: tuple[str, ...] = ()
    otherwise: Task | None = None
    optional: bool = False

    def refs(self) -> Iterator[Ref]:
        yield from refs_in(self.arguments)

    def depends_on(self) -> frozenset[str]:
        """Ids of the tasks whose output it reads, in either way."""
        own = frozenset(ref.task for ref in self.refs())
        return own | self.otherwise.depends_on() if self.otherwise else own


def refs_in(value: Any) -> Iterator[Ref]:
    """Every Ref in an argument, however deep."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, dict):
        for item in cast("dict[str, Any]", value).values():
            yield from refs_in(item)
    elif isinstance(value, list | tuple):
        for item in cast("list[Any]", value):
            yield from refs_in(item)


@dataclass(frozen=True, slots=True)
class Plan:
    """Tasks in an order in which every Ref points backwards, and what could not be planned for."""

    objective: str
    tasks: tuple[Task, ...]
    gaps: tuple[Gap, ...] = ()
    planner: str = "retrieval"
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for task in self.tasks:
            if task.id in seen:
                raise ValueError(f"task id {task.id!r} occurs twice")
            if missing := task.depends_on() - seen:
                raise ValueError(f"task {task.id!r} refers to {sorted(missing)}, which do not come before it")
            seen.add(task.id)

    def task(self, task_id: str) -> Task:
        return next(task for task in self.tasks if task.id == task_id)

    @property
    def digest(self) -> Hash:
        return digest(_plain([self.objective, self.tasks]))


def _plain(value: Any) -> Any:
    if isinstance(value, Ref):
        return {"$ref": {"task": value.task, "path": value.path}}
    if isinstance(value, Task):
        return {
            name: _plain(getattr(value, name))
            for name in ("id", "capability", "arguments", "serves", "otherwise", "optional")
        }
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("list[Any]", value)]
    return value
