"""Shell: one event per line, as JSON in a pipe and as text on a terminal.

An event is a constant dotted name with typed fields. Every record carries ``actor``, ``pid`` and ``incarnation``.
"""

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
log: Any = structlog.get_logger()
_configured = {"level": "info"}


def level() -> str:
    """The level that was configured last."""
    return _configured["level"]


def configure(level: str = "info", *, actor: str = "", incarnation: int = 0) -> None:
    """Send this process's events to standard error; call once, before the first event."""
    _configured["level"] = level
    is_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if is_terminal else "iso", utc=not is_terminal),
            structlog.processors.format_exc_info,
            _text if is_terminal else structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(actor=actor, pid=os.getpid(), incarnation=incarnation)


COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}


def _text(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    """``12:00:01.123 worker-0  child.down  reason=overdue silent_s=3.0``"""
    level = event.pop("level", "info")
    stamp = event.pop("timestamp", "")[:12]
    actor = event.pop("actor", "")
    name = event.pop("event", "")
    for hidden in ("pid", "incarnation"):
        event.pop(hidden, None)
    trace = event.pop("exception", "")
    fields = " ".join(f"{key}={value}" for key, value in event.items())
    line = f"\x1b[2m{stamp}\x1b[0m {COLOURS[level]}{name:<22}\x1b[0m \x1b[36m{actor}\x1b[0m  {fields}"
    return f"{line}\n{trace}" if trace else line
