"""The fourth check: is a step's query made of what it says it depends on?

Read off the evidence, not off `depends_on` alone. Every URL in a query must stand in the challenge or in an output of a
subnet that the step (transitively) depends on; a step that depends on others and asks for no URL must contain something
of their outputs. What a local step says counts for nothing here, because a miner can make it say anything. Nothing in
this check refutes: a miner that knew a URL by itself has told no lie, it has only shown no origin.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

from ledger.types import JSON
from orchestra.proofs.codes import Code
from orchestra.proofs.disclosure import behind
from orchestra.proofs.findings import Finding
from orchestra.protocol import OrchestraResponse, OrchestraSynapse, TaskStep

MAX_PARTS = 64
"""So many URLs or lines of one query are looked for."""
MAX_WORK = 1 << 29
"""So many characters are searched for one answer: half a second."""

_URL = re.compile(r"https?://[^\s\"'<>\\^`{|}\])]+")
_TRAILING = ".,;:!?/"
_SHORTEST_LINE = 5


def check_dataflow(
    synapse: OrchestraSynapse, response: OrchestraResponse, cited: frozenset[int], outputs: Mapping[int, JSON]
) -> Iterator[Finding]:
    """One finding for each cited subnet step whose query has an origin to show."""
    hints = [hint.model_dump(mode="json") for hint in synapse.hints]
    challenge = "\n".join(strings_in([synapse.objective, synapse.target_schema, hints]))
    flow = _Flow(challenge, response, outputs)
    for step in response.task_pipeline:
        if step.step in cited and step.subnet != "local" and step.error is None:
            yield from flow.check(step)


@dataclass
class _Flow:
    challenge: str
    response: OrchestraResponse
    outputs: Mapping[int, JSON]
    work: int = 0
    _texts: dict[int, str] = field(default_factory=dict[int, str])

    def check(self, step: TaskStep) -> Iterator[Finding]:
        strings = list(strings_in(step.query, keys=False))
        urls = sorted({match.rstrip(_TRAILING) for text in strings for match in _URL.findall(text)})
        if not urls and not step.depends_on:
            return
        declared = behind(self.response, step.depends_on)
        missing = urls if len(urls) > MAX_PARTS else [url for url in urls if not self._founded(url, declared)]
        if not missing and (urls or self._shares(strings, step.query, declared)):
            yield Finding(Code.FLOWS, step=step.step)
        elif any(self._is_subnet(number) and number not in self.outputs for number in declared):
            yield Finding(Code.DATAFLOW_UNREVEALED, step=step.step)
        elif 0 < len(missing) <= MAX_PARTS and all(self._said(url, range(1, step.step)) for url in missing):
            yield Finding(Code.DATAFLOW_UNDECLARED, step=step.step)
        else:
            yield Finding(Code.DATAFLOW_UNFOUNDED, step=step.step)

    def _founded(self, url: str, declared: frozenset[int]) -> bool:
        return url in self.challenge or self._said(url, declared)

    def _shares(self, strings: Iterable[str], query: Any, declared: frozenset[int]) -> bool:
        """Does the query hold a line, or a number, of what was said?"""
        lines = (line.strip() for text in strings for line in text.splitlines())
        telling = islice((line for line in lines if len(line) >= _SHORTEST_LINE), MAX_PARTS)
        if any(self._said(line, declared) for line in telling):
            return True
        return any(self._said(f"{number}", declared) for number in islice(_numbers_in(query), MAX_PARTS))

    def _said(self, part: str, steps: Iterable[int]) -> bool:
        """Did the subnet of one of these steps say this?"""
        for number in steps:
            if number in self.outputs and self._is_subnet(number):
                text = self._text(number)
                self.work += len(text)
                if self.work <= MAX_WORK and part in text:
                    return True
        return False

    def _is_subnet(self, number: int) -> bool:
        return self.response.task_pipeline[number - 1].subnet != "local"

    def _text(self, number: int) -> str:
        """A step's output as its strings are, and as the compact JSON that an object becomes inside a longer text."""
        if number not in self._texts:
            output = self.outputs[number]
            compact = json.dumps(output, ensure_ascii=False, separators=(",", ":"))
            self._texts[number] = "\n".join([*strings_in(output), compact])
        return self._texts[number]


def strings_in(value: Any, *, keys: bool = True) -> Iterator[str]:
    """Every string in a JSON value, with the keys of objects or without."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[str, Any]", value).items():
            if keys:
                yield key
            yield from strings_in(item, keys=keys)
    elif isinstance(value, list | tuple):
        for item in cast("list[Any]", value):
            yield from strings_in(item, keys=keys)


def _numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield value
    elif isinstance(value, Mapping):
        for item in cast("Mapping[str, Any]", value).values():
            yield from _numbers_in(item)
    elif isinstance(value, list | tuple):
        for item in cast("list[Any]", value):
            yield from _numbers_in(item)
