"""Experiments as they are written: what they mean, and what is said of mistakes."""

import msgspec
import pytest

from regrow.chaos import suites
from regrow.chaos.experiment import Action, Arrivals, Doing, Strategy, Target, Tolerance
from regrow.chaos.fault import Role
from regrow.chaos.reading import Mistakes, Vocabulary, read
from regrow.runtime.errors import ConfigError


class Kill(msgspec.Struct, frozen=True):
    """No options."""


class Delay(msgspec.Struct, frozen=True):
    """Some options, one of which is called as one of the method's own keys."""

    link: str
    delay_s: float
    jitter_s: float = 0.0
    most_bytes: int = 0


FAULTS = {"kill": Kill, "net.delay": Delay}


def check(name: str, options: dict[str, object]) -> None:
    try:
        msgspec.convert(options, FAULTS[name])
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {error}") from None


WORDS = Vocabulary(
    FAULTS, check, frozenset({"kill"}), frozenset({"kill"}), ("noop", "sleep1s"), ("no_lost", "no_overlap_beyond")
)

WHOLE = """
version: 1
title: Everything
description: that can be said
seed: 7
tags: [one, two]
configuration: {mode: pull, workers: 3, slots: 1, store: embedded, durability: everysec, fast_death: false,
                memory_budget: 1GiB, max_queued: 9}
workload: {rate: 5, duration: 2m, mix: {noop: 1, sleep1s: 0.5}, arrivals: ramp, rate_to: 50}
steady-state-hypothesis:
  strategy: continuous
  every: 500ms
  probes:
    - {name: canary, type: task, tolerance: {type: range, range: [0, 500]}, timeout: 2s}
    - {name: ready, type: http, url: "{gateway}/readyz", tolerance: 200}
    - {name: body, type: http, url: "http://x/", tolerance: {type: regex, pattern: "ok$", target: body}}
    - {name: workers, type: tree, path: /workers, tolerance: {type: min, value: 3}}
method:
  - {fault: kill, target: {role: dispatcher, pick: first, while: idle}, every: 5s, jitter: 1s, count: 3}
  - {fault: net.delay, link: worker-dispatcher, delay: 200ms, jitter: 50ms, most: 1KB, at: 20, for: 10s, background: true}
settle: 45s
expect:
  invariants: [no_lost, no_overlap_beyond: 3.5s]
  recovery: {detect_p99: 3.3s}
  must_hit: {kill_while_running: 2, net.delay_while_anything: 1}
stop_when: {gateway_down: 20s, faults_outstanding: 3}
rollbacks: auto
"""


def mistakes(source: str) -> list[str]:
    with pytest.raises(Mistakes) as caught:
        read(source, WORDS)
    return str(caught.value).splitlines()


def with_(line: str, instead: str) -> str:
    """The whole, with something else in it."""
    assert line in WHOLE
    return WHOLE.replace(line, instead)


def test_everything_that_can_be_said_is_understood() -> None:
    it = read(WHOLE, WORDS)

    assert (it.title, it.description, it.seed, it.tags, it.settle_s) == (
        "Everything",
        "that can be said",
        7,
        ("one", "two"),
        45.0,
    )
    assert msgspec.structs.astuple(it.configuration) == ("pull", 3, 1, "embedded", "everysec", False, 1 << 30, 9)
    assert msgspec.structs.astuple(it.workload) == (5.0, 120.0, {"noop": 1.0, "sleep1s": 0.5}, Arrivals.RAMP, 10, 50.0)
    assert (it.hypothesis.strategy, it.hypothesis.every_s) == (Strategy.CONTINUOUS, 0.5)
    assert [(probe.name, probe.tolerance) for probe in it.hypothesis.probes] == [
        ("canary", Tolerance("range", (0.0, 500.0), "latency_ms")),
        ("ready", Tolerance("equal", 200, "status")),
        ("body", Tolerance("regex", "ok$", "body")),
        ("workers", Tolerance("min", 3, "running")),
    ]
    assert it.method == (
        Action(
            "kill",
            target=Target(Role.DISPATCHER, pick="first", doing=Doing.IDLE),
            every_s=5.0,
            jitter_s=1.0,
            count=3,
        ),
        Action(
            "net.delay",
            {"link": "worker-dispatcher", "delay_s": 0.2, "jitter_s": 0.05, "most_bytes": 1000},
            at_s=20.0,
            for_s=10.0,
            background=True,
        ),
    )
    assert it.expect.invariants == {"no_lost": None, "no_overlap_beyond": 3.5}
    assert it.expect.recovery == {"detect_p99": 3.3}
    assert it.expect.must_hit == {"kill_while_running": 2, "net.delay_while_anything": 1}
    assert msgspec.structs.astuple(it.stop_when) == (20.0, 3)


def test_json_is_read_as_well_tabs_and_all() -> None:
    it = read('{\n\t"version": 1,\n\t"title": "It",\n\t"method": []\n}', WORDS)

    assert (it.title, it.method) == ("It", ())


def test_a_probe_of_chaos_toolkit_is_read_as_it_stands() -> None:
    probe = {
        "name": "up",
        "type": "probe",
        "tolerance": [200, 201],
        "provider": {"type": "http", "url": "http://x/", "timeout": 3},
    }
    source = {"version": 1, "title": "It", "method": [], "steady-state-hypothesis": {"title": "up", "probes": [probe]}}

    (found,) = read(msgspec.json.encode(source).decode(), WORDS).hypothesis.probes

    assert (found.type, found.url, found.timeout_s) == ("http", "http://x/", 3.0)
    assert found.tolerance == Tolerance("any_of", [200, 201], "status")


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        ("version: 1", "version: 2", "line 2: version: 2 is none of 1"),
        ("title: Everything", "title: ''", "line 3: title: text is wanted here, not ''"),
        ("seed: 7", "sed: 7", "line 5: sed: there is no key 'sed' here; did you mean seed?"),
        ("seed: 7", "seed: 7\nseed: 8", "line 6: seed: this key is there twice"),
        ("seed: 7", "seed: soon", "line 5: seed: a whole number from 0 is wanted here, not 'soon'"),
        ("rate: 5,", "rate: -5,", "line 9: workload.rate: a number from 0 is wanted here, not -5"),
        ("duration: 2m", "duration: 2 parsecs",
         "line 9: workload.duration: a duration such as 5s, 200ms, 2m or 1h is wanted here, not '2 parsecs'"),
        ("noop: 1, sleep1s: 0.5", "noop: 0", "line 9: workload.mix: at least one kind of task needs a share above 0"),
        ("arrivals: ramp, rate_to: 50", "arrivals: ramp",
         "line 9: workload: 'rate_to' belongs to 'arrivals: ramp', and the other way round"),
        ("memory_budget: 1GiB", "memory_budget: much",
         "line 8: configuration.memory_budget: a size such as 10MB, 64KiB or 1GB is wanted here, not 'much'"),
        ("fast_death: false", "fast_death: 0", "line 7: configuration.fast_death: true or false is wanted here, not 0"),
        ("range: [0, 500]", "range: [0]",
         "line 14: steady-state-hypothesis.probes[0].tolerance: 'range' is a list of two numbers, least and most"),
        ('pattern: "ok$"', 'pattern: "("',
         ("line 16: steady-state-hypothesis.probes[2].tolerance: 'pattern' is no regular expression: "
         "missing ), unterminated subpattern at position 0")),
        ("type: tree, path: /workers", "type: tree", "line 17: steady-state-hypothesis.probes[3]: a probe of type 'tree' needs 'path'"),
        ("fault: kill", "fault: kil", "line 19: method[0].fault: 'kil' is none of kill, net.delay; did you mean kill?"),
        ("range: [0, 500]", "range: [500, 0]",
         "line 14: steady-state-hypothesis.probes[0].tolerance: 'range' is a list of two numbers, least and most"),
        ("target: body", "target: text",
         "line 16: steady-state-hypothesis.probes[2]: a probe of type 'http' has no 'text': target status or latency_ms or body"),
        ("{gateway}/readyz", "{gatway}/readyz",
         ("line 15: steady-state-hypothesis.probes[1].url: {gatway} stands for nothing here: only {gateway} does, "
         "as in {gateway}/readyz")),
        ("name: ready", "name: canary",
         "line 11: steady-state-hypothesis: two probes are called 'canary': each needs a name of its own"),
        ("for: 10s", "for: 0s",
         "line 20: method[1].for: 0 s is no time: say how long, or leave it out for as long as the run goes on"),
        ("jitter: 1s, count: 3", "jitter: 1s, count: 3, for: 5s",
         ("line 19: method[0]: kill is over at once and nothing of it can be undone: leave out 'for'; "
          "a line that is to come later has an 'at'")),
        ("target: {role: dispatcher, pick: first, while: idle}, ", "",
         "line 19: method[0]: kill is done to somebody: add 'target: {role: worker}'"),
        ("link: worker-dispatcher, ", "link: worker-dispatcher, target: {role: worker}, ",
         "line 20: method[1]: net.delay is not done to one process: leave out the target"),
        (", count: 3", "", "line 19: method[0]: 'every' needs 'count': how many of them?"),
        ("every: 5s, ", "", "line 19: method[0]: 'count' needs 'every': how far apart are they?"),
        ("role: dispatcher", "role: boss",
         "line 19: method[0].target.role: 'boss' is none of root, supervisor, store, dispatcher, worker, slot, gateway"),
        ("link: worker-dispatcher, ", "", "line 20: method[1]: net.delay: Object missing required field `link`"),
        ("[no_lost,", "[no_los,", "line 23: expect.invariants[0]: 'no_los' is none of no_lost, no_overlap_beyond; did you mean no_lost?"),
        ("detect_p99", "detect_p98", None),
        ("kill_while_running", "kill_while_sleeping",
         ("line 25: expect.must_hit.kill_while_sleeping: say FAULT_while_running, FAULT_while_idle or FAULT_while_anything, "
         "as kill_while_running: 8")),
        ("rollbacks: auto", "rollbacks: never", "line 27: rollbacks: 'never' is none of auto"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_key(line: str, instead: str, said: str | None) -> None:
    (found,) = mistakes(with_(line, instead))

    assert found == said or (said is None and found.startswith("line 24: expect.recovery.detect_p98: there is no key"))


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines() -> None:
    found = mistakes(
        with_("seed: 7", "sed: 7").replace("fault: kill", "fault: kil").replace("settle: 45s", "settle: x")
    )

    assert [line.split(":")[0] for line in found] == ["line 5", "line 19", "line 21"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "line 1: the document: it is empty"),
        ("[1, 2]", "line 1: the document: a mapping is wanted here, with version, title"),
        ("a: [1", "line 1: the document: this is no YAML: "),
        ("version: 1\ntitle: It", "line 1: the document: 'method' is missing"),
        ("version: 1\ntitle: It\nmethod: kill", "line 3: method: a list is wanted here, not 'kill'"),
        ("version: 1\ntitle: It\nmethod: [kill]", "line 3: method[0]: each line of the method names its fault"),
        ("version: 1\ntitle: !!python/object:os.system x\nmethod: []", "line 2: title: this value cannot be read: "),
    ],
)
def test_what_is_no_experiment_at_all_is_said_so(source: str, said: str) -> None:
    (found,) = mistakes(source)

    assert found.startswith(said)


@pytest.mark.parametrize(("written", "offset_s"), [("-60s", -60.0), ("2m", 120.0), ("-0.5", -0.5)])
def test_what_may_be_negative_may_be_written_so(written: str, offset_s: float) -> None:
    source = f"version: 1\ntitle: It\nmethod: [{{fault: clock.offset, offset: {written}}}]"

    (action,) = read(source, suites.WORDS).method

    assert action.options == {"offset_s": offset_s}
