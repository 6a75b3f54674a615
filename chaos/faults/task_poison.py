"""Shell: ``task.poison``: tasks that kill whoever runs them."""

from regrow.chaos.faults.base import Blow, Count, Fault
from regrow.chaos.scene import Need


class TaskPoison(Fault, frozen=True, tag="task.poison"):
    """``count`` tasks of this ``kind`` come at once, beside all others of the workload."""

    needs = frozenset({Need.SUBMIT})
    kind: str = "poison"
    count: Count = 1

    def strike(self, blow: Blow) -> str:
        """They are part of the history, as all of its tasks."""
        assert blow.scene.submit is not None
        blow.scene.submit(self.kind, self.count)
        return f"{self.count} tasks of kind {self.kind}"
