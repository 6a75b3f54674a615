"""Shell: ``store.flush_scripts``: the store has forgotten the scripts that it was taught."""

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.stores import OnStore
from regrow.chaos.store_door import StoreDoor


class StoreFlushScripts(OnStore, frozen=True, tag="store.flush_scripts"):
    """SCRIPT FLUSH: whoever calls a script by its name is told that there is none, and has to send it again."""

    def strike(self, blow: Blow) -> str:
        """All of them."""
        with StoreDoor(self.server(blow).url) as door:
            door.flush_scripts()
        return "all scripts forgotten"
