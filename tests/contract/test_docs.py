"""Documentation cannot drift: every command, flag, environment name, route, refusal, field and dependency is on a page,
and no page names one that is not there. (Neurons' flags and reason codes have tests of their own beside their pages.)
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import pytest
import typer
from bittensor.keyfiles import Keypair
from fastapi import FastAPI
from fastapi.routing import APIRoute

from orchestra import flags, transport
from orchestra.cli import app
from orchestra.gateway import api as gateway_api
from orchestra.gateway.messages import ObjectiveRequest, ObjectiveResult, Progress
from orchestra.ledger_node import LedgerNode
from orchestra.mining import api as mining_api
from orchestra.mining.service import Miner
from orchestra.protocol import MAX_OBJECTIVE_CHARS
from orchestra.transport import AnyCaller, Problem, SignedRequests
from orchestra.validation import api as validation_api
from orchestra.validation import sponsor_api
from tests.fakes.backend import ScriptedBackend
from tests.fakes.nonces import MemoryNonces

ROOT = Path(__file__).resolve().parents[2]
PAGES = {path.name: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
EVERYTHING = "\n".join(PAGES.values())
GATEWAY, HTTP, DEPENDENCIES = PAGES["gateway.md"], PAGES["http.md"], PAGES["dependencies.md"]
CODE = ("orchestra", "neurons", "ledger", "scripts")
INTERNAL = {"ORCHESTRA_TRANSACTION_FD"}
"""Set by tests for the processes they start; means nothing to a person."""
FAMILY = "ORCHESTRA_KEY_SN"
"""One name for every subnet: the pages show it for SN22."""


def section(page: str, title: str) -> str:
    """What stands under a heading, down to the next."""
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_column(text: str) -> list[str]:
    """The first cell of every row of every table, without marks and heads."""
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    return [row.strip("`") for at, row in enumerate(rows) if not set(row) <= {"-", " "} and not _is_head(rows, at)]


def _is_head(rows: list[str], at: int) -> bool:
    return at + 1 < len(rows) and bool(rows[at + 1]) and set(rows[at + 1]) <= {"-", " "}


# routes and refusals --------------------------------------------------------------------------------------------------


def apps() -> dict[str, FastAPI]:
    signed = SignedRequests(
        self_hotkey=Keypair.create_from_uri("//Bob").ss58_address, nonces=MemoryNonces(), policy=AnyCaller()
    )
    unused = cast("Any", None)
    miner = Miner(unused, unused, cast("LedgerNode", unused), unused, None)
    services = validation_api.ValidatorServices(
        **{each.name: unused for each in fields(validation_api.ValidatorServices)}
    )
    return {
        "miner": mining_api.create_app(miner, signed, ready=lambda: True),
        "validator": validation_api.create_app(
            services, members=signed, validators=signed, governing=signed, ready=lambda: True
        ),
        "gateway": gateway_api.create_app(ScriptedBackend()),
    }


def test_every_route_is_on_the_page_and_no_other() -> None:
    served = {
        (f"{method} {route.path}", name)
        for name, each in apps().items()
        for route in each.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    rows = [line.split("|")[1:3] for line in section(HTTP, "Routes").splitlines() if line.startswith("| `")]
    assert {(route.strip(" `"), by.strip()) for route, by in rows} == served


def problems() -> dict[tuple[str, str], Problem]:
    """Every refusal by its code and by who gives it."""
    theirs = [
        ("miner", mining_api),
        ("validator", validation_api),
        ("validator", sponsor_api),
        ("gateway", gateway_api),
    ]
    found = {("all", code): problem for code, problem in transport.PROBLEMS.items()}
    for name, module in theirs:
        found |= {(name, each.code): each for each in vars(module).values() if isinstance(each, Problem)}
    return found


def test_every_refusal_is_on_the_page_with_its_status_and_advice() -> None:
    rows = [line.strip("| ").split(" | ") for line in section(HTTP, "Refusals").splitlines() if line.startswith("| `")]
    written = {(by, code.strip("`")): (int(status), advice) for code, status, by, advice in rows}
    assert written == {key: (problem.status, problem.title) for key, problem in problems().items()}


# messages -------------------------------------------------------------------------------------------------------------


def test_every_field_that_users_send_and_get_is_explained() -> None:
    fields = first_column(section(GATEWAY, "HTTP"))
    assert fields == [*ObjectiveRequest.model_fields, *ObjectiveResult.model_fields]
    assert all(f"`{name}`" in section(GATEWAY, "HTTP") for name in Progress.model_fields)


def test_the_limits_are_the_codes() -> None:
    text = section(GATEWAY, "HTTP")
    defaults = {name: field.default for name, field in ObjectiveRequest.model_fields.items()}
    assert f"up to {MAX_OBJECTIVE_CHARS} characters" in text
    assert f"default {defaults['deadline_ms']}" in text
    assert f'default `"{defaults["max_cost_tao"]}"`' in text


# commands -------------------------------------------------------------------------------------------------------------


def commands() -> dict[str, Any]:
    return dict(cast("Any", typer.main.get_command(app)).commands)


def options(command: str) -> set[str]:
    """The first spelling of every option."""
    return {each.opts[0] for each in commands()[command].params if each.opts[0].startswith("--")} - {"--help"}


def test_every_command_is_on_the_page() -> None:
    table = [row for row in first_column(section(GATEWAY, "Command line")) if row.startswith("orchestra ")]
    assert {row.removeprefix("orchestra ") for row in table} == set(commands())


def test_every_flag_of_the_commands_is_on_the_page() -> None:
    text = section(GATEWAY, "Command line")
    assert {row for row in first_column(text) if row.startswith("--")} == options("run")
    for command in ("up", "status"):
        paragraph = text[text.index(f"`{command}` takes") :].partition(".\n")[0].partition(". `")[0]
        assert set(re.findall(r"`(--[a-z-]+)`", paragraph)) == options(command)


def console_lines() -> Iterator[str]:
    for name, page in PAGES.items():
        if name != "operators.md":  # its own test runs them
            for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
                yield from (line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))


@pytest.mark.parametrize("line", sorted(set(console_lines())))
def test_every_command_that_a_page_shows_is_one(line: str) -> None:
    """The program exists and takes these arguments; nothing is run."""
    program, *arguments = shlex.split(line, comments=True)
    match program:
        case "orchestra":
            _parse(typer.main.get_command(app), arguments)
        case "python" | ".venv/bin/python" if arguments[0].startswith("neurons/"):
            module = importlib.import_module(arguments[0].removesuffix(".py").replace("/", "."))
            neuron = typer.Typer()
            neuron.command()(module.main if hasattr(module, "main") else module.command(module.honest))
            _parse(typer.main.get_command(neuron), arguments[1:])
        case "python" | ".venv/bin/python":
            assert arguments[0] == "-m"
            assert importlib.util.find_spec(arguments[1]) is not None
        case "uv" | "curl" | "source":
            pass
        case _:
            assert (ROOT / program).is_file(), line


def _parse(command: Any, arguments: list[str]) -> None:
    context = command.make_context("x", list(arguments), resilient_parsing=False)
    if hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        _, chosen, rest = command.resolve_command(context, rest)
        _parse(chosen, rest)


# environment ----------------------------------------------------------------------------------------------------------


def names_in_code() -> set[str]:
    """Every name of ours that a program reads, or that a flag has beside it."""
    files = [path for top in (*CODE, "tests") for path in (ROOT / top).rglob("*") if path.suffix in (".py", ".sh")]
    text = "\n".join(path.read_text() for path in files if path.name != Path(__file__).name)
    read = set(re.findall(r"environ(?:\.get\(|\[|\.pop\()\s*\"((?:BT|ORCHESTRA)_[A-Z0-9_]+)\"", text))
    flagged = set(re.findall(r"envvar=\"((?:BT|ORCHESTRA)_[A-Z0-9_]+)\"", text))
    shell = set(re.findall(r"\$\{((?:BT|ORCHESTRA)_[A-Z0-9_]+)", text))
    return read | flagged | shell


def test_every_environment_name_is_on_a_page() -> None:
    missing = {name for name in names_in_code() - INTERNAL if f"`{name}" not in EVERYTHING}
    assert not missing


def test_every_environment_name_on_a_page_is_read_by_something() -> None:
    written = set(re.findall(r"\b(?:BT|ORCHESTRA)_[A-Z0-9_]*[A-Z0-9]\b", EVERYTHING))
    known = names_in_code()
    assert {name for name in written - known if not name.startswith((FAMILY, "ORCHESTRA_SOAK"))} == set()


def test_the_environment_names_of_flags_stand_beside_them() -> None:
    for name, annotated in vars(flags).items():
        for info in getattr(annotated, "__metadata__", ()):
            assert info.help, f"flags.{name} explains itself"
            flag = next(each for each in (info.default, *info.param_decls) if str(each).startswith("--"))
            if info.envvar:
                row = next(line for line in PAGES["operators.md"].splitlines() if f"`{flag.partition('/')[0]}`" in line)
                assert f"`{info.envvar}`" in row


# links and dependencies -----------------------------------------------------------------------------------------------


def anchors(page: str) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    folder = ROOT if name == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[name]):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        page = folder / path if path else folder / name
        assert page.exists(), f"{name} links to {target}"
        assert not anchor or anchor in anchors(page.read_text()), f"{name} links to {target}"


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(docs/([a-z-]+\.md)", PAGES["README.md"]))
    assert linked == {name for name in PAGES if name != "README.md"}


def declared() -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    lists = {"Runtime": project["project"]["dependencies"], "Build": groups["build"], "Development": groups["dev"]}
    return {title: [_name(line) for line in lines] for title, lines in lists.items()}


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=; ]", requirement, maxsplit=1)[0]


@pytest.mark.parametrize("title", ["Runtime", "Build", "Development"])
def test_every_dependency_has_a_reason_and_no_other(title: str) -> None:
    assert first_column(section(DEPENDENCIES, title)) == sorted(declared()[title])


def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


FORBIDDEN: list[tuple[str, Callable[[Path], bool]]] = [
    (r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)/[\w.]", lambda _: True),
    (r"files\.pythonhosted\.org|pypi\.org/simple|file:///", lambda path: path.suffix in (".txt", ".toml", ".sh", "")),
    (r"-----BEGIN [A-Z ]*PRIVATE KEY-----", lambda _: True),
]


@pytest.mark.parametrize(("pattern", "applies"), FORBIDDEN)
def test_no_committed_file_names_this_machine_or_holds_a_secret(pattern: str, applies: Callable[[Path], bool]) -> None:
    found: list[str] = []
    for path in committed():
        if path.exists() and applies(path) and path.name != Path(__file__).name:
            text = path.read_text(errors="replace") if path.stat().st_size < 4 << 20 else ""
            found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in re.finditer(pattern, text)]
    assert not found
