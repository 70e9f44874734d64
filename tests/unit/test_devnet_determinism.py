"""Two processes give the same bytes: what an auditor repeats elsewhere must hash to the same value."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
from ledger.canonical import digest
from orchestra.devnet.content import posts, web_pages
from orchestra.devnet.subnets.bm25 import Bm25Index
from orchestra.devnet.subnets.documents import documents
from orchestra.devnet.subnets.summariser import summarise
from orchestra.devnet.subnets.vectors import VectorIndex
from orchestra.synthesis.extraction import extract_records

FIELDS = {"name": "str", "netuid": "int", "pricing": "dict", "strengths": "list", "base_url": "url", "auth": "str",
          "operations": [{"operation": "str", "path": "str"}], "regions": "list", "detects": "str",
          "h100_price": "float"}
QUERIES = ("GPU pricing", "subnet with a public API", "detect deepfakes", "storage", "RunPod or Vast.ai")
found = [extract_records(page.html, FIELDS) for page in web_pages()]
with Bm25Index(documents()) as index:
    found.append([[hit.url, hit.snippet] for query in QUERIES for hit in index.search(query)])
vectors = VectorIndex(documents())
found.append([[hit.url, hit.snippet] for query in QUERIES for hit in vectors.search(query, 20)])
text = " ".join(post.text for post in posts()[:120])
found.append([summarise(query, text, max_tokens=200) for query in QUERIES])
print(digest([[list(item) if isinstance(item, tuple) else item for item in part] for part in found]))
"""


def digest_with(seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", PROGRAM]
    run = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    return run.stdout.strip()


def test_the_order_of_sets_decides_nothing() -> None:
    digests = {digest_with(seed) for seed in ("1", "2")}
    assert len(digests) == 1
    assert digests.pop().startswith("0x")
