"""Core: what must be true of a world between two events, and at its end, when nothing has been wrong for long.

- ``capacity``: no worker is given more than its slots and its window of short work, nor, in pull, more than it granted
- ``conservation``: a task is in one place of a dispatcher's table, and in one place of the store
- ``no_lost`` and ``liveness``: at the end every acknowledged task has ended
- ``tree_healthy``: at the end every child runs, every worker is registered, and nobody holds anything
"""

from typing import Final

from regrow.actors.placement import AHEAD_S
from regrow.actors.task import State, WorkerId
from regrow.actors.wire import Mode
from regrow.chaos.simulation.dispatcher import DispatcherProcess
from regrow.chaos.simulation.history import History, Violation, story
from regrow.chaos.simulation.store import ModelStore
from regrow.chaos.simulation.tree import Tree
from regrow.runtime.spec import ChildState

ROOM: Final = (
    3  # windows: of the free slots, of the work ahead, and for functions that turned out slower since they were claimed
)


def check_capacity(dispatcher: DispatcherProcess, highest: dict[WorkerId, int]) -> None:
    """``highest``: the most that each worker has ever granted, by its own word."""
    for seat in dispatcher.core.leases.seats.unchanged():
        mine = [lease for lease in seat.leases.values() if lease.task is not None]
        adopted = len(seat.leases) - len(mine)
        load_s = sum(lease.cost_s for lease in mine)
        if load_s > ROOM * AHEAD_S * seat.hello.slots and not adopted:
            text = f"{seat.hello.worker} has {len(mine)} leases worth {load_s:.3f} s in {seat.hello.slots} slots"
            raise Violation("capacity", text)
        if seat.hello.mode is Mode.PULL:
            most = highest.get(seat.hello.worker, 0)
            if len(mine) > most and not adopted:
                raise Violation("capacity", f"{seat.hello.worker} granted {most} and has {len(mine)} leases")


def check_tables(dispatchers: list[DispatcherProcess], trees: list[Tree]) -> None:
    """The cores' own invariants."""
    try:
        for dispatcher in dispatchers:
            dispatcher.core.leases.check()
        for tree in trees:
            for worker in tree.living():
                worker.core.check()
    except AssertionError as error:
        raise Violation("conservation", str(error)) from None


def check_store(store: ModelStore) -> None:
    """Each task in the queue, or scheduled, or under one lease, or ended."""
    leased = {task_id: owner for owner, leases in store.leases.items() for task_id in leases}
    if len(leased) != sum(map(len, store.leases.values())):
        raise Violation("conservation", "a task is under two leases")
    queued = set(store.queue)
    for task_id, record in store.tasks.items():
        places = (
            (task_id in queued and record.status is State.QUEUED) + (task_id in store.scheduled) + (task_id in leased)
        )
        is_open = record.status in (State.QUEUED, State.RUNNING)
        if places != is_open or (record.status is State.RUNNING) != (task_id in leased):
            raise Violation("conservation", f"task {task_id} is {record.status} and in {places} places of the store")


def check_end(store: ModelStore, trees: list[Tree], history: History) -> None:
    """Nothing was wrong for long, and nothing is left to be done."""
    for life in history.lives.values():
        if life.is_acknowledged and life.end is None:
            raise Violation("liveness", f"{story(life)} has not ended")
        if life.active:
            raise Violation("liveness", f"{story(life)} still runs at {life.active[0].place}")
    check_store(store)
    for tree in trees:
        _check_tree(tree)


def _check_tree(tree: Tree) -> None:
    for supervisor in (tree.root, tree.pool):
        if supervisor is None or not supervisor.is_alive:
            raise Violation("tree_healthy", f"{tree.name}: a supervisor is not there")
        for view in supervisor.core.children():
            if view.state is not ChildState.RUNNING:
                raise Violation("tree_healthy", f"{supervisor.name}/{view.id} is {view.state}")
    dispatcher = tree.dispatcher
    assert dispatcher is not None
    if not dispatcher.core.leases.is_empty():
        raise Violation("tree_healthy", f"{tree.name}: leases are left: {list(dispatcher.core.leases.where())[:5]}")
    registered = {seat.hello.name for seat in dispatcher.core.leases.seats.unchanged() if seat.is_open}
    for worker in tree.living():
        if worker.name not in registered:
            raise Violation("tree_healthy", f"{worker.name} is not registered")
        if worker.core.held or worker.core.unacknowledged:
            raise Violation("tree_healthy", f"{worker.name} holds {list(worker.core.held)[:5]}")
