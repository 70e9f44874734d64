"""The checkpoint and the snapshot that an API serves, from files that whoever makes them replaces."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from ledger.serving.edition import Attachments


@dataclass
class Watched:
    """A file that is read again when it was replaced or changed. None, or no such file: nothing."""

    path: Path | None
    _seen: tuple[int, int, int] | None = None
    _content: bytes | None = field(default=None, repr=False)

    def content(self) -> bytes | None:
        """What the file holds. A file that cannot be read is as good as none."""
        try:
            found = self.path.stat() if self.path else None
            state = (found.st_ino, found.st_mtime_ns, found.st_size) if found else None
            if state != self._seen:
                self._content = self.path.read_bytes() if self.path and state else None
                self._seen = state
        except OSError:
            self._seen, self._content = None, None
        return self._content


@dataclass
class Attached:
    """What `ledger.service` asks for at every refresh."""

    checkpoint: Watched
    snapshot: Watched

    async def __call__(self) -> Attachments:
        return await asyncio.to_thread(lambda: Attachments(self.checkpoint.content(), self.snapshot.content()))
