"""docs/chaos-faults.md says what the code says, and its example of a new fault works."""

import os
import re
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from regrow.chaos.fault import Victim
from regrow.chaos.faults import FAULTS, MOMENTARY
from regrow.chaos.faults.base import Blow
from regrow.chaos.lineage import start_time
from regrow.chaos.scene import Need, Scene

PAGE = (Path(__file__).parents[2] / "docs" / "chaos-faults.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| `")]
ON = {Need.VICTIM: "target", Need.LINK: "link", Need.STORE: "store", Need.HOOKS: "own tree", Need.SUBMIT: "workload"}


def options(name: str) -> str:
    """As the table writes them."""

    def written(field: msgspec.structs.FieldInfo) -> str:
        if field.required:
            return f"`{field.name}`"
        default = "any" if field.default is None else field.default
        return f"`{field.name}={default:g}`" if isinstance(default, float) else f"`{field.name}={default}`"

    return ", ".join(map(written, msgspec.structs.fields(FAULTS[name]))) or "none"


def test_the_catalogue_has_every_fault_once() -> None:
    assert sorted(row[0].strip("`") for row in ROWS) == sorted(FAULTS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("`"))
def test_a_row_has_the_faults_options_and_what_it_is_done_to(row: list[str]) -> None:
    name = row[0].strip("`")

    assert row[3] == options(name)
    assert row[1] == next((ON[need] for need in FAULTS[name].needs), "machine")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("`"))
def test_a_row_says_whether_anything_undoes_the_fault(row: list[str]) -> None:
    undone_by = row[5] if row[5] != "the same" else "nothing"

    assert undone_by.startswith("nothing") == (row[0].strip("`") in MOMENTARY)


def test_the_example_of_a_new_fault_works() -> None:
    code: dict[str, Any] = {"__name__": "example"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, code)
    with subprocess.Popen(["sleep", "60"]) as process:
        victim = Victim("root", "root", process.pid, 1, start_time(process.pid))
        blow = Blow(Scene.of("http://127.0.0.1:1"), victim, Random(0))
        before = os.sched_getaffinity(process.pid)
        core = min(before)
        fault = code["CpuPin"](core)

        (undo,) = fault.prepare(blow)
        assert fault.strike(blow) == f"pid {process.pid} runs on core {core} only"
        assert os.sched_getaffinity(process.pid) == {core}
        assert undo.run() == f"process {process.pid} has {len(before)} cores again"

        assert os.sched_getaffinity(process.pid) == before
        process.kill()
        process.wait()
        assert undo.run() == f"process {process.pid} has ended"
