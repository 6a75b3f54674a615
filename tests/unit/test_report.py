"""Reports: the numbers in them, and that each form of them tells all and needs nothing."""

import re
import xml.etree.ElementTree as ET

import msgspec
import pytest

from regrow.chaos.course import bucket_s, buckets, seen
from regrow.chaos.drawing import histogram, seconds, timeline
from regrow.chaos.evidence import Accounting, Distribution, Verdict
from regrow.chaos.report import Report, compose, headline
from regrow.chaos.report_page import page, rows
from regrow.chaos.report_text import text
from support.runs import BEGAN, FACTS, evidence, findings


def report(verdict: Verdict = Verdict.VALID) -> Report:
    return compose(evidence(), findings(verdict), FACTS, evidence(has_faults=False))


def test_the_timeline_counts_every_task_where_it_was_sent_and_where_it_ended() -> None:
    it = report()

    assert sum(bucket.submitted * it.bucket_s for bucket in it.buckets) == 400
    assert sum(bucket.completed * it.bucket_s for bucket in it.buckets) == 392
    assert sum(bucket.failed * it.bucket_s for bucket in it.buckets) == 8
    quiet, cut = it.buckets[3], it.buckets[13]
    assert quiet.p50_ms is not None
    assert cut.p50_ms is not None
    assert quiet.p50_ms < 200 < 2500 < cut.p50_ms


def test_latency_counts_from_when_a_task_was_meant_to_be_sent() -> None:
    (first, *_) = evidence().ops
    latency = seen(evidence().ops).latencies_ms[first.number]

    ended = next(op.at for op in evidence().ops if op.number == first.number and op.action == "read")
    assert latency == pytest.approx(1000 * (ended - BEGAN))


def test_a_long_run_has_no_more_stretches_than_can_be_seen() -> None:
    long = msgspec.structs.replace(evidence(), finished=BEGAN + 3700)

    assert bucket_s(long) == 16.0
    assert len(buckets(long, 16.0, seen(long.ops))) == 232


def test_the_accounting_adds_up_in_its_rows() -> None:
    counts = {name: count for name, count, _ in rows(findings(Verdict.VALID).accounting)}

    assert counts["attempted"] == counts["acknowledged"] + counts["rejected"] + counts["unknown"]
    assert counts["acknowledged"] == counts["completed"] + counts["failed"] + counts["lost"]


def test_the_cost_is_told_against_the_run_without_faults() -> None:
    cost = report().cost

    assert cost is not None
    assert cost.completed_ratio == 1.0
    assert cost.p99_ms[0] < 500 < 2500 < cost.p99_ms[1]
    assert cost.wasted_runs == 1
    assert compose(evidence(), findings(Verdict.VALID), FACTS).cost is None


def test_a_fault_says_whom_it_hit_and_whether_it_was_done_at_all() -> None:
    kill, cut, stop = report().faults

    assert (kill.who, kill.hits, kill.missed) == ("root/workers/worker-0 (pid 7)", 1, False)
    assert (cut.who, cut.applied_s, cut.undone_s) == ("worker-dispatcher", 10.0, 14.0)
    assert (stop.missed, stop.detail) == (True, "no running slot")


def test_restarts_are_those_of_this_run_with_their_reasons() -> None:
    (restart,) = report().restarts

    assert (restart.path, restart.restarts, restart.reasons) == ("root/workers/worker-0", 1, {"signal:SIGKILL": 1})


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict.VALID, "Nothing was lost, doubled or overwritten: 400 acknowledged tasks under 2 faults, 1 of them while a task ran."),
        (Verdict.INVALID, "A promise was broken under 2 faults: one_terminal."),
        (Verdict.UNKNOWN, "This run proves nothing: one_terminal was broken."),
    ],
)  # fmt: skip
def test_the_headline_says_the_verdict_in_a_sentence(verdict: Verdict, said: str) -> None:
    assert headline(report(verdict)) == said


def test_the_page_needs_no_network_and_runs_no_script() -> None:
    html = page(report(Verdict.INVALID))

    assert not re.search(r"(src|href)\s*=|@import|url\(|<script|<link", html)


def test_whatever_a_run_contains_is_text_on_the_page() -> None:
    html = page(report(Verdict.INVALID))

    for raw in ("<run>", "<both ways>", "started <again>", "die & one"):
        assert raw not in html
        assert raw.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in html


def test_the_page_tells_verdict_invariants_counter_examples_faults_and_how_to_run_it_again() -> None:
    html = page(report(Verdict.INVALID))

    for told in (
        "What broke",
        "it has two ends",
        "and 11 more",
        "no_lost",
        "root/workers/worker-0 (pid 7)",
        FACTS.command,
        "missed",
        "abc1234",
    ):
        assert told in html


def test_the_text_tells_the_same() -> None:
    lines = text(report(Verdict.INVALID)).splitlines()

    assert lines[0] == "# made-up <run>: invalid"
    assert "| ✗ | one_terminal | a task ends once | 400 |" in lines
    assert "    " + FACTS.command in lines
    assert any("started <again>" in line for line in lines)
    assert "| root/workers/worker-0 | 1 | signal:SIGKILL: 1 |" in lines
    for head in ("## The tree", "## Steady state", "## What the faults cost"):
        assert head in lines


def test_a_report_is_the_same_after_json() -> None:
    it = report(Verdict.INVALID)

    assert msgspec.json.decode(msgspec.json.encode(it), type=Report) == it


def test_every_fault_is_marked_on_the_timeline_and_the_pictures_are_sound() -> None:
    drawn = timeline(report())

    marks = re.findall(r'<g class="mark (\w+)">', drawn)
    assert sorted(marks) == ["done", "hit", "missed"]
    ET.fromstring(drawn)


def test_faults_at_the_same_time_are_drawn_on_lines_of_their_own() -> None:
    it = report()
    twice = msgspec.structs.replace(
        it, faults=tuple(msgspec.structs.replace(it.faults[0], step=step) for step in range(5))
    )

    heights = re.findall(r'<g class="mark \w+"><title>[^<]*</title><rect x="[\d.]+" y="([\d.]+)"', timeline(twice))
    assert len(set(heights)) == 5


@pytest.mark.parametrize("values", [(0.001,), (0.5, 0.5), (0.0001, 0.01, 3.0, 3.1, 60.0), (0.0,)])
def test_a_histogram_shows_every_value_once(values: tuple[float, ...]) -> None:
    drawn = histogram(Distribution(len(values), values[0], values[0], values[-1], values[-1], values[-1], values))

    assert sum(map(int, re.findall(r"<title>(\d+) times", drawn))) == len(values)
    ET.fromstring(drawn)


@pytest.mark.parametrize(
    ("value", "said"), [(0.0042, "4.2 ms"), (0.42, "0.42 s"), (3.005, "3.00 s"), (1234.0, "1,234 s")]
)
def test_durations_read_well(value: float, said: str) -> None:
    assert seconds(value) == said


def test_nothing_at_all_is_reported_too() -> None:
    empty = msgspec.structs.replace(
        evidence(), ops=(), marks=(), moves=(), strikes=(), samples=(), before=None, after=None
    )
    nothing = msgspec.structs.replace(
        findings(Verdict.UNKNOWN),
        accounting=Accounting(0, 0, {}, 0, 0, 0, {}, 0, {}, 0),
        judgements=(),
        recoveries=(),
        distributions={},
    )
    it = compose(empty, nothing, FACTS)

    assert "No fault hit a running task" in page(it)
    assert "nobody was restarted" in page(it)
    assert text(it).startswith("# made-up <run>: unknown")
