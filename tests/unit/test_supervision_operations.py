"""What people and actors ask of a supervisor while it runs."""

import pytest

from regrow.runtime.spec import AutoShutdown, Backoff, ChildState, Intensity, Restart, Strategy, SupervisorSpec
from regrow.runtime.stimuli import (
    Answered,
    Begin,
    DeleteChild,
    Resize,
    Respecified,
    Respecify,
    RestartChild,
    StartChild,
    TerminateChild,
)
from support.virtual_tree import CRASH, NORMAL, VirtualTree, child

NO_BACKOFF = Backoff(min_s=0.0, give_up_after=1_000_000)
LONG_BACKOFF = Backoff(min_s=9.0)


def tree(*children, backoff=NO_BACKOFF, **fields):
    specs = tuple(child(one) if isinstance(one, str) else one for one in children)
    world = VirtualTree(SupervisorSpec(specs, backoff=backoff, **fields))
    world.begin()
    return world


def pool(size, *, backoff=NO_BACKOFF, intensity=Intensity(), per_child=0, max_size=8, **fields):  # noqa: B008
    spec = SupervisorSpec(
        pool=child("w", **fields),
        size=size,
        max_size=max_size,
        backoff=backoff,
        intensity=intensity,
        pool_intensity_per_child=per_child,
    )
    world = VirtualTree(spec)
    world.begin()
    return world


def in_backoff():
    world = tree("a", backoff=LONG_BACKOFF)
    world.dies("a")
    assert world.states() == {"a": ChildState.BACKOFF}
    return world


def ended():
    world = tree(child("a", restart=Restart.TRANSIENT), "b")
    world.dies("a", NORMAL)
    return world


# ---- start ----


def test_a_started_child_is_answered_when_it_is_ready():
    world = tree("a")

    assert world.feed(StartChild(1, child("b"))) == ["spawn b#1"]
    assert world.core.pending_operation == StartChild(1, child("b"))
    assert world.becomes_ready("b") == ["answered 1"]
    assert world.core.pending_operation is None
    assert world.stop() == ["ask b"]


def test_a_started_child_is_supervised_from_then_on():
    world = tree()
    world.feed(StartChild(1, child("b")))
    world.settle()

    assert world.dies("b") == ["spawn b#2"]


def test_a_start_that_fails_is_answered_and_leaves_nothing_behind():
    world = tree("a")
    world.feed(StartChild(1, child("b")))

    assert world.dies("b") == ["answered 1 start_failed"]
    assert list(world.states()) == ["a"]
    assert world.reports() == ["start_failed b exit:1"]
    assert Answered(1, world.log[-1].error, "exit:1") == world.log[-1]


def test_a_start_that_takes_too_long_fails():
    world = tree()
    world.feed(StartChild(1, child("b", start_timeout_s=2.0)))

    assert world.wait(2.0) == ["kill b"]
    assert world.dies("b") == ["answered 1 start_failed"]


@pytest.mark.parametrize(
    ("make", "answer"),
    [(lambda: tree("a"), "already_started"), (in_backoff, "already_started"), (ended, "already_present")],
)
def test_an_id_can_be_started_once(make, answer):
    assert make().feed(StartChild(1, child("a"))) == [f"answered 1 {answer}"]


def test_a_supervisor_takes_no_more_children_than_its_bound():
    world = tree("a", max_size=2)
    world.feed(StartChild(1, child("b")))
    world.settle()

    assert world.feed(StartChild(2, child("c"))) == ["answered 2 max_children"]


def test_a_spec_that_contradicts_itself_is_refused_with_the_reason():
    world = tree("a")

    assert world.feed(StartChild(1, child("no spaces"))) == ["answered 1 invalid_spec"]
    assert "letters" in world.log[-1].detail


def test_a_forgotten_ids_next_child_continues_its_incarnations():
    world = tree("a")
    for ticket in (1, 2):
        world.feed(StartChild(ticket, child("t", restart=Restart.TEMPORARY)))
        world.settle()
        world.dies("t", NORMAL)

    assert world.feed(StartChild(3, child("t"))) == ["spawn t#3"]
    assert world.core.children()[-1].restarts == 0


# ---- terminate, restart, delete ----


def test_a_terminated_child_stays_down_and_keeps_its_spec():
    world = tree("a", "b")

    assert world.feed(TerminateChild(1, "a")) == ["ask a"]
    assert world.dies("a") == ["answered 1"]
    assert world.states() == {"a": ChildState.EXITED, "b": ChildState.RUNNING}
    assert world.feed(TerminateChild(2, "a")) == ["answered 2"]
    assert world.core.budget.spent(world.now) == 0


def test_terminate_kills_when_the_grace_is_over():
    world = tree(child("a", shutdown_s=1.0))
    world.feed(TerminateChild(1, "a"))

    assert world.wait(1.0) == ["kill a"]
    assert world.dies("a") == ["answered 1"]


def test_a_terminated_temporary_child_is_forgotten():
    world = tree(child("t", restart=Restart.TEMPORARY))
    world.feed(TerminateChild(1, "t"))

    assert world.settle() == ["answered 1"]
    assert world.states() == {}


def test_terminate_calls_off_a_backoff():
    world = in_backoff()

    assert world.feed(TerminateChild(1, "a")) == ["answered 1"]
    assert world.states() == {"a": ChildState.EXITED}
    assert world.wait(60.0) == []


def test_vector_17_terminating_a_significant_child_ends_nothing_else():
    significant = child("s", restart=Restart.TRANSIENT, significant=True)
    world = tree("a", significant, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    world.feed(TerminateChild(1, "s"))

    assert world.settle() == ["answered 1"]
    assert world.up() == ["a#1"]


def test_an_ended_child_can_be_restarted():
    world = ended()

    assert world.feed(RestartChild(1, "a")) == ["spawn a#2"]
    assert world.becomes_ready("a") == ["answered 1"]


def test_a_restart_on_request_is_tried_once():
    world = ended()
    world.feed(RestartChild(1, "a"))

    assert world.dies("a") == ["answered 1 start_failed"]
    assert world.states()["a"] is ChildState.EXITED
    assert world.core.budget.spent(world.now) == 0


def test_a_restart_on_request_begins_a_new_crash_loop():
    world = in_backoff()
    world.feed(TerminateChild(1, "a"))
    world.feed(RestartChild(2, "a"))
    world.settle()
    world.wait(1.0)

    assert world.dies("a") == ["spawn a#3"]


@pytest.mark.parametrize("operation", [RestartChild, DeleteChild])
@pytest.mark.parametrize(("make", "answer"), [(lambda: tree("a"), "running"), (in_backoff, "restarting")])
def test_only_an_ended_child_can_be_restarted_or_deleted(operation, make, answer):
    assert make().feed(operation(1, "a")) == [f"answered 1 {answer}"]


@pytest.mark.parametrize("operation", [TerminateChild, RestartChild, DeleteChild])
def test_an_unknown_child_is_not_found(operation):
    assert tree("a").feed(operation(1, "x")) == ["answered 1 not_found"]


def test_a_deleted_child_is_forgotten():
    world = ended()

    assert world.feed(DeleteChild(1, "a")) == ["answered 1"]
    assert list(world.states()) == ["b"]


# ---- one at a time ----


def test_operations_wait_for_each_other_and_are_answered_in_order():
    world = tree("a")
    world.feed(StartChild(1, child("b")))

    assert world.feed(StartChild(2, child("c"))) == []
    assert world.feed(DeleteChild(3, "x")) == []
    assert world.becomes_ready("b") == ["answered 1", "spawn c#1"]
    assert world.becomes_ready("c") == ["answered 2", "answered 3 not_found"]


def test_operations_wait_for_the_initial_start():
    world = VirtualTree(SupervisorSpec((child("a"),)))
    world.feed(DeleteChild(1, "x"))

    assert world.feed(Begin()) == ["spawn a#1"]
    assert world.feed(TerminateChild(2, "a")) == []
    assert world.becomes_ready("a") == ["started", "answered 1 not_found", "ask a"]


def test_operations_wait_for_a_group_restart():
    world = tree("a", "b", strategy=Strategy.ONE_FOR_ALL)
    world.wait(1.0)
    world.dies("a")

    assert world.feed(TerminateChild(1, "b")) == []
    assert world.settle() == ["spawn a#2", "spawn b#2", "ask b", "answered 1"]


def test_operations_go_on_after_a_group_restart_that_forgot_a_temporary_child():
    world = tree("a", child("t", restart=Restart.TEMPORARY), strategy=Strategy.ONE_FOR_ALL)
    world.wait(1.0)
    world.dies("a")
    world.settle()

    assert world.feed(DeleteChild(1, "t")) == ["answered 1 not_found"]


def test_a_group_restart_waits_for_an_operation():
    world = tree("a", "b", strategy=Strategy.ONE_FOR_ALL)
    world.wait(1.0)
    world.feed(StartChild(1, child("c")))

    assert world.dies("a") == []
    assert world.becomes_ready("c") == ["answered 1", "ask c"]
    assert world.settle() == ["ask b", "spawn a#2", "spawn b#2", "spawn c#2"]


def test_a_failed_start_during_a_waiting_group_restart_is_the_askers_business():
    world = tree("a", "b", strategy=Strategy.ONE_FOR_ALL)
    world.wait(1.0)
    world.feed(StartChild(1, child("c")))
    world.dies("a")

    assert world.dies("c") == ["answered 1 start_failed", "ask b"]
    assert world.settle() == ["spawn a#2", "spawn b#2"]
    assert world.core.budget.spent(world.now) == 1


def test_a_single_restart_goes_on_beside_an_operation():
    world = tree("a")
    world.feed(StartChild(1, child("b")))

    assert world.dies("a") == ["spawn a#2"]


def test_a_stop_refuses_the_operation_under_way_and_all_that_wait():
    world = tree("a")
    world.feed(StartChild(1, child("b")))
    world.feed(DeleteChild(2, "x"))

    assert world.stop() == ["answered 1 stopping", "answered 2 stopping", "kill b"]
    assert world.feed(DeleteChild(3, "x")) == ["answered 3 stopping"]
    assert world.settle() == ["ask a", "finished shutdown"]
    assert world.feed(DeleteChild(4, "x")) == ["answered 4 stopping"]


# ---- pools ----


def test_a_growing_pool_starts_the_missing_numbers_and_answers_at_once():
    world = pool(1)

    assert world.feed(Resize(1, 3)) == ["spawn w-1#1", "spawn w-2#1", "answered 1"]
    assert world.settle() == []


def test_a_shrinking_pool_stops_the_highest_numbers_together_and_answers_when_they_are_gone():
    world = pool(3)

    assert world.feed(Resize(1, 1)) == ["ask w-1", "ask w-2"]
    assert world.dies("w-2") == []
    assert world.dies("w-1") == ["answered 1"]
    assert list(world.states()) == ["w-0"]


def test_a_pool_can_shrink_to_nothing_and_grow_again_under_new_incarnations():
    world = pool(1)
    world.feed(Resize(1, 0))
    world.settle()

    assert world.feed(Resize(2, 1)) == ["spawn w-0#2", "answered 2"]


def test_a_shrinking_pool_forgets_those_without_a_process_at_once():
    world = pool(2, backoff=LONG_BACKOFF)
    world.dies("w-1")

    assert world.feed(Resize(1, 1)) == ["answered 1"]
    assert world.wait(60.0) == []
    assert list(world.states()) == ["w-0"]


def test_other_children_of_a_pool_may_end_while_it_shrinks():
    world = pool(3, restart=Restart.TEMPORARY)
    world.feed(Resize(1, 2))

    assert world.dies("w-0") == []
    assert world.dies("w-2") == ["answered 1"]


def test_an_ended_transient_child_keeps_its_number_and_a_temporary_ones_is_filled_by_a_resize():
    transient, temporary = pool(2, restart=Restart.TRANSIENT), pool(2, restart=Restart.TEMPORARY)
    for world in (transient, temporary):
        world.dies("w-0", NORMAL)

    assert transient.feed(Resize(1, 2)) == ["answered 1"]
    assert temporary.feed(Resize(1, 2)) == ["spawn w-0#2", "answered 1"]


def test_a_new_temporary_child_of_a_pool_that_does_not_start_is_forgotten():
    world = pool(1, restart=Restart.TEMPORARY)
    world.feed(Resize(1, 2))

    assert world.dies("w-1") == []
    assert list(world.states()) == ["w-0"]


def test_a_new_permanent_child_of_a_pool_that_does_not_start_is_tried_again():
    world = pool(1)
    world.feed(Resize(1, 2))

    assert world.dies("w-1") == ["spawn w-1#2"]


def test_the_budget_follows_the_size():
    world = pool(1, intensity=Intensity(0, 10.0), per_child=1)
    world.feed(Resize(1, 3))
    world.settle()

    assert world.core.budget.intensity == Intensity(3, 10.0)


@pytest.mark.parametrize("size", [-1, 9])
def test_a_pool_keeps_within_its_bounds(size):
    assert pool(1).feed(Resize(1, size)) == ["answered 1 max_children"]


def test_a_pool_is_resized_and_a_list_is_added_to():
    assert pool(1).feed(StartChild(1, child("x"))) == ["answered 1 is_a_pool"]
    assert tree("a").feed(Resize(1, 2)) == ["answered 1 not_a_pool"]


def test_a_child_of_a_pool_can_be_terminated_and_restarted():
    world = pool(2)
    world.feed(TerminateChild(1, "w-0"))
    world.settle()

    assert world.up() == ["w-1#1"]
    assert world.feed(RestartChild(2, "w-0")) == ["spawn w-0#2"]
    assert world.dies("w-1", CRASH) == ["spawn w-1#2"]


# ---- what outlives the supervisor ----


def specs_told(world):
    return [effect.spec for effect in world.log if isinstance(effect, Respecified)]


def test_a_resized_pool_says_what_spec_it_is_to_come_back_with():
    world = pool(2)

    world.feed(Resize(1, 4))
    world.feed(Resize(2, 99))  # refused

    assert [spec.size for spec in specs_told(world)] == [4]
    assert [view.id for view in VirtualTree(specs_told(world)[0]).core.children()] == ["w-0", "w-1", "w-2", "w-3"]


def test_a_respecified_child_is_started_with_its_new_arguments_and_its_supervisor_has_a_new_spec():
    world = tree("a", "b")

    world.feed(Respecify("b", 1, b"new"))
    world.dies("b")

    assert [view.spec.arguments for view in world.core.children()] == [b"\x80", b"new"]
    assert [[one.arguments for one in spec.children] for spec in specs_told(world)] == [[b"\x80", b"new"]]
    assert world.log[-2].spec.arguments == b"new"


def test_the_same_arguments_again_are_no_change():
    world = tree("a")

    world.feed(Respecify("a", 1, b"new"))
    world.feed(Respecify("a", 1, b"new"))

    assert len(specs_told(world)) == 1


def test_a_life_that_is_over_has_no_say_in_the_arguments_of_the_next():
    world = tree("a")
    world.dies("a")

    world.feed(Respecify("a", 1, b"late"))
    world.feed(Respecify("nobody", 1, b"late"))

    assert world.core.children()[0].spec.arguments == b"\x80"
    assert not specs_told(world)


def test_what_an_operation_added_keeps_its_arguments_but_is_no_part_of_the_spec():
    world = tree(child("a", restart=Restart.TRANSIENT))
    world.dies("a", NORMAL)
    world.feed(DeleteChild(1, "a"))
    world.feed(StartChild(2, child("a")))  # by the name of one that the spec lists
    world.becomes_ready("a")

    world.feed(Respecify("a", 2, b"new"))

    assert world.core.children()[0].spec.arguments == b"new"
    assert not specs_told(world)
