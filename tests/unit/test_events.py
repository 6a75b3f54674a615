"""How events are said."""

import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from regrow.runtime import events, logs
from regrow.runtime.events import Event


@pytest.fixture(autouse=True)
def speaker() -> Iterator[None]:
    events.identify("root", 1, "info")
    yield
    events.identify("", 0, "info")


def test_a_field_that_says_nothing_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    events.identify("root", 1, "info")  # to the captured stream

    events.say("warning", Event.SUPERVISOR_REPORT, kind="child_ended", child="a", reason="exit:0", detail="", note="")

    said = json.loads(capsys.readouterr().err)
    assert {"kind", "child", "reason"} <= said.keys()
    assert not {"detail", "note"} & said.keys()


def test_a_field_that_is_zero_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    events.identify("root", 1, "info")

    events.say("warning", Event.LOOP_GAP, gap_s=0.0)

    assert json.loads(capsys.readouterr().err)["gap_s"] == 0.0


def test_a_line_for_machines_is_one_json_object_with_its_speaker(capsys: pytest.CaptureFixture[str]) -> None:
    events.identify("root/worker", 3, "info")

    logs.log.info("worker.joined", worker="w", endpoint=Path("/a\nb"))

    said = json.loads(capsys.readouterr().err)
    assert datetime.now(UTC) - datetime.fromisoformat(said.pop("timestamp")) < timedelta(seconds=5)
    assert said == {
        "level": "info",
        "event": "worker.joined",
        "actor": "root/worker",
        "incarnation": 3,
        "pid": os.getpid(),
        "worker": "w",
        "endpoint": "/a\nb",
    }


def test_what_is_less_severe_than_the_level_is_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    events.identify("root", 1, "warning")

    logs.log.debug("a.b")
    logs.log.info("a.b")
    events.say("info", Event.TREE_STOPPED, reason="normal")

    assert capsys.readouterr().err == ""


def test_an_error_brings_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    events.identify("root", 1, "info")

    logs.log.error("gateway.error", exc_info=ValueError("no such knot"))

    assert json.loads(capsys.readouterr().err)["exception"] == "ValueError: no such knot"


def test_a_line_for_people_says_when_what_who_and_the_rest(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    events.identify("root", 1, "info")

    logs.log.warning("child.overdue", child="a", silent_s=3.0)

    plain = re.sub(r"\x1b\[\d+m", "", capsys.readouterr().err)
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} child\.overdue {10}root  child=a silent_s=3\.0\n", plain), plain
