"""Shell: ``store.disconnect``: everybody has to connect to the store again, at once."""

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.stores import OnStore
from regrow.chaos.store_door import StoreDoor


class StoreDisconnect(OnStore, frozen=True, tag="store.disconnect"):
    """CLIENT KILL: the store closes the connections of all its clients."""

    def strike(self, blow: Blow) -> str:
        """Also those that wait for news."""
        with StoreDoor(self.server(blow).url) as door:
            return f"{door.disconnect()} connections closed"
