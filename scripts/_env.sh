# Sourced by the other scripts: finds a Python, goes to the project's folder and has scripts/_install.py build `.venv`.
#   orchestra_env runtime|dev   afterwards $PY is the environment's Python
#   orchestra_gate NAME "$@"    run scripts/_gate.py in it; --help needs no environment
# POSIX sh, no tool but Python 3.11 to 3.13; works from any folder, also one with spaces in its path.

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

usable_python() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${ORCHESTRA_PYTHON:-}" ]; then
        usable_python "$ORCHESTRA_PYTHON" && { echo "$ORCHESTRA_PYTHON"; return; }
        echo "error: ORCHESTRA_PYTHON=$ORCHESTRA_PYTHON is not Python 3.11, 3.12 or 3.13: name another or unset it" >&2
        return 1
    fi
    for name in "$ROOT/.venv/bin/python" python3 python3.13 python3.12 python3.11 python; do
        if usable_python "$name"; then echo "$name"; return; fi
    done
    echo "error: no Python 3.11, 3.12 or 3.13 found: install one (apt install python3 python3-venv, or brew install python@3.13)" >&2
    return 1
}

orchestra_env() {
    cd -- "$ROOT"
    found=$(find_python) || exit 1
    "$found" -I "$ROOT/scripts/_install.py" "$1" >&2 || exit 1
    PY=$ROOT/.venv/bin/python
}

orchestra_gate() {
    for argument in "$@"; do
        case $argument in -h | --help) PY=$(find_python) || exit 1; exec "$PY" "$ROOT/scripts/_gate.py" "$1" --help ;; esac
    done
    orchestra_env dev
    exec "$PY" "$ROOT/scripts/_gate.py" "$@"
}
