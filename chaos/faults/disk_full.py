"""Shell: ``disk.full``: the files of the tree's store cannot grow, as on a full disk.

It is a limit of file size (RLIMIT_FSIZE) on the server and on the actor that keeps it: a write beyond it fails with EFBIG where
a full disk says ENOSPC, and both are answered in the same way.  A store that promises ``always`` ends itself then, and its actor
finds no room and waits for it.  The actor's own limit is above what it ever writes by itself.
"""

import resource
from typing import Final

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.stores import OnStore
from regrow.chaos.limits import Limited, limit, limit_of
from regrow.chaos.undo import Undo

ACTOR_BYTES: Final = 4 * 1024 * 1024  # less than the room that the actor looks for, more than a log line


class DiskFull(OnStore, frozen=True, tag="disk.full"):
    """The store's files cannot grow any more."""

    def prepare(self, blow: Blow) -> tuple[Undo, ...]:
        """The limits that both have now."""
        return tuple(limit_of(one, resource.RLIMIT_FSIZE) for one in self._both(blow))

    def strike(self, blow: Blow) -> str:
        """The actor first: else it would start another server at once."""
        server, actor = self._both(blow)
        limit(actor, resource.RLIMIT_FSIZE, ACTOR_BYTES)
        limit(server, resource.RLIMIT_FSIZE, 0)
        return f"files of the store's server, pid {server.pid}, cannot grow"

    def _both(self, blow: Blow) -> tuple[Limited, Limited]:
        server = self.server(blow)
        return Limited(server.pid, server.started_at), Limited(server.actor_pid, server.actor_started_at)
