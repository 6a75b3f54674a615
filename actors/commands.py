"""Shell: ``regrow up``, ``regrow dispatcher``, ``regrow worker`` and ``regrow doctor``."""

import os
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from cyclopts import App, Parameter, validators

from regrow.actors.flags import CapFlags, CodeFlags, CommonFlags, MemoryFlags, StoreFlags, TreeFlags
from regrow.actors.settings import RANGES, Settings, build
from regrow.actors.wire import Mode

app = App()
LEAST_SLOTS, MOST_SLOTS = RANGES["slots"]
DEFAULT_REDIS = "redis://127.0.0.1:6379/0"


@app.command
def up(*, flags: TreeFlags = TreeFlags()) -> int:
    """Run the whole tree, until Ctrl-C or SIGTERM: store, dispatcher, workers, gateway."""
    from regrow.actors.picture import show_stopping, show_tree, wide_console
    from regrow.actors.system import launch

    settings = flags.settings()
    _log_as("root", settings)
    console = wide_console()
    return launch(
        settings,
        lambda tree, places: show_tree(console, tree, places),
        lambda: show_stopping(console, settings.drain_s),
    )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DispatcherFlags(CommonFlags, StoreFlags, CodeFlags, MemoryFlags, CapFlags):
    """One dispatcher."""

    mode: Annotated[Mode | None, Parameter(name=["--mode", "-m"])] = None
    "push: it fills workers; pull: workers ask; local: with a worker of its own, without a TCP port (default push)"
    dispatcher_port: Annotated[int | None, Parameter(name=["--dispatcher-port", "-p"])] = None
    "where workers join; 0 picks a free one (default 5555)"
    slots: Annotated[int | None, Parameter(name=["--slots", "-w"])] = None
    "local: tasks that run at once (default 2)"
    retention_s: float | None = None
    "seconds that an ended task is kept (default a day)"


@app.command
def dispatcher(*, flags: DispatcherFlags = DispatcherFlags()) -> int:
    """Run a dispatcher alone, on the store at --redis-url (default redis://127.0.0.1:6379/0)."""
    from regrow.actors.alone import run_dispatcher

    settings = flags.settings(redis_url=flags.redis_url or DEFAULT_REDIS)
    _log_as("dispatcher", settings)
    return run_dispatcher(settings)


@app.command
def worker(
    slots: Annotated[int, Parameter(validator=validators.Number(gte=LEAST_SLOTS, lte=MOST_SLOTS))],
    dispatcher: str,
    /,
    *,
    mode: Annotated[Literal["push", "pull"], Parameter(name=["--mode", "-m"])] = "push",
    name: str = "",
    code: CodeFlags = CodeFlags(),
    memory: MemoryFlags = MemoryFlags(),
    flags: CommonFlags = CommonFlags(),
) -> int:
    """Run a worker alone: ``regrow worker -m push 4 tcp://127.0.0.1:5555``.

    Parameters
    ----------
    slots
        tasks that it runs at once
    dispatcher
        address of the dispatcher, tcp://HOST:PORT
    mode
        the dispatcher's
    name
        in lists of workers (default worker-PID)
    """
    from regrow.actors.alone import run_worker

    settings = flags.settings(
        slots=slots, mode=mode, import_path=code.import_path, memory_budget_bytes=memory.memory_budget_bytes
    )
    _log_as(name or "worker", settings)
    return run_worker(settings, dispatcher, name)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DoctorFlags(StoreFlags):
    """What is looked at besides the machine."""

    data_dir: str | None = None
    "data directory of a tree that runs, or is to run (default $XDG_STATE_HOME/regrow)"


@app.command
def doctor(*, flags: DoctorFlags = DoctorFlags()) -> int:
    """Say what endangers regrow's promises on this machine, and how to mend it; exit code 1 if anything does."""
    from regrow.actors.doctor_checks import examine, is_well
    from regrow.actors.doctor_facts import gather
    from regrow.actors.doctor_page import show
    from regrow.actors.picture import wide_console

    findings = examine(gather(build(os.environ, **asdict(flags))))
    show(wide_console(), findings)
    return 0 if is_well(findings) else 1


def _log_as(actor: str, settings: Settings) -> None:
    from regrow.runtime import events

    events.identify(actor, 1, settings.log_level)
