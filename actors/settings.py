"""Values: one frozen Settings, made from flags, then REGROW_... environment, then defaults."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import msgspec

from regrow.actors.limits import Limits
from regrow.actors.wire import Mode
from regrow.runtime.endpoints import default_data_dir
from regrow.runtime.errors import ConfigError

Durability = Literal["always", "everysec"]
MIB = 1024 * 1024
TREE_BYTES = (
    170 * MIB
)  # what root, store, dispatcher, supervisor and gateway have of their own, when nothing runs (measured)
WORKER_BYTES = 22 * MIB  # one worker
SLOT_BYTES = 12 * MIB  # one slot
LEAST_TASK_BYTES = 32 * MIB  # a task may have as much in any case
LOOPBACK = ("127.0.0.1", "localhost", "::1")
RANGES = {
    "port": (0, 65535),
    "dispatcher_port": (0, 65535),
    "workers": (1, 1024),
    "slots": (1, 1024),
    "max_payload_bytes": (1, 512 * 1024 * 1024),  # the longest value that Redis keeps
    "max_queued": (1, 1_000_000_000),
    "max_inflight_bytes": (1024, 2**50),
    "memory_budget_bytes": (64 * 1024 * 1024, 2**50),
    "retention_s": (1, 10 * 366 * 24 * 3600),
    "drain_s": (0, 24 * 3600),
    "max_wall_s": (0.001, 10 * 366 * 24 * 3600),
    "max_cpu_s": (0.001, 10 * 366 * 24 * 3600),
    "max_memory_bytes": (1, 2**50),
    "max_output_bytes": (1, 2**40),
    "max_open_files": (1, 2**20),
    "max_file_bytes": (0, 2**50),
    "max_processes": (0, 2**20),
}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set. Durations are seconds (``_s``), sizes bytes (``_bytes``)."""

    mode: Mode = Mode.PUSH
    workers: int = 2  # workers in the tree's pool
    slots: int = 2  # tasks that one worker runs at once
    host: str = "127.0.0.1"  # of the gateway
    port: int = 8000  # of the gateway; 0 picks a free one
    dispatcher_host: str = "127.0.0.1"
    dispatcher_port: int = 5555  # of the dispatcher, in push and pull; 0 picks a free one
    redis_url: str = ""  # "" runs the embedded store
    data_dir: str = msgspec.field(default_factory=lambda: str(default_data_dir()))
    durability: Durability = "always"  # of the embedded store
    import_path: tuple[str, ...] = ()  # directories that user code may import from
    max_payload_bytes: int = 64 * 1024 * 1024  # of one function, one call's parameters, or one result
    max_queued: int = 1_000_000  # queued tasks above which submits are answered 429
    max_inflight_bytes: int = 256 * 1024 * 1024  # of bodies and results in the gateway, above which it answers 429
    memory_budget_bytes: int | None = None  # of the whole tree; None: what the machine or the cgroup has
    retention_s: float = 24 * 3600.0  # how long an ended task is kept
    drain_s: float = 10.0  # how long a stop waits for running tasks
    max_wall_s: float | None = None  # caps of limits, which hold also for tasks that ask for none; None: no cap
    max_cpu_s: float | None = None
    max_memory_bytes: int | None = None
    max_output_bytes: int | None = None
    max_open_files: int | None = None
    max_file_bytes: int | None = None
    max_processes: int | None = None
    allow_chaos: bool = False  # whether faults on purpose may be reported to this tree
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def checked(self) -> Self:
        """Itself, if it makes sense.  Raises ConfigError that names the flag and the fix."""
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if value is None:
                continue
            if not least <= value <= most:  # so said, because it refuses NaN too
                free = " (0 is a free port)" if name.endswith("port") else ""
                raise ConfigError(f"--{name.replace('_', '-')} {value}: use {least} to {most}{free}")
        if self.host not in LOOPBACK:
            raise ConfigError(
                f"--host {self.host}: regrow runs any code that it is sent and has no access tokens yet, so it listens on "
                "this machine only; use --host 127.0.0.1 and reach it through a tunnel (ssh -L 8000:127.0.0.1:8000 ...)"
            )
        if self.dispatcher_host not in LOOPBACK:
            raise ConfigError(
                f"REGROW_DISPATCHER_HOST {self.dispatcher_host}: workers are not authenticated yet, so the dispatcher listens "
                "on this machine only; use 127.0.0.1 and a tunnel"
            )
        for folder in self.import_path:
            if not Path(folder).is_dir():
                raise ConfigError(f"--import-path {folder}: there is no such directory")
        return self

    def caps(self) -> Limits:
        """What no task may have more of."""
        return Limits(**{name: getattr(self, f"max_{name}") for name in Limits.__struct_fields__})

    def most_memory_bytes(self, workers: int) -> int | None:
        """Of one task, so that none outgrows the whole budget alone between two looks; ``None`` without a budget."""
        if self.memory_budget_bytes is None:
            return None
        own_bytes = (TREE_BYTES if workers else 0) + max(workers, 1) * (WORKER_BYTES + self.slots * SLOT_BYTES)
        return max(self.memory_budget_bytes - own_bytes, LEAST_TASK_BYTES)


class GatewayArguments(msgspec.Struct, frozen=True):
    """What a gateway is told. ``listening_fd`` is an inherited listening socket; without it, it opens one itself."""

    settings: Settings
    listening_fd: int | None = None


def from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    """The settings named by REGROW_... variables, as plain values for ``build``.  Unknown names are left alone."""
    found: dict[str, object] = {}
    for field in msgspec.structs.fields(Settings):
        text = environ.get("REGROW_" + field.name.upper())
        if text is not None:
            found[field.name] = split_paths(text) if field.name == "import_path" else text
    return found


def split_paths(text: str) -> list[str]:
    """The directories named in an environment variable, separated as in PATH; an empty name is none."""
    return [path for path in text.split(os.pathsep) if path]


def build(environ: Mapping[str, str], **flags: object) -> Settings:
    """Settings from flags (``None`` means not given) over environment over defaults.  Raises ConfigError."""
    values = from_environment(environ) | {name: value for name, value in flags.items() if value is not None}
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"settings: {error}") from None
    return msgspec.structs.replace(
        settings,
        data_dir=_absolute(settings.data_dir),
        import_path=tuple(map(_absolute, settings.import_path)),
    ).checked()


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())
