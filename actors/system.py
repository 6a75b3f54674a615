"""Shell: the tree of the function service, and its launch: store, dispatcher, workers, gateway.

Not rest_for_one: workers outlive a dispatcher, and hand back what they hold.  What must outlive a child's restart belongs to
the root: the listening sockets (so a port stays, and callers wait instead of being refused) and the dispatcher's name in
the store (so a new one recovers the tasks of its former life at once).
"""

import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from regrow.actors.addresses import address_of, listen, shown, url_of
from regrow.actors.dispatcher import Dispatcher, DispatcherArguments
from regrow.actors.embedded import EmbeddedArguments, EmbeddedStore
from regrow.actors.events import Event
from regrow.actors.facts import StoreFacts
from regrow.actors.settings import GatewayArguments, Settings
from regrow.actors.store import Store
from regrow.actors.wire import Mode
from regrow.actors.worker import Worker, WorkerArguments
from regrow.runtime import endpoints, hooks
from regrow.runtime.endpoints import DataDirLock
from regrow.runtime.errors import ConfigError, StoreUnavailable
from regrow.runtime.logs import log
from regrow.runtime.reference import child
from regrow.runtime.root import run_root
from regrow.runtime.spec import ChildKind, ChildSpec, Intensity, SupervisorSpec
from regrow.runtime.supervisor import Supervisor
from regrow.runtime.tree import TreeEvent, TreeEventKind, TreeNode

GATEWAY: Final = "regrow.gateway.server:Gateway"  # by name: this layer does not import the one above it
ROOT_INTENSITY: Final = Intensity(20, 10.0)
POOL_INTENSITY: Final = Intensity(10, 10.0)
POOL_INTENSITY_PER_WORKER: Final = 5
STORE_SHUTDOWN_S: Final = 30.0  # the store may have much to flush
SETTLE_S: Final = 2.0  # after a drain, for what is left to be written


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of one tree meet, and the socket that the root keeps open for its dispatcher."""

    run_directory: Path
    store: str
    dispatcher: str
    dispatcher_socket: socket.socket | None
    dispatcher_name: str


def launch(
    settings: Settings, show: Callable[[TreeNode, dict[str, str]], None], show_stopping: Callable[[], None]
) -> int:
    """Run the whole tree until it is stopped or gives up; the exit code.

    ``show`` is called once, when everything is ready, ``show_stopping`` once, when it is asked to stop.  Raises ConfigError
    for whatever cannot work, before anything starts.
    """
    data_dir = Path(settings.data_dir)
    with DataDirLock(data_dir):
        endpoints.withdraw(data_dir)  # those of a former tree that was killed
        if settings.redis_url:
            greet_store(settings.redis_url)
        door = listen(settings.host, settings.port, "--port")
        places = find_places(settings)
        addresses = {"gateway": url_of(door), "dispatcher": places.dispatcher, "store": shown(places.store)}

        def on_event(event: TreeEvent) -> None:
            if event.kind is TreeEventKind.STARTED:
                endpoints.publish(data_dir, addresses)
                show(event.tree, addresses)
            elif event.kind is TreeEventKind.STOPPING:
                show_stopping()

        try:
            return run_root(tree_spec(settings, places, door), "root", on_event, places.run_directory)
        finally:
            endpoints.withdraw(data_dir)
            (data_dir / "run").unlink(missing_ok=True)


def find_places(settings: Settings) -> Places:
    """Ports taken, names chosen.  Raises ConfigError when a port is in use; then nothing has been made."""
    data_dir = Path(settings.data_dir)
    listener = None
    if settings.mode is not Mode.LOCAL:
        listener = listen(settings.dispatcher_host, settings.dispatcher_port, "--dispatcher-port")
    run_directory = fresh_run_directory(data_dir)
    dispatcher = address_of(listener) if listener else f"ipc://{run_directory}/dispatcher"
    hooks.publish("dispatcher", dispatcher)
    store = settings.redis_url or f"unix://{run_directory}/store.sock"
    return Places(run_directory, store, dispatcher, listener, dispatcher_name(data_dir))


def fresh_run_directory(data_dir: Path) -> Path:
    """A private directory for sockets, with a short path; that of a former tree which was killed is removed."""
    if (place := hooks.directory()) is not None:
        shutil.rmtree(place / "run", ignore_errors=True)
        return place / "run"
    note = data_dir / "run"
    if note.exists():
        former = Path(note.read_text().strip())
        if former.name.startswith("regrow-"):
            shutil.rmtree(former, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix="regrow-"))
    note.write_text(str(directory))
    return directory


def dispatcher_name(data_dir: Path) -> str:
    """The name of this data directory's dispatcher in the store; made once."""
    file = data_dir / "dispatcher.name"
    if not file.exists():
        file.write_text(f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}")
    return file.read_text().strip()


def greet_store(url: str) -> None:
    """Say what the user's own store promises.  Raises ConfigError when it cannot be used."""
    store = Store.connect(url)
    try:
        facts = store.check()
    except StoreUnavailable as error:
        raise ConfigError(f"--redis-url {shown(url)}: {error}; is it running, and reachable from here?") from None
    finally:
        store.close()
    say_facts(facts)


def say_facts(facts: StoreFacts) -> None:
    """Log what the store promises; that it forgets is worth a warning."""
    fields = {"server": f"{facts.server} {facts.version}", "durability": facts.durability}
    if facts.is_durable:
        log.info(Event.STORE_FACTS, **fields)
    else:
        log.warning(Event.STORE_FACTS, **fields)


def tree_spec(settings: Settings, places: Places, door: socket.socket) -> SupervisorSpec:
    """The tree, in start order."""
    children = [dispatcher_spec(settings, places), workers_spec(settings, places), gateway_spec(settings, places, door)]
    if not settings.redis_url:
        children.insert(0, store_spec(settings, places))
    return SupervisorSpec(tuple(children), intensity=ROOT_INTENSITY)


def store_spec(settings: Settings, places: Places) -> ChildSpec:
    """The embedded store."""
    arguments = EmbeddedArguments(
        data_dir=settings.data_dir, socket_path=places.store.removeprefix("unix://"), durability=settings.durability
    )
    return child("store", EmbeddedStore, arguments, shutdown_s=STORE_SHUTDOWN_S, start_timeout_s=120.0)


def dispatcher_spec(settings: Settings, places: Places) -> ChildSpec:
    """The dispatcher, behind the root's listening socket."""
    fds = (places.dispatcher_socket.fileno(),) if places.dispatcher_socket else ()
    arguments = dispatcher_arguments(settings, places)
    return child("dispatcher", Dispatcher, arguments, fds=fds, shutdown_s=settings.drain_s + SETTLE_S)


def dispatcher_arguments(settings: Settings, places: Places) -> DispatcherArguments:
    """What a dispatcher is told."""
    return DispatcherArguments(
        store_url=hooks.through("dispatcher-store", places.store),
        endpoint=places.dispatcher,
        mode=settings.mode,
        dispatcher=places.dispatcher_name,
        listening_fd=places.dispatcher_socket.fileno() if places.dispatcher_socket else None,
        max_payload_bytes=settings.max_payload_bytes,
        retention_s=settings.retention_s,
        drain_s=settings.drain_s,
        caps=settings.caps(),
        log_level=settings.log_level,
    )


def workers_spec(settings: Settings, places: Places) -> ChildSpec:
    """The pool of workers."""
    arguments = worker_arguments(settings, hooks.through("worker-dispatcher", places.dispatcher), settings.workers)
    worker = child("worker", Worker, arguments, shutdown_s=settings.drain_s + SETTLE_S)
    pool = SupervisorSpec(
        pool=worker,
        size=settings.workers,
        intensity=POOL_INTENSITY,
        pool_intensity_per_child=POOL_INTENSITY_PER_WORKER,
    )
    return child("workers", Supervisor, pool, kind=ChildKind.SUPERVISOR, shutdown_s=None, start_timeout_s=60.0)


def worker_arguments(settings: Settings, dispatcher: str, workers: int = 0) -> WorkerArguments:
    """What a worker is told.  ``workers``: in its tree, 0 without one."""
    return WorkerArguments(
        dispatcher=dispatcher,
        mode=settings.mode,
        slots=settings.slots,
        import_path=settings.import_path,
        max_payload_bytes=settings.max_payload_bytes,
        drain_s=settings.drain_s,
        memory_budget_bytes=settings.memory_budget_bytes,
        most_memory_bytes=settings.most_memory_bytes(workers),
    )


def gateway_spec(settings: Settings, places: Places, door: socket.socket) -> ChildSpec:
    """The gateway, behind the root's listening socket."""
    fd = door.fileno()
    arguments = GatewayArguments(
        msgspec.structs.replace(settings, redis_url=hooks.through("gateway-store", places.store)), fd
    )
    packed = msgspec.msgpack.encode(arguments)
    return ChildSpec(id="gateway", actor=GATEWAY, arguments=packed, fds=(fd,), shutdown_s=settings.drain_s)
