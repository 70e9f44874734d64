"""Starts neurons by forking a process that has imported them already: what a start says, without waiting for imports.

`python -m tests.neuron_forks` reads one JSON line a start, `{"script", "arguments", "file_size"}`, runs that neuron's
own command line in a child, and answers `{"code", "out", "err"}`. The child's files cannot grow beyond `file_size`
bytes: the full disk that needs no privileges, as SQLite meets the same failing write. For many short starts; what runs
longer is a process of its own (`tests/neuronproc.py`).
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import tempfile
from typing import Any, BinaryIO

from neurons.running import start

SCRIPTS = {name: importlib.import_module(f"neurons.{name}") for name in ("miner", "validator")}
DEADLINE_S = 30


def main() -> None:
    """Serve starts until stdin ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            pid = os.fork()
            if pid == 0:
                _child(asked, out, err)
            _, status = os.waitpid(pid, 0)
            said = {"code": os.waitstatus_to_exitcode(status), "out": _text(out), "err": _text(err)}
        print(json.dumps(said), flush=True)


def _child(asked: dict[str, Any], out: BinaryIO, err: BinaryIO) -> None:
    """What the script does when it is run, with an alarm for a neuron that starts when it should not."""
    signal.alarm(DEADLINE_S)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    if asked["file_size"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["file_size"], asked["file_size"]))
    sys.argv = [f"neurons/{asked['script']}.py", *asked["arguments"]]
    start(SCRIPTS[asked["script"]].main)
    sys.exit()


def _text(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


if __name__ == "__main__":
    main()
