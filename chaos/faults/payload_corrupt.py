"""Shell: ``payload.corrupt``: what the store keeps of a task has changed under it.  Such a task ends as ``corrupt_payload``."""

from typing import Final

from regrow.chaos.faults.base import Blow, Count
from regrow.chaos.faults.stores import OnStore
from regrow.chaos.lineage import NoVictim
from regrow.chaos.store_door import StoreDoor
from regrow.chaos.undo import StoreField, Undo

TASKS: Final = "{regrow}:task:*"
FIELD: Final = "params"
MOST_BYTES: Final = 64 * 1024  # of what is damaged, since the journal keeps a copy


class PayloadCorrupt(OnStore, frozen=True, tag="payload.corrupt"):
    """One bit of the parameters of ``count`` queued tasks is flipped, in the store."""

    count: Count = 1

    def prepare(self, blow: Blow) -> tuple[Undo, ...]:
        """Who is waiting now; what it was, for those that nobody has taken by then."""
        url = self.server(blow).url
        with StoreDoor(url) as door:
            found = sorted(door.records(TASKS, "status", "QUEUED"))
            chosen = blow.chance.sample(found, min(self.count, len(found)))
            whole = {key: door.field(key, FIELD) for key in chosen}
        undos = tuple(
            StoreField(url, key, FIELD, flipped(bytes_, blow), bytes_)
            for key, bytes_ in whole.items()
            if bytes_ and len(bytes_) <= MOST_BYTES
        )
        if not undos:
            raise NoVictim("no task is queued in the store, with parameters that can be damaged")
        return undos

    def strike(self, blow: Blow) -> str:
        """Where it is as it was."""
        hurt = 0
        for undo in blow.undos:
            assert isinstance(undo, StoreField)
            with StoreDoor(undo.url) as door:
                hurt += door.exchange(undo.key, FIELD, undo.whole, undo.damaged)
        if not hurt:
            raise NoVictim("the tasks that were to be damaged have been taken meanwhile")
        return f"parameters of {hurt} queued tasks damaged"


def flipped(whole: bytes, blow: Blow) -> bytes:
    """With one bit the other way round."""
    at = blow.chance.randrange(len(whole))
    return whole[:at] + bytes([whole[at] ^ 1 << blow.chance.randrange(8)]) + whole[at + 1 :]
