"""Nonce stores for tests of the receiver: one that remembers in a set, and one that answers what it was told to."""

from __future__ import annotations


class MemoryNonces:
    """Remembers forever, in this process."""

    def __init__(self, retention_s: float = 60.0) -> None:
        self.retention_s = retention_s
        self.seen: set[tuple[str, int]] = set()

    async def accept(self, hotkey: str, nonce_ns: int) -> bool:
        fresh = (hotkey, nonce_ns) not in self.seen
        self.seen.add((hotkey, nonce_ns))
        return fresh


class FailingNonces:
    """Raises the scripted error at every nonce."""

    retention_s = 60.0

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def accept(self, hotkey: str, nonce_ns: int) -> bool:
        raise self._error
