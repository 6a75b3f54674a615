"""Values: what a Redis or Valkey server says of itself, and whether regrow can rely on it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from regrow.runtime.errors import ConfigError

CHECKED_SETTINGS: Final = ("maxmemory-policy", "appendonly", "appendfsync", "save")
OLDEST_REDIS: Final = (6, 2)
UNKNOWN: Final = "unknown"


class StoreFacts(msgspec.Struct, frozen=True):
    """The server at the other end. ``durability`` is one sentence on what a crash of the server can cost.

    ``is_durable``: acknowledged tasks outlive such a crash, all but those of the last moments.
    """

    server: str  # "redis" or "valkey"
    version: str
    eviction: str  # maxmemory-policy, or "unknown"
    durability: str
    is_durable: bool


def facts_of(info: Mapping[str, Any], settings: Sequence[Any]) -> StoreFacts:
    """Facts from INFO and from the answers to CONFIG GET of each of CHECKED_SETTINGS, where an error says nothing.

    Redis 6.2 takes no more settings at once; a managed server may forbid CONFIG: then INFO has to do.
    Raises ConfigError for a server that could lose tasks.
    """
    config = {name: value for found in settings if isinstance(found, dict) for name, value in found.items()}
    server = "valkey" if "valkey_version" in info else "redis"
    version = str(info.get(f"{server}_version", UNKNOWN))
    eviction = str(config.get("maxmemory-policy") or info.get("maxmemory_policy") or UNKNOWN)
    if server == "redis" and _numbers(version) < OLDEST_REDIS:
        raise ConfigError(f"the store is Redis {version}: use Redis 6.2 or newer, any Valkey, or the embedded store")
    if eviction not in ("noeviction", UNKNOWN):
        raise ConfigError(
            f"the store's maxmemory-policy is {eviction}, so it may throw tasks away: run CONFIG SET maxmemory-policy "
            "noeviction on it, and set the same in its configuration file"
        )
    is_durable = config.get("appendonly", "yes" if info.get("aof_enabled") else "no") == "yes"
    return StoreFacts(server, version, eviction, promise_of(config, is_append_only=is_durable), is_durable)


def promise_of(config: Mapping[str, str], *, is_append_only: bool) -> str:
    """What a crash of a server with these settings can cost, in a sentence."""
    return _with_append_only_file(config) if is_append_only else _without_append_only_file(config)


def _with_append_only_file(config: Mapping[str, str]) -> str:
    match config.get("appendfsync", UNKNOWN):
        case "always":
            return "appendonly yes, appendfsync always: what was acknowledged is on disk"
        case "everysec":
            return "appendonly yes, appendfsync everysec: a crash of the server can cost the last second or two of acknowledged tasks"
        case "no":
            return "appendonly yes, appendfsync no: a crash of the machine can cost about 30 s of acknowledged tasks"
    return "appendonly yes, appendfsync unknown (CONFIG GET is not allowed): what a crash can cost is not known"


def _without_append_only_file(config: Mapping[str, str]) -> str:
    match config.get("save", UNKNOWN):
        case "":
            return "no append-only file and no snapshots: a crash or restart of the server loses every task"
        case "unknown":
            return (
                "no append-only file: a crash of the server loses every task since its last snapshot, if it makes any"
            )
        case save:
            return (
                f"no append-only file, snapshots only (save {save}): a crash loses every task since the last snapshot"
            )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
