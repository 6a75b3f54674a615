"""Core: what a store and the disk below it mean for the promises."""

from typing import Final

from regrow.actors.doctor import GIB, MIB, Facts, Finding, numbers, ok, problem, size, warning
from regrow.actors.facts import OLDEST_REDIS, promise_of

FULL_BYTES: Final = 256 * MIB  # free disk space below which the store may stop at any time
TIGHT_BYTES: Final = 2 * GIB
SLOW_FLUSH_S: Final = 0.05  # each batch waits for one
CLOCKS_APART_S: Final = 1.0
VOLATILE: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p"})


def store(facts: Facts) -> Finding:
    """Is it there, and new enough?"""
    it = facts.store
    if it.problem:
        return problem("store", f"{it.url}: {it.problem}", "start it, or give its address with --redis-url")
    if not it.url:
        if facts.software.embedded:
            return problem(
                "store", facts.software.embedded, "give --redis-url redis://HOST:PORT of a Redis or Valkey of your own"
            )
        return ok("store", "none runs here now; regrow up starts the embedded one, which flushes before every answer")
    if it.server == "redis" and numbers(it.version) < OLDEST_REDIS:
        return problem(
            "store", f"Redis {it.version} lacks what the scripts need", "use Redis 6.2 or newer, or any Valkey"
        )
    if it.role != "master":
        return problem("store", f"{it.url} is a {it.role}: it takes no writes", "give the address of its master")
    return ok("store", f"{it.server} {it.version} at {it.url} answers")


def durability(facts: Facts) -> Finding | None:
    """What does a crash of it cost?"""
    it = facts.store
    if not it.url or it.problem:
        return None
    says = promise_of(it.settings, is_append_only=it.is_append_only)
    always = "run CONFIG SET appendonly yes and CONFIG SET appendfsync always, and set both in its configuration file"
    if not it.is_append_only or it.settings.get("appendfsync") == "no":
        return problem("durability", says, always)
    return ok("durability", says) if it.settings.get("appendfsync") == "always" else warning("durability", says, always)


def last_write(facts: Facts) -> Finding | None:
    """Can it write its file?"""
    it = facts.store
    if not it.url or it.problem or not it.is_append_only:
        return None
    look = "look into its log and at its disk: space, quota, permissions"
    if it.last_write != "ok":
        return problem("store's file", "its last write of the append-only file failed: it refuses new tasks", look)
    if it.last_rewrite != "ok":
        return warning("store's file", "its last rewrite of the append-only file failed: the file only grows", look)
    return ok("store's file", "the append-only file was written and rewritten without an error")


def eviction(facts: Facts) -> Finding | None:
    """May it throw tasks away when memory is short?"""
    it = facts.store
    if not it.url or it.problem:
        return None
    policy = it.settings.get("maxmemory-policy", "")
    if not policy:
        return warning("eviction", "its maxmemory-policy cannot be read", "see to it that it is noeviction")
    if policy != "noeviction":
        fix = "run CONFIG SET maxmemory-policy noeviction, and set it in its configuration file"
        return problem("eviction", f"maxmemory-policy {policy}: under memory pressure it throws tasks away", fix)
    return ok("eviction", "maxmemory-policy noeviction: it refuses new tasks before it would lose one")


def store_memory(facts: Facts) -> Finding | None:
    """How near is it to its limit?"""
    it = facts.store
    most = int(it.settings.get("maxmemory", "0") or 0)
    if not it.url or it.problem:
        return None
    if most and it.used_bytes > 0.8 * most:
        says = f"{size(it.used_bytes)} of {size(most)} (maxmemory) are used: at the limit submits are answered 503"
        return warning("store's memory", says, "raise maxmemory, shorten --retention-s, or fetch results sooner")
    return ok(
        "store's memory", f"{size(it.used_bytes)} used, " + (f"{size(most)} allowed" if most else "no limit of its own")
    )


def tasks(facts: Facts) -> Finding | None:
    """Is every task that has not ended where a dispatcher will look?"""
    it = facts.store
    if not it.url or it.problem:
        return None
    if it.missing > it.given_up:
        says = (
            f"{it.missing - it.given_up} are in no queue and under no lease: the store's data were changed from outside"
        )
        fix = "start a dispatcher (regrow up), if none runs: it finds and puts back what it can, and logs search.ended"
        return problem("open tasks", says, fix)
    if it.missing:
        says = f"the records of {it.missing} have gone, which no search can find: the store's data were changed from outside"
        return warning("open tasks", says, "submit them again, and find out who writes to the store besides regrow")
    return ok("open tasks", "each is queued, or under a lease")


# The disk


def data_dir(facts: Facts) -> Finding:
    """Can the embedded store keep its files there, and do they outlive a crash of the machine?"""
    it = facts.data_dir
    elsewhere = "name a directory on a local disk with --data-dir"
    if it.problem:
        return problem("data directory", f"{it.path}: {it.problem}", elsewhere)
    if it.filesystem in VOLATILE:
        says = f"{it.path} is on {it.filesystem}: tasks outlive a crash of regrow, but no restart of the machine"
        return warning("data directory", says, elsewhere)
    if it.filesystem in REMOTE:
        says = f"{it.path} is on {it.filesystem}: whether a flush reaches the disk is decided elsewhere"
        return warning("data directory", says, elsewhere)
    if it.flush_s > SLOW_FLUSH_S:
        says = f"{it.path} ({it.filesystem}): a flush takes {1000 * it.flush_s:.0f} ms, and every batch waits for one"
        return warning("data directory", says, f"{elsewhere}; an SSD needs less than 5 ms")
    return ok("data directory", f"{it.path} ({it.filesystem}) can be written, a flush takes {1000 * it.flush_s:.1f} ms")


def disk_space(facts: Facts) -> Finding | None:
    """Is there room for what comes?"""
    it = facts.data_dir
    if it.problem:
        return None
    says = f"{size(it.free_bytes)} free at {it.path}"
    fix = "make room, or name another --data-dir"
    if it.free_bytes < FULL_BYTES:
        return problem("disk space", f"{says}: when the disk is full the store takes no tasks and no results", fix)
    return warning("disk space", says, fix) if it.free_bytes < TIGHT_BYTES else ok("disk space", says)


def clocks(facts: Facts) -> Finding | None:
    """Do this machine and the store agree on the time?"""
    it = facts.store
    if not it.url or it.problem:
        return None
    if abs(it.ahead_s) > CLOCKS_APART_S:
        says = f"the store's clock is {it.ahead_s:+.1f} s from ours: delays, deadlines and stories use the store's time"
        return warning("store's clock", says, "run NTP (chrony, systemd-timesyncd) on both machines")
    return ok("store's clock", f"within {CLOCKS_APART_S:g} s of ours")
