"""Values: what a supervisor is told about its children, and what it says about their ends.

The words are those of Erlang/OTP's supervisor. All durations are float seconds.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from regrow.runtime.errors import ConfigError


class Restart(StrEnum):
    """When a child that ended by itself is started again."""

    PERMANENT = "permanent"  # always
    TRANSIENT = "transient"  # only after an abnormal end
    TEMPORARY = "temporary"  # never; its spec is forgotten when it ends


class Strategy(StrEnum):
    """Which siblings are restarted along with a child."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class AutoShutdown(StrEnum):
    """Whether a supervisor ends by itself when significant children have ended."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class ChildKind(StrEnum):
    """A supervisor-type child must be given unlimited time to stop, or its own children could be orphaned."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


class ChildState(StrEnum):
    """Where a child stands (supervisord's words)."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    EXITED = "exited"
    FATAL = "fatal"


class ReasonKind(StrEnum):
    """Why an actor ended, or is said to have ended."""

    NORMAL = "normal"
    SHUTDOWN = "shutdown"
    EXIT = "exit"  # detail: the exit code
    SIGNAL = "signal"  # detail: the signal's name
    EXCEPTION = "exception"  # detail: the exception's type
    HEARTBEAT_LOST = "heartbeat_lost"
    START_TIMEOUT = "start_timeout"
    NO_PROCESS = "noproc"  # a monitor's target was already dead


class ExitReason(msgspec.Struct, frozen=True):
    """The end of an actor. ``note`` is for people: a message or traceback text."""

    kind: ReasonKind
    detail: str = ""
    note: str = ""

    @property
    def is_normal(self) -> bool:
        """Normal in OTP's sense: ``normal`` and ``shutdown``; everything else is abnormal."""
        return self.kind in (ReasonKind.NORMAL, ReasonKind.SHUTDOWN)

    @property
    def is_from_outside(self) -> bool:
        """Whether somebody else ended it: SIGKILL, or a request to stop (``shutdown`` with a detail is its own giving up).

        The kernel's out-of-memory kill cannot be told from another SIGKILL.
        """
        if self.kind is ReasonKind.SIGNAL:
            return self.detail in ("SIGKILL", "SIGTERM")
        return self.kind is ReasonKind.SHUTDOWN and not self.detail

    def __str__(self) -> str:
        return f"{self.kind}:{self.detail}" if self.detail else str(self.kind)


class Intensity(msgspec.Struct, frozen=True):
    """At most ``restarts`` restarts in any ``within_s`` seconds, both ends included."""

    restarts: int = 3
    within_s: float = 5.0


class Backoff(msgspec.Struct, frozen=True):
    """Delays along a crash loop: ``min_s * factor ** n`` up to ``max_s``, spread by +/- ``jitter`` (a fraction).

    A child that was ready for ``reset_after_s`` is no longer in a loop, and its next restart comes at once.
    ``give_up_after`` starts in a row that never became ready, or lived less than ``reset_after_s`` after it,
    make its supervisor give up.
    """

    min_s: float = 0.05
    max_s: float = 10.0
    factor: float = 2.0
    jitter: float = 0.2
    reset_after_s: float = 1.0
    give_up_after: int = 6


class Heartbeat(msgspec.Struct, frozen=True):
    """A child beats every ``interval_s``; it is overdue after ``interval_s * liveness`` of silence."""

    interval_s: float = 1.0
    liveness: int = 3

    @property
    def window_s(self) -> float:
        """Seconds of silence after which a child is declared lost."""
        return self.interval_s * self.liveness


class ChildSpec(msgspec.Struct, frozen=True):
    """How to start, restart and stop one child."""

    id: str  # unique under its supervisor; letters, digits, '-' and '_'
    actor: str  # "package.module:Class" or "/path/script.py:Class"; see reference.reference
    arguments: bytes = b"\x80"  # msgpack of the actor class's ``arguments_type``; the default is an empty map
    restart: Restart = Restart.PERMANENT
    kind: ChildKind = ChildKind.WORKER
    significant: bool = False
    shutdown_s: float | None = 5.0  # grace before SIGKILL; 0 kills at once; None waits for ever
    start_timeout_s: float = 10.0  # from spawn to the acknowledged init
    heartbeat: Heartbeat | None = Heartbeat()  # None: silence is never held against it
    environment: Mapping[str, str] = {}  # added to the supervisor's own
    fds: tuple[int, ...] = ()  # descriptors of the supervisor that the child inherits under the same number
    role: str = ""  # shown until the actor has told its own


class SupervisorSpec(msgspec.Struct, frozen=True):
    """A supervisor: a fixed, ordered list of children, or a pool of equal ones.

    With ``pool``, children ``{pool.id}-0`` ... ``{pool.id}-{size-1}`` are made from the template. They have no order: they
    start together, and the pool can be resized while it runs. A pool is always one_for_one.
    """

    children: tuple[ChildSpec, ...] = ()
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: Intensity = Intensity()
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    backoff: Backoff = Backoff()
    pool: ChildSpec | None = None
    size: int = 0
    max_size: int = 1024
    pool_intensity_per_child: int = 0  # added to ``intensity.restarts`` for each child of the pool's present size


def validate_child(spec: ChildSpec, auto_shutdown: AutoShutdown) -> None:
    """Refuse a child spec that contradicts itself.  Raises ConfigError that names the field."""
    if not spec.id or not all(letter.isalnum() or letter in "-_" for letter in spec.id):
        raise ConfigError(f"child id {spec.id!r}: use letters, digits, '-' and '_'")
    if ":" not in spec.actor:
        raise ConfigError(f"child {spec.id}: actor {spec.actor!r} is not 'module:Class'")
    if spec.shutdown_s is not None and spec.shutdown_s < 0:
        raise ConfigError(f"child {spec.id}: shutdown_s must be >= 0, or None to wait for ever")
    if spec.start_timeout_s <= 0:
        raise ConfigError(f"child {spec.id}: start_timeout_s must be > 0")
    if spec.kind is ChildKind.SUPERVISOR and spec.shutdown_s is not None:
        raise ConfigError(f"child {spec.id}: a supervisor needs shutdown_s=None, or its children could be orphaned")
    if spec.significant and spec.restart is Restart.PERMANENT:
        raise ConfigError(f"child {spec.id}: a permanent child cannot be significant")
    if spec.significant and auto_shutdown is AutoShutdown.NEVER:
        raise ConfigError(f"child {spec.id}: significant needs a supervisor with auto_shutdown")


def validate_supervisor(spec: SupervisorSpec) -> None:
    """Refuse a supervisor spec that contradicts itself.  Raises ConfigError that names the field."""
    for child in spec.children:
        validate_child(child, spec.auto_shutdown)
    ids = [child.id for child in spec.children]
    for child_id in ids:
        if ids.count(child_id) > 1:
            raise ConfigError(f"child id {child_id!r} is used twice")
    if spec.intensity.restarts < 0 or spec.intensity.within_s <= 0:
        raise ConfigError("intensity: restarts must be >= 0 and within_s > 0")
    if spec.pool is None:
        return
    if spec.children:
        raise ConfigError("a supervisor has either a list of children or a pool, not both")
    if spec.strategy is not Strategy.ONE_FOR_ONE:
        raise ConfigError("a pool's children have no order: its strategy must be one_for_one")
    if not 0 <= spec.size <= spec.max_size:
        raise ConfigError(f"pool size {spec.size} is not between 0 and max_size {spec.max_size}")
    validate_child(spec.pool, spec.auto_shutdown)
