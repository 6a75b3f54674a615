"""Shell: ``store.memory``: the store has no room for anything new."""

from typing import Annotated

import msgspec

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.stores import OnStore
from regrow.chaos.store_door import StoreDoor
from regrow.chaos.undo import StoreSetting, Undo


class StoreMemory(OnStore, frozen=True, tag="store.memory"):
    """CONFIG SET maxmemory to what is used now and ``spare_bytes``: what makes it larger is refused."""

    spare_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0

    def prepare(self, blow: Blow) -> tuple[Undo, ...]:
        """The limit that it has now."""
        url = self.server(blow).url
        with StoreDoor(url) as door:
            return (StoreSetting(url, "maxmemory", door.setting("maxmemory")),)

    def strike(self, blow: Blow) -> str:
        """As of what is used at this moment."""
        with StoreDoor(self.server(blow).url) as door:
            most_bytes = door.used_bytes() + self.spare_bytes
            door.set("maxmemory", str(most_bytes))
        return f"at most {most_bytes} bytes"
