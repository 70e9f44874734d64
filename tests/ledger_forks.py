"""Starts Ledger API servers by forking a process that has imported them already, so that a restart takes no imports.

`python -m tests.ledger_forks` reads one JSON list of arguments a line, for `orchestra ledger serve`, forks, and answers
with the child's pid; the child's own lines follow on the same pipe. For tests that kill it again and again.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from ledger import catalogue, service
from ledger.serving import openapi
from orchestra import cli, transport, webhook_sender

PRELOADED = (catalogue, service, openapi, transport, webhook_sender)


def main() -> None:
    """Serve starts until stdin ends, then end what is left."""
    pid = 0
    for line in sys.stdin:
        if pid:
            os.waitpid(pid, 0)
        pid = os.fork()
        if pid == 0:
            sys.argv = ["orchestra", "ledger", "serve", *json.loads(line)]
            cli.main()
            sys.exit()
        print(pid, flush=True)
    if pid:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
