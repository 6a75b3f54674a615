"""Random lives of random supervisors: what must be true whatever happens.

The virtual tree checks, at each effect, that no child lives twice, that nothing starts after the end began, that groups
start and stop in order, that a temporary child is not started again, that each ticket is answered once and each life's
end announced once, and that a supervisor outlives its children. The machine adds the restart window and coming to rest.
"""

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from regrow.runtime.spec import (
    AutoShutdown,
    Backoff,
    ChildState,
    Intensity,
    Restart,
    Strategy,
    SupervisorSpec,
)
from regrow.runtime.stimuli import (
    Begin,
    DeleteChild,
    Exited,
    Overdue,
    Ready,
    Resize,
    RestartChild,
    StartChild,
    TerminateChild,
)
from regrow.runtime.supervision import Phase
from support.virtual_tree import CRASH, KILLED, NORMAL, VirtualTree, child, promise

LIVE = {ChildState.STARTING, ChildState.RUNNING, ChildState.STOPPING}
WITHIN_S = 5.0
graces = some.sampled_from([0.0, 0.5, None])
reasons = some.sampled_from([CRASH, NORMAL, KILLED])
backoffs = some.sampled_from([Backoff(), Backoff(min_s=0.0, give_up_after=1000), Backoff(min_s=1.0, give_up_after=3)])
budgets = some.sampled_from([Intensity(0, WITHIN_S), Intensity(3, WITHIN_S), Intensity(50, WITHIN_S)])
places = some.integers(0, 20)


@some.composite
def child_specs(draw, name, auto_shutdown):
    restart = draw(some.sampled_from([Restart.PERMANENT, Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY]))
    can_matter = restart is not Restart.PERMANENT and auto_shutdown is not AutoShutdown.NEVER
    return child(
        name,
        restart=restart,
        significant=can_matter and draw(some.booleans()),
        shutdown_s=draw(graces),
        start_timeout_s=draw(some.sampled_from([1.0, 4.0])),
    )


@some.composite
def supervisor_specs(draw):
    auto_shutdown = draw(some.sampled_from([AutoShutdown.NEVER, *AutoShutdown]))
    shared = {"auto_shutdown": auto_shutdown, "intensity": draw(budgets), "backoff": draw(backoffs), "max_size": 6}
    if draw(some.integers(0, 3)) == 0:
        template = draw(child_specs("w", auto_shutdown))
        return SupervisorSpec(
            pool=template, size=draw(some.sampled_from([3, 2, 0])), pool_intensity_per_child=1, **shared
        )
    names = "abcd"[: draw(some.sampled_from([3, 4, 2, 0]))]
    children = tuple(draw(child_specs(name, auto_shutdown)) for name in names)
    return SupervisorSpec(children, strategy=draw(some.sampled_from(Strategy)), **shared)


class Lives(RuleBasedStateMachine):
    """One supervisor, from its beginning to its end."""

    @initialize(
        spec=supervisor_specs(), jitter=some.floats(0.0, 0.99), is_smooth=some.sampled_from([True, True, False])
    )
    def begin(self, spec, jitter, is_smooth):
        self.spec = spec
        self.world = VirtualTree(spec, lambda: jitter)
        self.restarts = deque()
        self.ticket = 0
        self.world.feed(Begin())
        if is_smooth:
            self.world.settle()

    # ---- what may happen ----

    def one_of(self, names, place):
        return sorted(names)[place % len(names)]

    @precondition(lambda self: self.world.live.keys() - self.world.ready)
    @rule(place=places)
    def one_becomes_ready(self, place):
        self.world.becomes_ready(self.one_of(self.world.live.keys() - self.world.ready, place))

    @precondition(lambda self: self.world.live)
    @rule(place=places, reason=reasons)
    def one_dies(self, place, reason):
        self.one_dies_now(self.one_of(self.world.live, place), reason)

    def one_dies_now(self, name, reason):
        is_restart = self.is_own_death(name, reason)
        allowed = self.world.core.budget.intensity.restarts
        self.world.dies(name, reason)
        if is_restart and self.world.core.phase in (Phase.BEGINNING, Phase.UP):
            self.restarts.append(self.world.now)
            recent = sum(at >= self.world.now - WITHIN_S for at in self.restarts)
            promise(recent <= allowed, f"{recent} restarts in {WITHIN_S} s, {allowed} allowed")

    @precondition(lambda self: self.world.ready)
    @rule(place=places)
    def one_crashes(self, place):
        self.one_dies_now(self.one_of(self.world.ready, place), CRASH)

    def is_own_death(self, name, reason):
        """Whether this death must cost a restart, if the supervisor goes on: told from outside, in the clear cases.

        In a group, only a death out of a quiet life is clear.
        """
        world, views = self.world, self.world.core.children()
        spec = next(view.spec for view in views if view.id == name)
        if spec.restart is Restart.TEMPORARY or name in self.in_somebodys_hands():
            return False
        if name in world.doomed and name not in world.fenced:
            return False
        is_quiet = all(view.state in (ChildState.RUNNING, ChildState.EXITED) for view in views)
        if self.spec.strategy is not Strategy.ONE_FOR_ONE and not is_quiet:
            return False
        is_failure = name in world.fenced or name not in world.ready or not reason.is_normal
        return is_failure or spec.restart is Restart.PERMANENT

    def in_somebodys_hands(self):
        """The children that the operation under way is about: their ends are its business."""
        match self.world.core.pending_operation:
            case StartChild(spec=spec):
                return {spec.id}
            case RestartChild(child=name) | TerminateChild(child=name):
                return {name}
            case Resize():
                return set(self.world.live)
            case _:
                return set()

    @precondition(lambda self: self.world.doomed)
    @rule(place=places)
    def one_obeys(self, place):
        self.world.dies(self.one_of(self.world.doomed, place))

    @precondition(lambda self: self.world.live)
    @rule(place=places)
    def one_falls_silent(self, place):
        self.world.is_silent(self.one_of(self.world.live, place))

    @rule(seconds=some.sampled_from([0.0, 0.05, 0.3, 1.0, 2.5, 5.0, 11.0]))
    def time_passes(self, seconds):
        self.world.wait(seconds)

    @rule()
    def all_do_their_duty(self):
        self.world.settle()

    @rule(name=some.sampled_from(["a", "c", "x", "w-0", "w-1"]), kind=some.sampled_from("TRD"))
    def somebody_asks_about_a_child(self, name, kind):
        self.ticket += 1
        operation = {"T": TerminateChild, "R": RestartChild, "D": DeleteChild}[kind]
        self.world.feed(operation(self.ticket, name))

    @rule(data=some.data(), name=some.sampled_from("axyz"))
    def somebody_starts_a_child(self, data, name):
        self.ticket += 1
        self.world.feed(StartChild(self.ticket, data.draw(child_specs(name, self.spec.auto_shutdown))))

    @rule(size=some.integers(0, 7))
    def somebody_resizes(self, size):
        self.ticket += 1
        self.world.feed(Resize(self.ticket, size))

    @precondition(lambda self: self.world.ends)
    @rule(place=places, kind=some.sampled_from("REO"))
    def news_of_a_former_life_arrives(self, place, kind):
        name, incarnation = self.one_of(self.world.ends, place)
        stale = {
            "R": Ready(name, incarnation),
            "E": Exited(name, incarnation, CRASH),
            "O": Overdue(name, incarnation),
        }[kind]
        promise(self.world.feed(stale) == [], f"{stale} changed something")

    @rule(is_meant=some.integers(0, 5))
    def the_operator_stops_it(self, is_meant):
        if is_meant == 0:
            self.world.stop()

    # ---- what must be true ----

    @invariant()
    def the_table_and_the_world_agree(self):
        world = self.world
        living = {view.id: view.incarnation for view in world.core.children() if view.state in LIVE}
        promise(living == world.live, f"table {living}, world {world.live}")
        running = {view.id for view in world.core.children() if view.state is ChildState.RUNNING}
        promise(running == world.ready - set(world.doomed), "the table has others ready than the world")

    def teardown(self):
        if not hasattr(self, "world"):
            return
        world = self.world
        world.run()
        idle = {ChildState.RUNNING, ChildState.EXITED, ChildState.FATAL}
        promise(set(world.states().values()) <= idle, f"not at rest: {world.states()}")
        promise(world.core.pending_operation is None, "an operation is left")
        promise(set(world.tickets) == world.asked_tickets, "tickets are left")
        world.stop()
        world.run()
        promise(world.finished is not None, "never finished")
        promise(world.states().keys().isdisjoint(world.live), "finished with living children")


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    lives=some.lists(some.tuples(some.integers(0, 3), some.booleans(), some.sampled_from("ab")), max_size=14),
    restarts=some.integers(0, 4),
    strategy=some.sampled_from(Strategy),
)
def test_a_supervisor_gives_up_at_the_first_restart_too_many_and_no_earlier(lives, restarts, strategy):
    spec = SupervisorSpec(
        (child("a"), child("b")),
        strategy=strategy,
        intensity=Intensity(restarts, WITHIN_S),
        backoff=Backoff(min_s=0.0, give_up_after=1000),
    )
    world, deaths = VirtualTree(spec), []
    world.begin()

    for gap, starts_well, name in lives:
        world.wait(gap)
        for _ in range(1 if starts_well else 2):  # the second time it dies while it starts again
            if world.core.phase is not Phase.UP:
                return
            victim = name if name in world.ready else next(iter(world.live))
            deaths.append(world.now)
            world.dies(victim)
            while world.doomed:
                world.dies(next(iter(world.doomed)))
            is_too_much = sum(at >= world.now - WITHIN_S for at in deaths) > restarts
            assert (world.finished is not None) == is_too_much
        world.settle()


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=300, stateful_step_count=40, derandomize=True, deadline=None)
