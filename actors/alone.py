"""Shell: single parts, for other terminals and machines: the same actors in the launched process, without a supervisor."""

import re
import socket
import tempfile
from os import getpid
from pathlib import Path
from typing import Final

import msgspec

from regrow.actors.addresses import address_of, listen
from regrow.actors.dispatcher import Dispatcher
from regrow.actors.settings import Settings
from regrow.actors.system import (
    ROOT_INTENSITY,
    Places,
    dispatcher_arguments,
    dispatcher_spec,
    greet_store,
    worker_arguments,
    workers_spec,
)
from regrow.actors.wire import Mode
from regrow.actors.worker import Worker
from regrow.runtime.actor import run_alone
from regrow.runtime.errors import ConfigError
from regrow.runtime.root import run_root
from regrow.runtime.spec import SupervisorSpec

ENDPOINT: Final = re.compile(r"tcp://[^:/]+:\d+|tcp://\[[0-9a-fA-F:]+\]:\d+|ipc://.+")


def run_dispatcher(settings: Settings) -> int:
    """A dispatcher on the user's own store; in local mode with one worker beside it.  Raises ConfigError."""
    greet_store(settings.redis_url)
    if settings.mode is Mode.LOCAL:
        return _run_local(settings)
    listener = listen(settings.dispatcher_host, settings.dispatcher_port, "--dispatcher-port")
    address = address_of(listener)
    name = f"{socket.gethostname()}-{address.rpartition(':')[2]}"  # the same after a restart on the same port
    places = Places(Path(), settings.redis_url, address, listener, name)
    return run_alone(Dispatcher, dispatcher_arguments(settings, places), "dispatcher")


def _run_local(settings: Settings) -> int:
    directory = Path(tempfile.mkdtemp(prefix="regrow-"))
    places = Places(directory, settings.redis_url, f"ipc://{directory}/dispatcher", None, directory.name)
    one = msgspec.structs.replace(settings, workers=1)
    children = (dispatcher_spec(settings, places), workers_spec(one, places))
    return run_root(SupervisorSpec(children, intensity=ROOT_INTENSITY), run_directory=directory)


def run_worker(settings: Settings, dispatcher: str, name: str) -> int:
    """A worker of the dispatcher at ``dispatcher``.  Raises ConfigError for an address that cannot be one."""
    if not ENDPOINT.fullmatch(dispatcher):
        raise ConfigError(f"{dispatcher!r} is no dispatcher's address: say tcp://HOST:PORT, as 'regrow up' prints it")
    return run_alone(Worker, worker_arguments(settings, dispatcher), name or f"worker-{getpid()}")
