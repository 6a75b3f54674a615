"""The rules of supervision, one test each, under virtual time."""

import pytest

from regrow.runtime.errors import ConfigError, InvalidTransition
from regrow.runtime.spec import (
    AutoShutdown,
    Backoff,
    ChildKind,
    ChildState,
    ExitReason,
    Intensity,
    ReasonKind,
    Restart,
    Strategy,
    SupervisorSpec,
)
from regrow.runtime.stimuli import Begin, Exited, Overdue, Ready, StopRequested, Tick, gave_up
from support.virtual_tree import CRASH, KILLED, NORMAL, SHUTDOWN, VirtualTree, child

NO_BACKOFF = Backoff(min_s=0.0, give_up_after=1_000_000)
PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY


def tree(*children, strategy=Strategy.ONE_FOR_ONE, intensity=(3, 5.0), backoff=NO_BACKOFF, **fields):
    """A tree that has begun, all its children ready and healthy."""
    specs = tuple(child(one) if isinstance(one, str) else one for one in children)
    made = VirtualTree(
        SupervisorSpec(specs, strategy=strategy, intensity=Intensity(*intensity), backoff=backoff, **fields)
    )
    made.begin()
    made.wait(10.0)
    return made


def pool(size, intensity=(3, 5.0), per_child=0, backoff=NO_BACKOFF, **fields):
    made = VirtualTree(
        SupervisorSpec(
            pool=child("w", **fields),
            size=size,
            max_size=8,
            intensity=Intensity(*intensity),
            pool_intensity_per_child=per_child,
            backoff=backoff,
        )
    )
    made.begin()
    made.wait(10.0)
    return made


# ---- starting ----


def test_children_start_in_order_each_after_the_one_before_is_ready():
    world = VirtualTree(SupervisorSpec((child("a"), child("b"))))

    assert world.feed(Begin()) == ["spawn a#1"]
    assert world.wait(5.0) == []
    assert world.becomes_ready("a") == ["spawn b#1"]
    assert world.becomes_ready("b") == ["started"]


def test_a_pool_starts_all_its_children_together():
    world = VirtualTree(SupervisorSpec(pool=child("w"), size=3))

    assert world.feed(Begin()) == ["spawn w-0#1", "spawn w-1#1", "spawn w-2#1"]
    assert world.becomes_ready("w-2") == []
    assert world.settle() == ["started"]


@pytest.mark.parametrize("spec", [SupervisorSpec(), SupervisorSpec(pool=child("w"), size=0)])
def test_a_supervisor_without_children_is_started_at_once(spec):
    assert VirtualTree(spec).feed(Begin()) == ["started"]


def test_begin_counts_once():
    world = tree("a")

    assert world.feed(Begin()) == []


def test_vector_13_a_failed_initial_start_stops_what_runs_and_names_the_child():
    world = VirtualTree(SupervisorSpec((child("a"), child("b"), child("c"))))
    world.feed(Begin())
    world.becomes_ready("a")

    assert world.dies("b") == ["ask a"]
    assert world.dies("a") == ["finished exception:StartFailed"]
    assert world.finished is not None
    assert "b: exit:1" in world.finished.note
    assert not world.finished.is_normal
    assert "started" not in world.log


def test_vector_14_a_child_that_never_acknowledges_is_killed_and_fails_the_start():
    world = VirtualTree(SupervisorSpec((child("a"), child("b", start_timeout_s=2.0))))
    world.feed(Begin())
    world.becomes_ready("a")

    assert world.core.next_deadline() == world.now + 2.0
    assert world.wait(1.99) == []
    assert world.wait(0.01) == ["kill b"]
    assert world.dies("b") == ["ask a"]
    assert world.dies("a") == ["finished exception:StartFailed"]
    assert world.ends_of("b") == ["start_timeout"]


def test_a_ready_child_of_a_pool_that_dies_during_the_start_is_restarted():
    world = VirtualTree(SupervisorSpec(pool=child("w"), size=2, backoff=NO_BACKOFF))
    world.feed(Begin())
    world.becomes_ready("w-0")

    assert world.dies("w-0") == ["spawn w-0#2"]
    assert world.becomes_ready("w-1") == ["started"]


def test_a_group_death_during_the_initial_start_begins_it_again():
    world = VirtualTree(SupervisorSpec((child("a"), child("b")), strategy=Strategy.ONE_FOR_ALL, backoff=NO_BACKOFF))
    world.feed(Begin())
    world.becomes_ready("a")

    assert world.dies("a") == ["kill b"]
    assert world.settle() == ["spawn a#2", "spawn b#2", "started"]


# ---- the strategies ----


def test_vector_1_one_for_one_restarts_the_dead_child_only():
    world = tree("a", "b", "c")

    assert world.dies("b") == ["spawn b#2"]
    assert world.settle() == []
    assert world.up() == ["a#1", "b#2", "c#1"]


def test_vector_2_rest_for_one_restarts_the_dead_child_and_those_after_it():
    world = tree("a", "b", "c", strategy=Strategy.REST_FOR_ONE)

    assert world.dies("b") == ["ask c"]
    assert world.dies("c") == ["spawn b#2"]
    assert world.settle() == ["spawn c#2"]
    assert world.up() == ["a#1", "b#2", "c#2"]


def test_vector_3_one_for_all_restarts_everything_for_one_unit():
    world = tree("a", "b", "c", strategy=Strategy.ONE_FOR_ALL)

    assert world.dies("b") == ["ask c"]
    assert world.dies("c") == ["ask a"]
    assert world.settle() == ["spawn a#2", "spawn b#2", "spawn c#2"]
    assert world.core.budget.spent(world.now) == 1


def test_vector_12_a_failed_start_in_a_group_runs_the_whole_strategy_again():
    world = tree("a", "b", "c", strategy=Strategy.ONE_FOR_ALL)
    world.dies("a")
    world.dies("c")
    world.dies("b")
    world.becomes_ready("a")

    assert world.dies("b") == ["ask a"]
    assert world.settle() == ["spawn a#3", "spawn b#3", "spawn c#2"]
    assert world.core.budget.spent(world.now) == 2


def test_an_earlier_death_widens_a_group_restart():
    world = tree("a", "b", "c", strategy=Strategy.REST_FOR_ONE)
    world.dies("c")

    assert world.dies("a") == ["kill c"]
    assert world.dies("c") == ["ask b"]
    assert world.settle() == ["spawn a#2", "spawn b#2", "spawn c#3"]
    assert world.core.budget.spent(world.now) == 2


def test_a_sibling_that_dies_before_its_turn_to_be_stopped_costs_nothing_more():
    world = tree("a", "b", "c", strategy=Strategy.ONE_FOR_ALL)
    world.dies("b")

    assert world.dies("a") == []
    assert world.settle() == ["spawn a#2", "spawn b#2", "spawn c#2"]
    assert world.core.budget.spent(world.now) == 1
    assert "child_ended a exit:1" in world.reports()


def test_a_start_that_fails_before_its_turn_to_be_stopped_costs_nothing_more():
    world = tree("a", "b", "c", strategy=Strategy.ONE_FOR_ALL)
    world.dies("a")
    world.settle()
    world.dies("c")
    world.dies("b")
    world.dies("a")  # asked in the second restart; a starts anew
    world.becomes_ready("a")
    world.dies("a")  # b, starting, is to be killed

    assert world.settle()[-3:] == ["spawn a#4", "spawn b#4", "spawn c#3"]
    assert world.core.budget.spent(world.now) == 3


def test_vector_7_a_temporary_sibling_in_a_group_restart_is_stopped_and_gone():
    world = tree("a", child("t", restart=TEMPORARY), "c", strategy=Strategy.ONE_FOR_ALL)

    assert world.dies("a") == ["ask c"]
    assert world.settle() == ["ask t", "spawn a#2", "spawn c#2"]
    assert list(world.states()) == ["a", "c"]


def test_a_group_restart_starts_an_ended_transient_sibling_too():
    world = tree("a", child("t", restart=TRANSIENT), strategy=Strategy.ONE_FOR_ALL)
    world.dies("t", NORMAL)

    assert world.dies("a") == ["spawn a#2"]
    assert world.settle() == ["spawn t#2"]


def test_a_group_waits_for_the_delay_of_the_child_that_crashes():
    world = tree("a", "b", strategy=Strategy.ONE_FOR_ALL, backoff=Backoff(jitter=0.0))
    world.dies("a")
    world.settle()
    assert world.dies("a") == ["ask b"]  # it lived for 0 s

    assert world.dies("b") == []
    assert world.states()["a"] is ChildState.BACKOFF
    assert world.wait(0.04) == []
    assert world.wait(0.01) == ["spawn a#3"]


# ---- restart types ----


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, CRASH, KILLED])
def test_vector_4_a_permanent_child_is_always_restarted(reason):
    world = tree("a")

    assert world.dies("a", reason) == ["spawn a#2"]
    assert world.reports() == [f"child_ended a {reason}"]


@pytest.mark.parametrize(("reason", "is_restarted"), [(NORMAL, False), (SHUTDOWN, False), (CRASH, True)])
def test_vector_5_a_transient_child_is_restarted_after_an_abnormal_end_only(reason, is_restarted):
    world = tree(child("a", restart=TRANSIENT))

    assert world.dies("a", reason) == (["spawn a#2"] if is_restarted else [])
    assert world.states() == {"a": ChildState.STARTING if is_restarted else ChildState.EXITED}
    assert world.reports() == (["child_ended a exit:1"] if is_restarted else [])


@pytest.mark.parametrize("reason", [NORMAL, KILLED])
def test_vector_6_a_temporary_child_is_not_restarted_and_its_spec_is_gone(reason):
    world = tree("a", child("t", restart=TEMPORARY))

    assert world.dies("t", reason) == []
    assert list(world.states()) == ["a"]
    assert world.reports() == ([] if reason is NORMAL else ["child_ended t signal:SIGKILL"])


def test_a_restart_that_fails_is_tried_again_whatever_the_restart_type():
    world = tree(child("a", restart=TRANSIENT))
    world.dies("a")

    assert world.dies("a", NORMAL) == ["spawn a#3"]
    assert world.reports()[-1] == "start_failed a normal"


# ---- giving up ----


def deaths(world, name, *gaps):
    """``name`` dies after each gap, and is ready again at once; the last story."""
    told = []
    for gap in gaps:
        world.wait(gap)
        told = world.dies(name) + world.settle()
    return told


def test_vector_8_a_fourth_death_at_the_inclusive_end_of_the_window_is_too_much():
    world = tree("a", "b")
    told = deaths(world, "a", 0.0, 2.5, 2.25, 0.25)

    assert told == ["ask b", "finished shutdown:max_intensity"]
    assert world.reports()[-1] == "max_intensity a exit:1"
    assert world.states()["a"] is ChildState.FATAL
    assert world.finished is not None
    assert gave_up(world.finished)


def test_vector_9_a_fourth_death_after_the_window_is_survived():
    world = tree("a", "b")

    assert deaths(world, "a", 0.0, 2.5, 2.25, 0.35) == ["spawn a#5"]


def test_the_window_is_the_supervisors_and_not_the_childs():
    world = tree("a", "b", "c", intensity=(2, 5.0))

    assert world.dies("a") == ["spawn a#2"]
    assert world.dies("b") == ["spawn b#2"]
    assert world.dies("c")[:1] == ["kill b"]
    assert world.settle() == ["kill a", "finished shutdown:max_intensity"]


def test_vector_10_intensity_0_gives_up_at_the_first_death():
    world = tree("a", "b", intensity=(0, 5.0))

    assert world.dies("b") == ["ask a"]
    assert world.settle() == ["finished shutdown:max_intensity"]


@pytest.mark.parametrize("backoff", [NO_BACKOFF, Backoff()], ids=["without_backoff", "with_backoff"])
def test_vector_11_exactly_three_failing_restarts_are_made_and_a_fourth_is_refused(backoff):
    world = tree("a", "b", "c", backoff=backoff)
    world.broken = {"b"}
    told = world.dies("b") + world.run()

    assert told == ["spawn b#2", "spawn b#3", "spawn b#4", "ask c", "ask a", "finished shutdown:max_intensity"]
    assert [line for line in world.reports() if "start_failed" in line] == ["start_failed b exit:1"] * 3


def test_a_crash_loop_gives_up_although_the_budget_would_last_for_ever():
    world = tree("a", "b", intensity=(20, 10.0), backoff=Backoff())
    world.broken = {"b"}
    died_at = world.now
    told = world.dies("b") + world.run()

    assert [word for word in told if word.startswith("spawn")] == [f"spawn b#{number}" for number in range(2, 8)]
    assert told[-1] == "finished shutdown:crash_loop"
    assert world.now - died_at == pytest.approx(0.05 * (1 + 2 + 4 + 8 + 16))
    assert world.reports()[-1] == "crash_loop b exit:1"
    assert gave_up(world.finished)


def test_delays_grow_along_a_crash_loop_and_a_healthy_life_ends_it():
    world = tree("a", intensity=(20, 10.0), backoff=Backoff(jitter=0.0))
    assert world.dies("a") == ["spawn a#2"]
    world.settle()
    delays = []
    for _ in range(3):
        world.dies("a")
        delays.append(world.core.next_deadline() - world.now)
        world.wait(delays[-1])
        world.settle()
    world.wait(1.0)

    assert delays == pytest.approx([0.05, 0.1, 0.2])
    assert world.dies("a") == ["spawn a#6"]


@pytest.mark.parametrize("spread", [0.0, 0.999])
def test_jitter_spreads_a_delay(spread):
    world = VirtualTree(SupervisorSpec((child("a"),)), jitter=lambda: spread)
    world.begin()
    world.dies("a")

    assert world.core.next_deadline() - world.now == pytest.approx(0.04 if spread == 0.0 else 0.06, rel=1e-3)


def test_a_kill_once_a_second_is_survived_for_ever_with_the_child_back_at_once():
    world = tree("a", intensity=(20, 10.0), backoff=Backoff())

    for _ in range(300):
        world.wait(1.0)
        told = world.dies("a", KILLED)
        assert told[0].startswith("spawn a")
        world.settle()


@pytest.mark.parametrize("start_s", [0.4, 0.99])
def test_a_kill_once_a_second_is_survived_by_a_slow_starter(start_s):
    world = tree("a", intensity=(20, 10.0), backoff=Backoff())

    for _ in range(300):
        assert world.dies("a", KILLED)[0].startswith("spawn a")
        world.wait(start_s)
        world.settle()
        world.wait(1.0 - start_s)


def test_a_pools_budget_grows_with_its_size():
    world = pool(2, intensity=(1, 10.0), per_child=1)

    assert deaths(world, "w-0", 0.0, 1.0, 1.0) == ["spawn w-0#4"]
    assert "finished shutdown:max_intensity" in deaths(world, "w-1", 0.0)


def test_vector_16_a_sub_supervisor_that_gave_up_is_restarted_if_permanent_and_not_if_transient():
    gave_up_below = ExitReason(ReasonKind.SHUTDOWN, "max_intensity")
    permanent = tree(child("s", kind=ChildKind.SUPERVISOR, shutdown_s=None))
    transient = tree(child("s", kind=ChildKind.SUPERVISOR, shutdown_s=None, restart=TRANSIENT))

    assert permanent.dies("s", gave_up_below) == ["spawn s#2"]
    assert permanent.core.budget.spent(permanent.now) == 1
    assert transient.dies("s", gave_up_below) == []
    assert transient.states() == {"s": ChildState.EXITED}


# ---- stopping ----


def test_children_are_stopped_in_reverse_order_one_at_a_time():
    world = tree("a", "b", "c")

    assert world.stop() == ["ask c"]
    assert world.dies("c") == ["ask b"]
    assert world.stop() == []
    assert world.settle() == ["ask a", "finished shutdown"]
    assert world.ends_of("a") == ["shutdown"]


def test_a_pool_stops_all_its_children_together_each_with_its_own_grace():
    world = pool(3, shutdown_s=2.0)

    assert world.stop() == ["ask w-0", "ask w-1", "ask w-2"]
    assert world.dies("w-1") == []
    assert world.wait(2.0) == ["kill w-0", "kill w-2"]
    assert world.settle() == ["finished shutdown"]


def test_vector_15_a_child_that_ignores_the_request_is_killed_when_its_grace_is_over():
    world = tree(child("a", shutdown_s=0.2))

    assert world.stop() == ["ask a"]
    assert world.wait(0.199) == []
    assert world.wait(0.001) == ["kill a"]
    assert world.wait(10.0) == []
    assert world.dies("a") == ["finished shutdown"]
    assert world.ends_of("a") == ["shutdown"]
    assert world.core.children()[0].reason.note.startswith("killed")


def test_no_grace_is_a_kill_at_once_and_unlimited_grace_waits_for_ever():
    at_once = tree(child("a", shutdown_s=0))
    patient = tree(child("a", shutdown_s=None))

    assert at_once.stop() == ["kill a"]
    assert patient.stop() == ["ask a"]
    assert patient.core.next_deadline() is None
    assert patient.wait(1e6) == []


def test_unlimited_grace_ends_when_the_child_hangs_over_it():
    world = tree(child("a", shutdown_s=None))
    world.stop()

    assert world.is_silent("a") == ["kill a"]
    assert world.is_silent("a") == []
    assert world.dies("a") == ["finished shutdown"]
    assert world.ends_of("a") == ["heartbeat_lost"]


def test_silence_does_not_shorten_a_limited_grace():
    world = tree(child("a", shutdown_s=9.0))
    world.stop()

    assert world.is_silent("a") == []


def test_vector_22_a_stop_during_a_backoff_ends_at_once_without_a_new_start():
    world = tree("a", backoff=Backoff(min_s=5.0))
    world.dies("a")
    world.settle()
    world.dies("a")
    assert world.states() == {"a": ChildState.BACKOFF}

    assert world.stop() == ["finished shutdown"]
    assert world.states() == {"a": ChildState.EXITED}
    assert world.core.next_deadline() is None


def test_a_stop_during_a_start_kills_what_is_starting():
    world = VirtualTree(SupervisorSpec((child("a"), child("b"))))
    world.feed(Begin())

    assert world.stop() == ["kill a"]
    assert world.settle() == ["finished shutdown"]


def test_a_stop_before_the_beginning_ends_at_once():
    world = VirtualTree(SupervisorSpec((child("a"),)))

    assert world.stop() == ["finished shutdown"]
    assert world.feed(Begin()) == []


def test_a_stop_gives_the_reason_that_was_asked_for():
    world = tree("a")
    world.feed(StopRequested(ExitReason(ReasonKind.SHUTDOWN, note="deploy")))
    world.settle()

    assert world.finished == ExitReason(ReasonKind.SHUTDOWN, note="deploy")
    assert not gave_up(world.finished)


def test_deaths_during_the_end_are_reported_and_not_repaired():
    world = tree("a", "b", child("t", restart=TEMPORARY))
    world.stop()

    assert world.dies("a") == []
    assert "child_ended a exit:1" in world.reports()
    assert world.settle() == ["ask b", "finished shutdown"]


def test_a_child_that_crashes_over_its_stop_keeps_its_reason():
    world = tree("a", "b")
    world.stop()
    del world.doomed["b"]
    world.dies("b", ExitReason(ReasonKind.SIGNAL, "SIGSEGV"))

    assert world.ends_of("b") == ["signal:SIGSEGV"]
    assert world.reports() == ["stop_failed b signal:SIGSEGV"]


def test_the_signal_that_asks_is_an_orderly_end():
    world = tree("a")
    world.stop()
    del world.doomed["a"]
    world.dies("a", ExitReason(ReasonKind.SIGNAL, "SIGTERM"))

    assert world.ends_of("a") == ["shutdown"]


# ---- significant children ----


@pytest.mark.parametrize("restart", [TRANSIENT, TEMPORARY])
def test_vector_17_any_significant_child_that_ends_by_itself_ends_the_supervisor(restart):
    world = tree("a", child("s", restart=restart, significant=True), auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)

    assert world.dies("s", NORMAL) == ["ask a"]
    assert world.settle() == ["finished shutdown:auto_shutdown"]
    assert world.finished is not None
    assert not gave_up(world.finished)


def test_an_insignificant_child_that_ends_ends_nothing_else():
    world = tree(
        child("s", restart=TRANSIENT, significant=True),
        child("t", restart=TRANSIENT),
        auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
    )

    assert world.dies("t", NORMAL) == []
    assert world.up() == ["s#1"]


def test_all_significant_children_must_be_down_for_good():
    world = tree(
        "a",
        child("s", restart=TRANSIENT, significant=True),
        child("t", restart=TRANSIENT, significant=True),
        child("u", restart=TEMPORARY, significant=True),
        auto_shutdown=AutoShutdown.ALL_SIGNIFICANT,
        backoff=Backoff(min_s=5.0),
    )
    world.dies("t")
    world.settle()
    world.dies("t")  # now it waits in a backoff

    assert world.dies("u") == []
    assert world.dies("s", NORMAL) == []
    world.wait(10.0)
    world.settle()
    assert world.dies("t", NORMAL) == ["ask a"]


def test_vector_18_significance_that_can_have_no_effect_is_refused():
    with pytest.raises(ConfigError, match="permanent"):
        VirtualTree(SupervisorSpec((child("a", significant=True),), auto_shutdown=AutoShutdown.ANY_SIGNIFICANT))
    with pytest.raises(ConfigError, match="auto_shutdown"):
        VirtualTree(SupervisorSpec((child("a", significant=True, restart=TRANSIENT),)))


# ---- hangs, and news of the past ----


def test_vector_19_a_silent_child_is_killed_first_and_restarted_when_it_is_gone():
    world = tree("a")

    assert world.is_silent("a") == ["kill a"]
    assert world.states() == {"a": ChildState.STOPPING}
    assert world.is_silent("a") == []
    assert world.dies("a") == ["spawn a#2"]
    assert world.ends_of("a") == ["heartbeat_lost"]
    assert world.reports() == ["child_ended a heartbeat_lost"]


def test_vector_20_each_life_ends_with_one_announcement_for_its_monitors():
    world = tree("a", intensity=(20, 5.0))
    for reason in (CRASH, NORMAL, KILLED):
        world.dies("a", reason)
        world.settle()
    world.stop()
    world.settle()

    assert world.ends_of("a") == ["exit:1", "normal", "signal:SIGKILL", "shutdown"]


def test_vector_21_a_supervisor_never_ends_before_its_children():
    world = pool(3)
    world.stop()
    world.dies("w-0")
    world.dies("w-2")

    assert world.finished is None
    assert world.dies("w-1") == ["finished shutdown"]


def test_a_silent_child_that_is_starting_is_left_to_its_start_timeout():
    world = tree("a")
    world.dies("a")

    assert world.is_silent("a") == []


def test_a_restart_that_times_out_is_killed_and_tried_again():
    world = tree(child("a", start_timeout_s=2.0))
    world.dies("a")

    assert world.wait(2.0) == ["kill a"]
    assert world.feed(Ready("a", 2)) == []
    assert world.dies("a") == ["spawn a#3"]
    assert world.ends_of("a")[-1] == "start_timeout"


def test_news_of_former_lives_and_strangers_change_nothing():
    world = tree("a")
    world.dies("a")
    before = world.core.children()

    for stale in (Ready("a", 1), Exited("a", 1, CRASH), Overdue("a", 1), Ready("x", 1), Exited("a", 3, CRASH), Tick()):
        assert world.feed(stale) == []
    assert world.core.children() == before
    assert world.settle() == []
    assert world.feed(Ready("a", 2)) == []


def test_a_child_stopped_while_it_is_being_killed_is_not_restarted():
    world = tree("a", "b")
    world.is_silent("b")

    assert world.stop() == []
    assert world.dies("b") == ["ask a"]
    assert world.ends_of("b") == ["heartbeat_lost"]


def test_independent_restarts_go_on_beside_each_other():
    world = tree("a", "b", backoff=Backoff(min_s=8.0, max_s=8.0))
    world.dies("a")
    world.settle()
    world.dies("a")

    assert world.dies("b") == ["spawn b#2"]
    assert world.states() == {"a": ChildState.BACKOFF, "b": ChildState.STARTING}


# ---- looking at it ----


def test_which_children_shows_every_child_in_start_order():
    world = tree("a", child("s", kind=ChildKind.SUPERVISOR, shutdown_s=None))
    world.dies("a")
    world.settle()
    first, second = world.core.children()

    assert (first.id, first.incarnation, first.state, first.restarts, first.reason) == (
        "a", 2, ChildState.RUNNING, 1, CRASH,
    )  # fmt: skip
    assert (second.id, second.restarts, second.reason) == ("s", 0, None)
    assert second.spec.kind is ChildKind.SUPERVISOR


def test_counts_are_those_of_count_children():
    world = tree("a", child("t", restart=TRANSIENT), child("s", kind=ChildKind.SUPERVISOR, shutdown_s=None))
    world.dies("t", NORMAL)
    counts = world.core.counts()

    assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (3, 2, 1, 2)


def test_a_move_that_the_table_does_not_have_is_refused():
    world = tree("a")
    running = world.core._children.get("a")

    with pytest.raises(InvalidTransition, match="running -> starting"):
        running.start(world.now)
