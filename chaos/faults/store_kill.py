"""Shell: ``store.kill``: the store's server is gone at once; its actor ends with it, and both are started again."""

import signal

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.stores import OnStore
from regrow.chaos.lineage import send


class StoreKill(OnStore, frozen=True, tag="store.kill"):
    """SIGKILL to the server of the tree's own store."""

    def strike(self, blow: Blow) -> str:
        """Not to the actor that keeps it: for that there is ``kill`` with the role store."""
        server = self.server(blow)
        send(server.pid, server.started_at, signal.SIGKILL)
        return f"SIGKILL to the server, pid {server.pid}"
