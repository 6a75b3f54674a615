"""Values: the names of the service's events: what store, dispatcher, worker and gateway log.

A damaged frame is the runtime's ``Event.FRAME_DROPPED`` here too.
"""

from enum import StrEnum


class Event(StrEnum):
    """Every event that the service logs."""

    DISPATCHER_LOST = "dispatcher.lost"  # a worker has heard nothing for its window, and connects anew (silent_s)
    GATEWAY_ERROR = "gateway.error"  # a request met an error that nobody foresaw (route, exception)
    GATEWAY_LISTENING = "gateway.listening"  # requests are accepted (url)
    GATEWAY_STORE_SILENT = "gateway.store_silent"  # metrics went out without the store's (route)
    LEASES_DROPPED = "leases.dropped"  # a worker held what is no longer its own (worker, leases)
    LEASES_EXPIRED = "leases.expired"  # of the former incarnation, presented by nobody (leases)
    LEASES_INHERITED = "leases.inherited"  # taken over from a silent dispatcher (former, leases)
    MEMORY_PRESSURE = "memory.pressure"  # how short it is has changed (memory, state, used_bytes, budget_bytes)
    ORPHANS_KILLED = "orphans.killed"  # what a dead slot's task had left is killed (processes)
    RUN_UNDELIVERED = "run.undelivered"  # a connection took no more (worker, tasks)
    SEARCH_ENDED = "search.ended"  # the tasks were looked through for such as nobody has (tasks, queued, leased, condemned, took_s)
    SLOT_DOWN = "slot.down"  # its process ended (slot, slot_pid, reason)
    SLOT_OUTPUT = "slot.output"  # a line that user code printed (slot, line)
    SLOT_OUTPUT_DROPPED = "slot.output_dropped"  # user code printed more than is logged (slot, lines, size_bytes)
    SLOT_UP = "slot.up"  # it can run tasks (slot, slot_pid)
    STORE_FACTS = "store.facts"  # what the user's own store is, and promises (server, durability)
    STORE_FULL = "store.full"  # its server could not write to its disk: started again when there is room (directory)
    STORE_LOST = "store.lost"  # it does not answer the dispatcher (problem)
    STORE_READY = "store.ready"  # it answers the dispatcher, for the first time or again (leases, durability)
    STORE_STOPPED = "store.stopped"  # its server was stopped for too long, and is killed (server, stopped_s)
    TASK_SHED = "task.shed"  # it is killed for the memory that it has (task, attempt, worker, used_bytes)
    WORDS_LOST = "words.lost"  # messages to or from a worker were lost; it says Hello again (worker, said, heard)
    WORKER_ABANDONED = "worker.abandoned"  # suspended for a window, it kills and forgets all, and joins anew (silent_s, held, outcomes)
    WORKER_DRAINING = "worker.draining"  # it was asked to stop, and finishes what runs (held, drain_s)
    WORKER_JOINED = "worker.joined"  # registered (worker, slots, held, python, expected_python)
    WORKER_LEFT = "worker.left"  # took its leave with nothing in hand (worker, reason)
    WORKER_LOST = "worker.lost"  # ended or fell silent (worker, reason, leases)
    WORKER_REFUSED = "worker.refused"  # cannot work here (worker, reason)
    WORKER_WELCOME = "worker.welcome"  # the dispatcher has registered this worker (dispatcher)
