"""Shell: ``start.slow``: actors that take long to come up."""

from regrow.chaos.fault import Role
from regrow.chaos.faults.base import Blow, Seconds
from regrow.chaos.faults.hooked import Hooked


class StartSlow(Hooked, frozen=True, kw_only=True, tag="start.slow"):
    """Every start of an actor of this ``role`` takes ``delay_s`` longer, in a tree of our own."""

    role: Role = Role.WORKER
    delay_s: Seconds = 2.0

    def files(self) -> dict[str, str]:
        """Read by each start."""
        return {f"start/{self.role}.slow": str(self.delay_s)}

    def strike(self, blow: Blow) -> str:
        """From the next start on."""
        self.put_files(blow)
        return f"starts of a {self.role} take {self.delay_s:g} s longer"
