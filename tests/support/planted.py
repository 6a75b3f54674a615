"""Bugs to be planted into the real cores (and the model's fences), each as a small change that a tired person could make."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from regrow.actors import wire
from regrow.actors.dispatch import Dispatch
from regrow.actors.effects import Death, Effect, GiveBack
from regrow.actors.leases import Leases
from regrow.actors.ledger import Ledger
from regrow.actors.placement import Seat
from regrow.actors.reception import Reception
from regrow.actors.records import Held
from regrow.actors.seats import Seats
from regrow.actors.slots import Answers, Slots
from regrow.actors.stimuli import Effect as DispatchEffect
from regrow.actors.stimuli import Send, WorkerSaid
from regrow.actors.talk import Talk
from regrow.actors.task import Move, Settlement, WorkerId
from regrow.chaos.simulation.store import ModelStore
from regrow.chaos.simulation.store_record import Record
from regrow.runtime.children import Child
from regrow.runtime.supervision import Supervision

Plant = Callable[[pytest.MonkeyPatch], None]


def _no(*_: object) -> bool:
    return False


def _nothing(*_: object) -> None:
    pass


def _no_effects(*_: object) -> list[Effect]:
    return []


def no_attempt_check(patch: pytest.MonkeyPatch) -> None:
    """The store takes an outcome of any attempt."""

    def is_ours(_: ModelStore, task: Record, dispatcher: str, settlement: Settlement) -> bool:
        return task.owner == dispatcher

    patch.setattr(ModelStore, "is_ours", is_ours)


def no_claim_series(patch: pytest.MonkeyPatch) -> None:
    """A claim that arrives after a later one takes tasks all the same, and nobody compares leases afterwards."""
    patch.setattr(Dispatch, "_read_leases", _nothing)
    patch.setattr(ModelStore, "is_outdated", staticmethod(_no))


def lost_requeue(patch: pytest.MonkeyPatch) -> None:
    """What a lost worker held is forgotten."""

    def lose(self: Leases, worker: WorkerId) -> int:
        self._outbox.pop(worker, None)
        return len(self.seats.remove(worker).leases)

    patch.setattr(Leases, "lose", lose)


def double_credit(patch: pytest.MonkeyPatch) -> None:
    """What a worker holds does not use its slots up."""
    patch.setattr(Seat, "free", lambda seat: seat.hello.slots if seat.is_open and seat.load_s < 1 else 0)


def double_grant(patch: pytest.MonkeyPatch) -> None:
    """A grant is added to the one before it."""
    listen = Reception._listen

    def adding(self: Reception, worker: WorkerId, seat: Seat | None, message: wire.FromWorker, now: float) -> None:
        before = seat.granted if seat is not None and isinstance(message, wire.Grant) else 0
        listen(self, worker, seat, message, now)
        if seat is not None:
            seat.granted += before

    patch.setattr(Reception, "_listen", adding)


def beat_not_kept(patch: pytest.MonkeyPatch) -> None:
    """The dispatcher hears a worker's beats, and does not renew its time."""
    hear = Reception.hear

    def forgetful(self: Reception, said: WorkerSaid, now: float) -> None:
        if isinstance(said.message, wire.Beat):
            beat, self._liveness.beat = self._liveness.beat, _nothing  # type: ignore[method-assign]
            hear(self, said, now)
            self._liveness.beat = beat  # type: ignore[method-assign]
        else:
            hear(self, said, now)

    patch.setattr(Reception, "hear", forgetful)


def pulse_not_kept(patch: pytest.MonkeyPatch) -> None:
    """The store does not note that a dispatcher lives."""
    beat = ModelStore.beat

    def forgetful(self: ModelStore, dispatcher: str) -> Any:
        last = self.beats.get(dispatcher, self.now_ms)
        pulse = beat(self, dispatcher)
        self.beats[dispatcher] = last
        return pulse

    patch.setattr(ModelStore, "beat", forgetful)


def adoption_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A new dispatcher takes nothing for a worker's own that it did not hand out itself."""
    present = Leases.present

    def strict(self: Leases, seat: Seat, names: Iterable[wire.Lease], now: float) -> list[wire.Lease]:
        orphans, self.orphans = self.orphans, {}
        strange = present(self, seat, names, now)
        self.orphans = orphans
        return strange

    patch.setattr(Leases, "present", strict)


def orphans_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A new dispatcher does not read what its former incarnation had."""
    store_back = Dispatch._store_back

    def blind(self: Dispatch, held: list[Held], now: float) -> None:
        store_back(self, held if self.reception.is_open else [], now)

    patch.setattr(Dispatch, "_store_back", blind)


def unread_queue_lost(patch: pytest.MonkeyPatch) -> None:
    """What a dead slot had not read counts as crashed with it."""
    exited = Slots.exited

    def careless(self: Slots, number: int, unread: list[int], answers: Answers, death: Death) -> list[Effect]:
        return exited(self, number, [], answers, death)

    patch.setattr(Slots, "exited", careless)


def early_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    """An outcome is acknowledged when it has come, and not when it is stored."""
    fold = Dispatch.fold

    def eager(self: Dispatch, happened: Iterable[Any], now: float) -> list[DispatchEffect]:
        happened = list(happened)
        effects = fold(self, happened, now)
        for said in happened:
            if isinstance(said, WorkerSaid) and isinstance(said.message, wire.Done):
                names = [wire.Lease(outcome.task_id, outcome.attempt) for outcome in said.message.outcomes]
                effects.append(Send(said.worker, wire.Ack(names)))
        return effects

    patch.setattr(Dispatch, "fold", eager)


def hang_forgiven(patch: pytest.MonkeyPatch) -> None:
    """A supervisor forgets to kill a silent child."""
    patch.setattr(Supervision, "_take_silence", _nothing)


def no_restart_after_silence(patch: pytest.MonkeyPatch) -> None:
    """A child that was killed for its silence counts as asked to end."""
    fence = Child.fence

    def mistaken(self: Child, verdict: Any) -> Any:
        self.is_asked = True
        return fence(self, verdict)

    patch.setattr(Child, "fence", mistaken)


def words_not_counted(patch: pytest.MonkeyPatch) -> None:
    """Nobody notices that a message was lost."""
    hears, beat = Talk.hears, Reception._beat

    def deaf(self: Talk, message: wire.ToWorker, *, is_welcome: bool) -> bool:
        hears(self, message, is_welcome=is_welcome)
        return False

    def trusting(self: Reception, worker: WorkerId, seat: Seat | None, message: wire.Beat, now: float) -> None:
        said = message if seat is None else msgspec.structs.replace(message, said=seat.heard)
        beat(self, worker, seat, said, now)

    patch.setattr(Talk, "hears", deaf)
    patch.setattr(Reception, "_beat", trusting)


def drop_unheeded(patch: pytest.MonkeyPatch) -> None:
    """A worker goes on with what is no longer its own."""
    patch.setattr(Slots, "drop", _no_effects)


def running_given_back(patch: pytest.MonkeyPatch) -> None:
    """A recall gives back what runs too."""
    recall = Slots.recall

    def generous(self: Slots, count: int) -> list[Effect]:
        effects = recall(self, count)
        running = [job.lease for _, job in self.running()]
        return [*effects, GiveBack(running[:1])] if running and self.is_draining else effects

    patch.setattr(Slots, "recall", generous)


def resent_twice(patch: pytest.MonkeyPatch) -> None:
    """Two Hellos in one round have the same task sent twice at once (found by this simulator)."""

    def resend(self: Leases, seat: Seat, names: Iterable[wire.Lease]) -> None:
        present = {(name.task_id, name.attempt) for name in names}
        for lease in [one for one in seat.leases.values() if (one.task_id, one.attempt) not in present]:
            if lease.task is not None:
                lease.is_resent = True
                self._outbox.setdefault(seat.hello.worker, []).append(lease.task)

    accept = Slots.accept

    def trusting(self: Slots, tasks: list[wire.TaskToRun]) -> list[Effect]:
        seen: set[tuple[str, int]] = set()
        effects: list[Effect] = []
        for task in tasks:
            is_second = (task.task_id, task.attempt) in seen
            seen.add((task.task_id, task.attempt))
            if is_second:
                self.held.pop((task.task_id, task.attempt), None)
            effects += accept(self, [task])
        return effects

    patch.setattr(Leases, "resend", resend)
    patch.setattr(Slots, "accept", trusting)


def doubtful_given_back(patch: pytest.MonkeyPatch) -> None:
    """What nobody presented after a dispatcher's restart counts as never started."""

    def expire(self: Leases) -> int:
        orphans, self.orphans = self.orphans, {}
        for held in orphans.values():
            self._owe(held, Move.GIVE_BACK)
        return len(orphans)

    patch.setattr(Leases, "expire_orphans", expire)


def settled_in_part(patch: pytest.MonkeyPatch) -> None:
    """The last ending of each batch is taken for written."""
    next_batch = Ledger.next_batch

    def short(self: Ledger) -> list[Settlement]:
        batch = next_batch(self)
        if len(batch) > 1:
            self._flying.pop((batch[-1].task_id, batch[-1].attempt))
            batch.pop()
        return batch

    patch.setattr(Ledger, "next_batch", short)


def room_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """A seat that was asked for, and changed, is not looked at again."""
    patch.setattr(Seats, "get", lambda self, worker: self.by_worker.get(worker))
