"""Shell: the command-line flags that become Settings; one class per group of flags that commands share.

A flag that is not given stays ``None``, so that its default is written in one place: ``settings.Settings``.
"""

import os
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from regrow.actors.settings import Durability, Settings, build, split_paths
from regrow.actors.wire import Mode

Paths = Annotated[
    list[str] | None,
    Parameter(negative="", consume_multiple=False, env_var_split=lambda _hint, text, **_: split_paths(text)),
]
Port = Annotated[int | None, Parameter(name=["--port", "-p"])]
LogLevel = Literal["debug", "info", "warning", "error"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CommonFlags:
    """Every command that runs something has these."""

    log_level: LogLevel | None = None
    "least severity that is logged (default info)"
    drain_s: float | None = None
    "seconds that a stop waits for running tasks (default 10)"
    max_payload_bytes: int | None = None
    "limit of one function, one call's parameters or one result (default 64 MiB)"

    def settings(self, **more: object) -> Settings:
        """All flags, and ``more`` in their place, as Settings over the environment.  Raises ConfigError."""
        return build(os.environ, **{**asdict(self), **more})


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class StoreFlags:
    """Where tasks are kept."""

    redis_url: str | None = None
    "redis://, rediss:// or unix:// of your own Redis >= 6.2 or Valkey; without it an embedded store runs"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CodeFlags:
    """What user code may import."""

    import_path: Paths = None
    "directory that user code may import from; repeatable"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MemoryFlags:
    """What a worker and all that it runs with may have."""

    memory_budget_bytes: int | None = None
    "of all processes together; near it tasks wait, then the newest large one is killed (default what the machine has)"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CapFlags:
    """What one attempt of any task may use; no cap where none is given."""

    max_wall_s: float | None = None
    "seconds"
    max_cpu_s: float | None = None
    "seconds on the CPU, with all that it starts"
    max_memory_bytes: int | None = None
    "of data, with all that it starts"
    max_output_bytes: int | None = None
    "of its pickled value, and of what it prints"
    max_open_files: int | None = None
    "descriptors"
    max_file_bytes: int | None = None
    "of any one file that it writes"
    max_processes: int | None = None
    "alive at once"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class GatewayFlags:
    """The HTTP door."""

    host: str | None = None
    "address that the gateway listens on (default 127.0.0.1)"
    port: Port = None
    "port of the gateway; 0 picks a free one (default 8000)"
    max_queued: int | None = None
    "queued tasks above which submits are answered 429 (default 1,000,000)"
    max_inflight_bytes: int | None = None
    "of bodies and results that are on their way through it, above which it answers 429 (default 256 MiB)"
    retention_s: float | None = None
    "seconds that an ended task is kept (default a day)"
    allow_chaos: Annotated[bool | None, Parameter(negative="")] = None
    "take note of faults that are injected here on purpose (default no)"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TreeFlags(CommonFlags, StoreFlags, CodeFlags, GatewayFlags, MemoryFlags, CapFlags):
    """The whole tree."""

    mode: Annotated[Mode | None, Parameter(name=["--mode", "-m"])] = None
    "push: the dispatcher fills workers; pull: workers ask; local: as push, without a TCP port (default push)"
    workers: int | None = None
    "workers in the pool (default 2)"
    slots: Annotated[int | None, Parameter(name=["--slots", "-w"])] = None
    "tasks that one worker runs at once (default 2)"
    dispatcher_port: int | None = None
    "where workers of other commands join; 0 picks a free one (default 5555)"
    data_dir: str | None = None
    "the store's files, endpoints.json and the lock (default $XDG_STATE_HOME/regrow)"
    durability: Durability | None = None
    "of the embedded store: always flushes before every answer; everysec may lose a second (default always)"
