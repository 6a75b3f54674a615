"""Shell: faults to the store that the tree runs itself, and what is known of that."""

import msgspec

from regrow.chaos.faults.base import Blow, Fault
from regrow.chaos.lineage import NoVictim, is_below, start_time
from regrow.chaos.scene import Need


class Server(msgspec.Struct, frozen=True):
    """The store's server as it runs now, and the actor that keeps it."""

    url: str
    pid: int
    started_at: int
    actor_pid: int
    actor_started_at: int


class OnStore(Fault, frozen=True):
    """The base of those.  A store that somebody else runs is never touched."""

    needs = frozenset({Need.STORE})

    def server(self, blow: Blow) -> Server:
        """Raises NoVictim when none is running now."""
        node = blow.scene.store()
        if node is None or node.pid is None or not node.facts.get("server_pid"):
            raise NoVictim("the store is not running")
        pid = int(node.facts["server_pid"])
        server = Server(node.facts["url"], pid, start_time(pid), node.pid, start_time(node.pid))
        if not is_below(pid, node.pid) or not is_below(node.pid, blow.scene.read_tree().pid or 0):
            raise NoVictim(f"process {pid} is not the server of this tree's store")
        return server
