"""Core: where a claim's tasks go, as claim.lua deals them out."""

from regrow.actors.claims import Share
from regrow.actors.task import Digest, WorkerId
from regrow.actors.wire import BATCH_TASKS


class Places:
    """The room that a claim may fill: free places first, in turn over the shares; then time ahead, in turn."""

    def __init__(self, shares: list[Share], expected_s: dict[Digest, float]) -> None:
        self._workers: list[WorkerId] = [share.worker for share in shares]
        self._free = [share.free for share in shares]
        self._ahead_us = [int(share.ahead_s * 1e6) for share in shares]
        self._cost_us = {digest: max(1, int(run_s * 1e6)) for digest, run_s in expected_s.items()}
        self._total_free = sum(self._free)
        self._turn = -1
        may_go_ahead = bool(expected_s) and any(us > 0 for us in self._ahead_us)
        self.most = BATCH_TASKS if may_go_ahead else min(self._total_free, BATCH_TASKS)

    def place(self, digest: Digest) -> WorkerId | None:
        """Whom the next task is for; None: it fits nowhere."""
        if self._total_free > 0:
            self._total_free -= 1
            return self._next(self._free, 1)
        cost_us = self._cost_us.get(digest)
        return None if cost_us is None else self._next(self._ahead_us, cost_us)

    def _next(self, room: list[int], cost: int) -> WorkerId | None:
        for _ in room:
            self._turn = (self._turn + 1) % len(room)
            if room[self._turn] >= cost:
                room[self._turn] -= cost
                return self._workers[self._turn]
        return None
