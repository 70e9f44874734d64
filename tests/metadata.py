"""The real runtime's V15 metadata (spec 461), for tests that prove our calls and values fit it without any node.

The SDK's source distribution carries it. It is Apache-2.0 and 1.5 MB, so it is downloaded with pip when a test first
needs it and kept outside the repository, in `ORCHESTRA_CACHE_DIR` or the user's cache folder. Without a network the
tests that need it are skipped with the command that would have fetched it; with `ORCHESTRA_REQUIRE_ALL=1` they fail.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import subprocess
import sys
import tarfile
import tempfile
from functools import lru_cache
from pathlib import Path

import pytest
from bittensor._transport.codec import RuntimeCodec, strip_option_opaque_metadata

SDK_VERSION = "11.3.0"
SPEC_VERSION = 461
GOLDEN = f"bittensor-{SDK_VERSION}/tests/fixtures/golden.json"
SHA256 = "3a61f5107a9404aa3871aa24eb063b23961567f1133ed8d02f06cd9bd82eefc2"
FETCH_DEADLINE = 300

NEWER_THAN_METADATA = frozenset({("SubtensorModule", "SubnetEpochConsensus")})
"""Storage that the SDK reads and that came after spec 461. A test fails when the metadata has it after all."""


def cache_dir() -> Path:
    """Where downloads are kept; never below the temporary HOME that the tests run with."""
    configured = os.environ.get("ORCHESTRA_CACHE_DIR")
    return Path(configured) if configured else Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache" / "orchestra"


def fetch_command(into: Path) -> list[str]:
    package = f"bittensor=={SDK_VERSION}"
    return [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--no-binary",
        ":all:",
        "-d",
        str(into),
        package,
    ]


def _fetch() -> bytes:
    """Download the source distribution and take the metadata out of it."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(fetch_command(Path(folder)), check=True, capture_output=True, timeout=FETCH_DEADLINE)
        (archive,) = Path(folder).glob("bittensor-*.tar.gz")
        with tarfile.open(archive) as files:
            member = files.extractfile(GOLDEN)
            assert member is not None
            golden = json.load(member)
    return bytes.fromhex(golden["metadata"]["v15_hex"].removeprefix("0x"))


def _metadata() -> bytes:
    """The metadata from the cache, or fetched into it. Raises OSError or subprocess.SubprocessError."""
    file = cache_dir() / f"bittensor-{SDK_VERSION}-v15.scale"
    if not file.exists():
        raw = _fetch()
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_bytes(raw)
        partial.replace(file)
    return file.read_bytes()


@lru_cache(maxsize=1)
def _load() -> tuple[RuntimeCodec | None, str]:
    try:
        raw = _metadata()
    except (OSError, subprocess.SubprocessError) as error:
        command = " ".join(fetch_command(Path("DIR")))
        return None, f"no runtime metadata ({type(error).__name__}); it comes with: {command}"
    assert hashlib.sha256(raw).hexdigest() == SHA256, "the cached metadata is not what was pinned: delete it"
    stripped = strip_option_opaque_metadata(raw)
    assert stripped is not None
    return RuntimeCodec(stripped, spec_version=SPEC_VERSION, transaction_version=1, spec_name="node-subtensor"), ""


def runtime_codec() -> RuntimeCodec:
    """The real runtime's codec, or skip the test that asked."""
    codec, reason = _load()
    if codec is None:
        if os.environ.get("ORCHESTRA_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return codec
