"""Core: what a machine's limits, kernel, memory and clock mean for the promises."""

from typing import Final

from regrow.actors.doctor import MIB, Facts, Finding, ok, problem, size, warning

FILES: Final = 64  # open files of a process without its children
FILES_PER_CHILD: Final = 12  # sockets, pipes, pidfd and memory files
CONNECTIONS: Final = 4096  # that a gateway should be able to have
THREADS: Final = 6  # of one process, at most: of zmq, of the store's client, of uvicorn
OTHERS: Final = 6  # processes besides workers and slots
PROCESS_BYTES: Final = 64 * MIB  # a slot with a few modules
FAST_CLOCKS: Final = frozenset(
    {"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "xen", "arch_sys_counter", "timebase", "tod"}
)


def open_files(facts: Facts) -> Finding:
    """Enough for the workers, and for the gateway's connections?"""
    it = facts.limits
    needed = FILES + FILES_PER_CHILD * max(facts.workers, facts.slots)
    wanted = max(needed, CONNECTIONS)
    if it.open_files is not None and it.open_files < needed:
        says = f"{it.open_files} open files are allowed, {facts.workers} workers with {facts.slots} slots need {needed} to start"
        return problem("open files", says, f"ulimit -n {wanted}, or LimitNOFILE={wanted} in the service's unit")
    if it.most_open_files is not None and it.most_open_files < CONNECTIONS:
        says = f"at most {it.most_open_files} open files are allowed: about as many connections can a gateway have"
        return warning("open files", says, f"ulimit -Hn {wanted}, or LimitNOFILE={wanted} in the service's unit")
    return ok("open files", f"enough for {facts.workers} workers with {facts.slots} slots each")


def processes(facts: Facts) -> Finding:
    """Enough for all workers and slots?"""
    count = OTHERS + facts.workers * (1 + facts.slots)
    left, needed = facts.limits.processes_left, THREADS * count
    if left is not None and left < needed:
        says = f"{left} more processes and threads are allowed, {count} processes need up to {needed}: slots would not start"
        return problem(
            "processes",
            says,
            f"ulimit -u, pids.max of the container, or fewer --workers and --slots: {needed} are needed",
        )
    return ok("processes", f"enough for {count} processes")


# The kernel and the memory


def kernel(facts: Facts) -> Finding:
    """Has it got what deaths are seen with?"""
    it = facts.machine
    if it.missing:
        says = f"Linux {it.kernel} has no {', '.join(it.missing)} here: deaths would not be seen, or leave processes behind"
        return problem("kernel", says, "use Linux 5.4 or newer, and a container that does not filter these calls")
    return ok("kernel", f"Linux {it.kernel} has pidfd, memfd, parent-death signals and subreapers")


def memory(facts: Facts) -> Finding:
    """Is there any for the slots?"""
    slots, free = facts.workers * facts.slots, facts.machine.available_bytes
    fix = "fewer --slots, or more memory; the kernel kills the largest process first, and that may be the store"
    if free < PROCESS_BYTES * 2:
        return problem("memory", f"{size(free)} available: the kernel will soon have to kill something", fix)
    if free < PROCESS_BYTES * slots:
        return warning(
            "memory", f"{size(free)} available for {slots} slots, which take {size(PROCESS_BYTES)} each", fix
        )
    return ok("memory", f"{size(free)} available for {slots} slots")


def swap(facts: Facts) -> Finding:
    """Is the machine paging?"""
    it = facts.machine
    if it.swap_bytes and it.swap_used_bytes > 0.5 * it.swap_bytes:
        says = f"{size(it.swap_used_bytes)} of {size(it.swap_bytes)} swap are in use: processes that are paged in late beat late"
        return warning("swap", says, "more memory, or fewer --slots")
    return ok("swap", f"{size(it.swap_used_bytes)} of {size(it.swap_bytes)} in use" if it.swap_bytes else "none")


def overcommit(facts: Facts) -> Finding:
    """Can the store fork, to rewrite its file?"""
    it, used = facts.machine, facts.store.used_bytes
    fix = "sysctl vm.overcommit_memory=1"
    if it.overcommit == 2:
        return warning(
            "overcommit", "vm.overcommit_memory is 2: a store of some size cannot fork to rewrite its file", fix
        )
    if it.overcommit == 0 and used > it.available_bytes:
        says = f"vm.overcommit_memory is 0 and the store has {size(used)}, more than is available: it may fail to fork"
        return warning("overcommit", says, fix)
    return ok("overcommit", f"vm.overcommit_memory {it.overcommit}: the store can fork to rewrite its file")


def huge_pages(facts: Facts) -> Finding:
    """Do they make the store slow after a fork?"""
    it = facts.machine
    is_off_in_store = facts.store.settings.get("disable-thp", "yes") == "yes"
    if it.huge_pages == "always" and not is_off_in_store:
        says = "transparent huge pages are on, in the store too: after each fork it stalls and takes more memory"
        return warning("huge pages", says, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
    return ok(
        "huge pages",
        f"transparent ones: {it.huge_pages}" + (", and the store does not use them" if is_off_in_store else ""),
    )


# Clocks


def clock(facts: Facts) -> Finding:
    """Is asking for the time cheap?"""
    source = facts.machine.clocksource
    if source and source not in FAST_CLOCKS:
        says = f"clocksource {source}: each look at the clock is a slow call to the kernel, and loops look often"
        return warning(
            "clock", says, "see /sys/devices/system/clocksource/clocksource0/available_clocksource for a faster one"
        )
    return ok("clock", f"clocksource {source or 'unknown'}")
