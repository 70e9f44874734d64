"""Trouble that lasts, said once: when it starts, when it becomes another trouble, and when it is over.

A neuron looks at the same things at every block; a line for each look would bury the one that an operator has to read.
"""

from __future__ import annotations

import logging


class Notes:
    """What an operator was told, by topic."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._told: dict[str, str] = {}

    def trouble(self, topic: str, message: str, *, over: str = "") -> None:
        """Warn of `message` unless that is what was said last; an empty one ends the trouble and logs `over`."""
        before = self._told.get(topic, "")
        if message == before:
            return
        self._told[topic] = message
        if message:
            self._logger.warning("%s", message)
        elif over:
            self._logger.info("%s", over)
