"""The dispatcher's core under random orders of messages, losses, restarts and outages: no task lost, none started twice.

``World`` holds the invariants: each lease of the store is in exactly one place of the core; a stored value is that of the
attempt and worker under lease; no attempt is started twice, and a task with a single attempt not at all again; no worker
has more than it has room for; and once the faults end, every task ends.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from regrow.actors import stimuli
from regrow.actors.task import Digest
from regrow.actors.wire import Lease, Mode
from support.dispatch_world import SLOTS, Player, World

FUNCTIONS = st.sampled_from([Digest("f"), Digest("g")])


class DispatchMachine(RuleBasedStateMachine):
    """One world; each rule is one thing that happens in it."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.join(Mode.PUSH)
        self.world.join(Mode.PULL)

    def some(self, data: st.DataObject, **wanted: bool) -> Player | None:
        """A worker that has what is wanted, if there is one."""
        found = [
            player
            for player in self.world.players.values()
            if all(bool(getattr(player, name)) is value for name, value in wanted.items())
        ]
        return data.draw(st.sampled_from(found)) if found else None

    @rule(digest=FUNCTIONS, limit=st.sampled_from([1, 2, 3]), count=st.integers(1, 6), is_heard=st.booleans())
    def submit(self, digest: Digest, limit: int, count: int, is_heard: bool) -> None:
        if len(self.world.queue) > 12:
            return
        for _ in range(count):
            self.world.submit(digest, limit)
        if is_heard:
            self.world.feed(stimuli.Woken())

    @rule(mode=st.sampled_from([Mode.PUSH, Mode.PULL]))
    def join(self, mode: Mode) -> None:
        if sum(player.is_alive for player in self.world.players.values()) < 3:
            self.world.join(mode)

    @rule(data=st.data())
    def speak(self, data: st.DataObject) -> None:
        if player := self.some(data, outbox=True, is_cut=False):
            self.world.speak(player)

    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        if player := self.some(data, inbox=True, is_alive=True):
            player.hear()

    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        player = self.some(data, waiting=True, is_alive=True)
        if player and len(player.running) < SLOTS:
            self.world.begin(player)

    @rule(data=st.data(), crash=st.booleans())
    def end(self, data: st.DataObject, crash: bool) -> None:
        if player := self.some(data, running=True, is_alive=True):
            self.world.end(player, crash=crash)

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        if player := self.some(data, done=True, is_alive=True):
            player.report(list(player.done.values()))

    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        if player := self.some(data, waiting=True, is_alive=True):
            key = list(player.waiting)[-1]
            del player.waiting[key]
            player.give_back([Lease(*key)])
            player.grant()

    @rule(data=st.data(), is_told=st.booleans())
    def die(self, data: st.DataObject, is_told: bool) -> None:
        if player := self.some(data, is_alive=True):
            self.world.die(player)
            if is_told:
                self.world.tell(player)

    @rule(data=st.data(), is_calm=st.booleans())
    def leave(self, data: st.DataObject, is_calm: bool) -> None:
        if is_calm:
            self.flow(rounds=2, works=False)
        if player := self.some(data, is_alive=True, is_cut=False):
            self.world.leave(player)

    @rule(data=st.data(), survive=st.integers(0, 2))
    def reconnect(self, data: st.DataObject, survive: int) -> None:
        if player := self.some(data, is_alive=True, is_cut=False):
            self.world.reconnect(player, survive)

    @rule(data=st.data(), at=st.integers(0, 5), is_said=st.booleans())
    def damage(self, data: st.DataObject, at: int, is_said: bool) -> None:
        player = self.some(data, outbox=True) if is_said else self.some(data, inbox=True, is_alive=True)
        if player:
            self.world.damage(player.outbox if is_said else player.inbox, at)

    @rule(data=st.data())
    def cut_off(self, data: st.DataObject) -> None:
        if player := self.some(data, is_alive=True):
            player.is_cut = not player.is_cut
            self.world.unkeep(player)

    @precondition(lambda self: self.world.requests)
    @rule()
    def answer(self) -> None:
        self.world.answer()

    @precondition(lambda self: self.world.requests)
    @rule(applied=st.booleans())
    def cut(self, applied: bool) -> None:
        self.world.cut(applied=applied)

    @rule(survive=st.integers(0, 3), applied=st.integers(0, 3))
    def restart(self, survive: int, applied: int) -> None:
        self.world.restart(survive, applied=applied)

    @rule(effects=st.integers(0, 4))
    def crash_between_effects(self, effects: int) -> None:
        """It dies after so many more of whatever it does, in the middle of what belongs together."""
        self.world.fuse = effects

    @rule(digest=FUNCTIONS, survive=st.integers(0, 3), applied=st.integers(0, 3))
    def crash_and_recover(self, digest: Digest, survive: int, applied: int) -> None:
        """What workers hold is adopted, and from then on nobody but they may end it."""
        self.submit(digest=digest, limit=2, count=2, is_heard=True)
        self.flow(rounds=2, works=False)
        self.world.restart(survive, applied=applied)
        self.world.recover()

    @rule(count=st.integers(1, 3))
    def haunt(self, count: int) -> None:
        self.world.haunt(count)

    @rule(seconds=st.sampled_from([0.01, 0.025, 1.0, 4.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule()
    def pulse(self) -> None:
        self.world.feed(stimuli.Pulsed(len(self.world.queue), self.world.silent()))

    @rule(rounds=st.integers(1, 4), works=st.booleans())
    def flow(self, rounds: int, works: bool) -> None:
        """A stretch without faults, so that a run gets somewhere."""
        for _ in range(rounds):
            while self.world.requests:
                self.world.answer()
            for player in list(self.world.players.values()):
                while player.outbox and not player.is_cut:
                    self.world.speak(player)
                while player.is_alive and player.inbox:
                    player.hear()
                self.work(player, ends=works)

    @rule(rounds=st.integers(1, 4))
    def flow_and_begin(self, rounds: int) -> None:
        """The same, and what has begun goes on."""
        self.flow(rounds=rounds, works=False)

    def work(self, player: Player, *, ends: bool) -> None:
        while player.is_alive and ends and player.running:
            self.world.end(player, crash=False)
        while player.is_alive and player.waiting and len(player.running) < SLOTS:
            self.world.begin(player)

    @invariant()
    def holds(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        self.world.heal()
        self.world.check()


TestDispatchMachine = DispatchMachine.TestCase
TestDispatchMachine.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
