"""Shell: ``start.fail``: actors that do not come up."""

from typing import Annotated

import msgspec

from regrow.chaos.fault import Role
from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.hooked import Hooked


class StartFail(Hooked, frozen=True, kw_only=True, tag="start.fail"):
    """The next ``times`` starts of an actor of this ``role`` fail, in a tree of our own.  Six in a row make its supervisor give up."""

    role: Role = Role.WORKER
    times: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1

    def files(self) -> dict[str, str]:
        """One is taken by each start that fails."""
        return {f"start/{self.role}.fail.{number:03}": "" for number in range(self.times)}

    def strike(self, blow: Blow) -> str:
        """From the next start on."""
        self.put_files(blow)
        return f"the next {self.times} starts of a {self.role} fail"
