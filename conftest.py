"""Documentation is tested by running it: every python block of README.md and docs/*.md, in order, one namespace a page.

A page that asks a gateway gets a real one, alone on a real local subnet, where `orchestra up` would have put its own:
it is started when the first block says `Client`.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser


class Page:
    """What one page needs while it runs."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.before = dict(os.environ)
        self.has_gateway = False
        os.environ["HOME"] = self.stack.enter_context(tempfile.TemporaryDirectory())

    def start_gateway(self) -> None:
        from tests.alone import gateway_alone

        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        url = self.stack.enter_context(gateway_alone())
        (folder / "network.json").write_text(json.dumps({"ledger_committer": "", "gateway": url}))
        os.environ["ORCHESTRA_LOCAL"] = str(folder)
        self.has_gateway = True

    def close(self) -> None:
        self.stack.close()
        os.environ.clear()
        os.environ.update(self.before)


class Run(PythonEvaluator):
    """Runs a block; the first that asks a gateway starts one."""

    def __call__(self, example: Example) -> None:
        page: Page = example.namespace["_page"]
        if "Client(" in str(example.parsed) and not page.has_gateway:
            page.start_gateway()
        super().__call__(example)


def _setup(namespace: dict[str, Any]) -> None:
    namespace["_page"] = Page()


def _teardown(namespace: dict[str, Any]) -> None:
    namespace["_page"].close()


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser("python", Run())], patterns=["README.md", "docs/*.md"], setup=_setup, teardown=_teardown
).pytest()
