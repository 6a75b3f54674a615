"""ARCHITECTURE.md says what the code says: its tables are the code's tables, and what it names exists."""

import ast
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import pytest

from regrow.actors.events import Event as ServiceEvent
from regrow.actors.task import TRANSITIONS
from regrow.chaos.reading import read
from regrow.chaos.schedule import plan
from regrow.chaos.suites import WORDS
from regrow.runtime.events import Event as RuntimeEvent
from regrow.runtime.logs import LEVELS
from regrow.runtime.spec import ChildState

ROOT = Path(__file__).parents[2]
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
PACKAGES = ("runtime", "actors", "gateway", "chaos")
MODULES = sorted(file for package in PACKAGES for file in (ROOT / package).glob("*.py"))
ENUMS: dict[str, type[StrEnum]] = {"runtime/events.py": RuntimeEvent, "actors/events.py": ServiceEvent}
MEMBER = re.compile(r'^    (?P<name>[A-Z_]+) = "(?P<event>[a-z_.]+)"  # (?P<when>.+) \((?P<fields>.+)\)$', re.MULTILINE)


class Said(NamedTuple):
    """One place in the code that logs an event.  A level is empty where only the running program knows it."""

    place: str
    name: ast.expr
    level: str
    fields: set[str]


def table(header: str) -> list[list[str]]:
    """The rows of the table with this header; the cells without backticks."""
    lines = ARCHITECTURE[ARCHITECTURE.index(header) :].splitlines()[2:]
    rows = lines[: next(n for n, line in enumerate([*lines, ""]) if not line.startswith("|"))]
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]


EVENTS = {row[0]: row for row in table("| event | level | when | fields |")}


def said() -> Iterator[Said]:
    """Every place in the packages that logs."""
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and node.args:
                found = logged(node, f"{file.relative_to(ROOT)}:{node.lineno}")
                if found:
                    yield found


def logged(call: ast.Call, place: str) -> Said | None:
    """What a call logs: ``log.info(E, ...)``, ``say("info", E, ...)``, ``tally.note(E, ...)`` or ``Report(E, {...}, ...)``."""
    function = ast.unparse(call.func)
    verb = function.rpartition(".")[2]
    fields = {"exception" if word.arg == "exc_info" else word.arg for word in call.keywords if word.arg}
    if verb in {*LEVELS, "exception", "critical"} and re.search(r"(^|\.)_?log\.\w+$", function):
        return Said(place, call.args[0], verb, fields)
    if verb == "say" and len(call.args) == 2:
        return Said(place, call.args[1], constant(call.args[0]), fields)
    if verb == "note" and "tally" in function:
        return Said(place, call.args[0], "warning", fields | {"total"})
    if verb == "Report" and len(call.args) == 2:
        warns = {word.arg: ast.unparse(word.value) for word in call.keywords}.get("is_warning", "False")
        facts = call.args[1]
        keys = {constant(key) for key in facts.keys if key} if isinstance(facts, ast.Dict) else set()
        return Said(place, call.args[0], {"True": "warning", "False": "info"}.get(warns, ""), keys)
    return None


def constant(node: ast.expr) -> str:
    """The text of a literal, or nothing."""
    return str(node.value) if isinstance(node, ast.Constant) else ""


def members(name: ast.expr) -> list[str]:
    """The enum members that an event's expression names."""
    return [node.attr for node in ast.walk(name) if isinstance(node, ast.Attribute) and node.attr.isupper()]


def event_called(member: str) -> str:
    return next(enum[member].value for enum in ENUMS.values() if member in enum.__members__)


def test_the_event_table_is_the_two_enums_with_their_meanings_and_fields() -> None:
    documented = [(event, when, fields) for event, _, when, fields in EVENTS.values()]
    written = [
        match.group("event", "when", "fields") for name in ENUMS for match in MEMBER.finditer((ROOT / name).read_text())
    ]

    assert documented == written
    assert [event for event, _, _ in written] == [event.value for enum in ENUMS.values() for event in enum]


def test_no_event_has_two_meanings() -> None:
    assert not set(RuntimeEvent) & set(ServiceEvent)


@pytest.mark.parametrize("place", list(said()), ids=lambda place: place.place)
def test_what_is_logged_is_a_documented_event_at_its_level_with_its_fields(place: Said) -> None:
    assert not any(isinstance(node, ast.JoinedStr) for node in ast.walk(place.name)), "the name of an event is constant"
    assert not constant(place.name), "the name of an event comes from the enum"
    for member in members(place.name):
        _, level, _, fields = EVENTS[event_called(member)]
        assert place.level in (*level.split(", "), "")
        assert place.fields <= set(fields.split(", "))


def test_every_event_is_logged_somewhere_and_no_way_to_log_is_overlooked() -> None:
    found = [member for place in said() for member in members(place.name)]

    assert {member for enum in ENUMS.values() for member in enum.__members__} == set(found)
    assert len(found) >= 30


def test_the_table_of_moves_is_that_of_the_tasks() -> None:
    documented = {(start, move): end for start, move, end, _ in table("| from | move | to | when |")}

    assert documented == {(start.value, move.value): end.value for (start, move), end in TRANSITIONS.items()}


def test_the_states_of_a_child_are_those_of_the_supervisor() -> None:
    sentence = next(line for line in ARCHITECTURE.splitlines() if line.startswith("A child's states:"))
    named = [word.strip() for quoted in re.findall(r"`([^`]+)`", sentence) for word in quoted.split("->")]

    assert sorted(named) == sorted(state.value for state in ChildState)


def test_every_file_that_is_named_exists() -> None:
    for line in ARCHITECTURE.splitlines():
        folder = ROOT
        for name in re.findall(r"[\w/]+\.(?:py|lua)\b", line):
            file = ROOT / name if "/" in name else folder / name
            assert file.exists(), f"{name} in: {line}"
            folder = file.parent


def test_every_test_that_a_claim_names_is_there() -> None:
    named = re.findall(r"`(\w+/test_\w+\.py)::(\*|\w+)`", (ROOT / "docs" / "claims.md").read_text())
    assert len(named) > 80

    for file, test in named:
        text = (ROOT / "tests" / file).read_text()
        assert test == "*" or f"def {test}(" in text, f"{file}::{test}"


def test_the_experiment_on_the_page_about_chaos_is_one() -> None:
    page = (ROOT / "docs" / "chaos.md").read_text()
    source = page.split("```yaml\n")[1].split("```")[0]

    experiment = read(source, WORDS)

    assert [step.fault for step in plan(experiment).steps].count("kill") == 11
    keys = {line.split(":")[0] for line in source.splitlines() if line[:1].isalpha()}
    told = set(re.findall(r"^\| `([a-z_-]+)`", page, re.MULTILINE))
    assert keys - {"version", "title", "description", "rollbacks"} <= told
