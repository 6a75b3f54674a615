"""Specs that contradict themselves are refused before anything starts."""

import msgspec
import pytest

from regrow.runtime.errors import ConfigError
from regrow.runtime.spec import (
    AutoShutdown,
    ChildKind,
    ChildSpec,
    ExitReason,
    Heartbeat,
    Intensity,
    ReasonKind,
    Restart,
    Strategy,
    SupervisorSpec,
    validate_child,
    validate_supervisor,
)


def child(name="a", **fields):
    return ChildSpec(name, "module:Class", **fields)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (child(""), "letters"),
        (child("a/b"), "letters"),
        (ChildSpec("a", "no_class"), "module:Class"),
        (child(shutdown_s=-1.0), "shutdown_s"),
        (child(start_timeout_s=0.0), "start_timeout_s"),
        (child(kind=ChildKind.SUPERVISOR), "orphaned"),
        (child(significant=True), "permanent"),
        (child(significant=True, restart=Restart.TRANSIENT), "auto_shutdown"),
    ],
)
def test_a_child_spec_that_contradicts_itself_is_refused_and_named(spec, problem):
    with pytest.raises(ConfigError, match=problem):
        validate_child(spec, AutoShutdown.NEVER)


@pytest.mark.parametrize(
    "spec",
    [
        child("a-1_B"),
        child(shutdown_s=0.0),
        child(shutdown_s=None),
        child(heartbeat=None),
        child(kind=ChildKind.SUPERVISOR, shutdown_s=None),
        child(significant=True, restart=Restart.TRANSIENT),
        child(significant=True, restart=Restart.TEMPORARY),
    ],
)
def test_a_sensible_child_spec_is_accepted(spec):
    validate_child(spec, AutoShutdown.ANY_SIGNIFICANT)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (SupervisorSpec((child("a"), child("b"), child("a"))), "'a' is used twice"),
        (SupervisorSpec((child("no spaces"),)), "letters"),
        (SupervisorSpec(intensity=Intensity(-1, 5.0)), "restarts"),
        (SupervisorSpec(intensity=Intensity(1, 0.0)), "within_s"),
        (SupervisorSpec((child(),), pool=child("w")), "not both"),
        (SupervisorSpec(pool=child("w"), strategy=Strategy.ONE_FOR_ALL), "one_for_one"),
        (SupervisorSpec(pool=child("w"), size=5, max_size=4), "max_size 4"),
        (SupervisorSpec(pool=child("w"), size=-1), "pool size -1"),
        (SupervisorSpec(pool=child("w w"), size=1), "letters"),
    ],
)
def test_a_supervisor_spec_that_contradicts_itself_is_refused(spec, problem):
    with pytest.raises(ConfigError, match=problem):
        validate_supervisor(spec)


@pytest.mark.parametrize(
    "spec",
    [
        SupervisorSpec(),
        SupervisorSpec((child("a"), child("b")), strategy=Strategy.REST_FOR_ONE, intensity=Intensity(0, 0.5)),
        SupervisorSpec(pool=child("w"), size=0),
        SupervisorSpec(pool=child("w"), size=4, max_size=4),
    ],
)
def test_a_sensible_supervisor_spec_is_accepted(spec):
    validate_supervisor(spec)


@pytest.mark.parametrize("kind", list(ReasonKind))
def test_only_normal_and_shutdown_are_normal_ends(kind):
    assert ExitReason(kind, "detail").is_normal == (kind in (ReasonKind.NORMAL, ReasonKind.SHUTDOWN))


def test_a_reason_reads_as_its_kind_and_detail():
    assert str(ExitReason(ReasonKind.SIGNAL, "SIGSEGV", "a note")) == "signal:SIGSEGV"
    assert str(ExitReason(ReasonKind.NORMAL)) == "normal"


def test_the_heartbeat_window_is_interval_times_liveness():
    assert Heartbeat(0.5, 4).window_s == 2.0


def test_specs_travel():
    spec = SupervisorSpec((child("a", environment={"A": "1"}, fds=(3,)),), auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(spec), type=SupervisorSpec) == spec
