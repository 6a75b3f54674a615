"""Shell: ``store.stop``: the store hangs with its sockets open.  After about 3 s its actor kills it and starts another."""

import signal

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.stores import OnStore
from regrow.chaos.lineage import send
from regrow.chaos.undo import Continue, Undo


class StoreStop(OnStore, frozen=True, tag="store.stop"):
    """SIGSTOP to the server of the tree's own store."""

    def prepare(self, blow: Blow) -> tuple[Undo, ...]:
        """SIGCONT."""
        server = self.server(blow)
        return (Continue(server.pid, server.started_at),)

    def strike(self, blow: Blow) -> str:
        """To the very one that the undo is about, or to none."""
        server = self.server(blow)
        send(server.pid, server.started_at, signal.SIGSTOP)
        return f"SIGSTOP to the server, pid {server.pid}"
