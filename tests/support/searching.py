"""A dispatcher's search, step by step, on a real store: the core that decides, the store's thread's calls, and no clock."""

from collections.abc import Callable

from regrow.actors import stimuli
from regrow.actors.records import DispatcherRecord, Pulse
from regrow.actors.search import Search
from regrow.actors.stimuli import Effect, Report
from regrow.actors.store import Store
from regrow.actors.suspects import Signs

WINDOW_S = 3.0


def pulse(store: Store, dispatcher: str = "a") -> Pulse:
    """One sign of life, and what the store says to it."""
    return store.beat(DispatcherRecord(dispatcher, "host", 1, "push", "ipc://x", 1.0), [])


class Searcher:
    """One dispatcher's search."""

    def __init__(self, store: Store, dispatcher: str = "a") -> None:
        self.store, self.dispatcher = store, dispatcher
        self.effects: list[Effect] = []
        self.core = Search(self.effects, WINDOW_S)
        self.core.store_back(0.0)
        self.now = WINDOW_S
        self.steps: list[Effect] = []
        self.reports: list[Report] = []

    def begin(self, signs: Signs) -> None:
        """These signs were seen."""
        self.core.begin(signs, self.now)

    def step(self) -> bool:
        """One exchange with the store; whether there was one."""
        at = self.core.next_deadline()
        if at is None:
            return False
        self.now = max(self.now, at)
        self.core.tick(self.now)
        self.steps += self.effects
        (effect,) = self.effects
        self.effects.clear()
        self.core.answered(self.call(effect), self.now)
        self.reports += [it for it in self.effects if isinstance(it, Report)]
        self.effects.clear()
        return True

    def call(self, effect: Effect) -> stimuli.Found:
        """As the store's thread makes it."""
        match effect:
            case stimuli.Scan(cursor):
                return stimuli.Scanned(self.store.scan(cursor))
            case stimuli.Walk(position):
                return stimuli.Walked(self.store.walk(position))
            case stimuli.Mend(suspects, close):
                return stimuli.PutBack(self.store.mend(self.dispatcher, suspects, close))
        raise AssertionError(effect)

    def run(self, between: Callable[[], None] = lambda: None) -> Report:
        """Step by step to the end, with something else between the steps; what is told then."""
        while self.step():
            between()
        return self.reports[-1]


def searched(store: Store, dispatcher: str = "a", signs: Signs | None = None) -> dict[str, str | int | float]:
    """One whole search, whatever has led to it: what it told."""
    searcher = Searcher(store, dispatcher)
    searcher.begin(signs or Signs(0, 0))
    return searcher.run().fields
