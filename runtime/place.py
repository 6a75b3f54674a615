"""Shell: the two flags by which a command finds a running tree."""

from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter

from regrow.runtime import endpoints


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Place:
    """A gateway's URL, or the data directory of the tree whose gateway it is."""

    url: str = ""
    "the gateway; else the one of the tree that runs on the data directory"
    data_dir: Path | None = None
    "data directory of the running tree"

    def gateway(self) -> str:
        """The gateway's URL.  Raises ConfigError if no tree is found."""
        if self.url:
            return self.url.rstrip("/")
        return endpoints.find(self.data_dir or endpoints.default_data_dir())["gateway"]
