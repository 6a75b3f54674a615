"""Values: the errors of regrow.

::

    RegrowError
    ├─ ConfigError            something is wrong before anything starts; the message says what to change
    ├─ ProtocolError          a peer sent what the protocol does not allow
    ├─ ActorError
    │  ├─ NoSuchActor         a call's target does not live (any more); raised at once, not at the deadline
    │  ├─ CallTimeout         the target lives but did not answer before the deadline
    │  └─ CallRefused         the target answered with an error: its code and message
    ├─ StartFailed            a child's init failed, ended or timed out
    ├─ InvalidTransition      a state machine was asked for a move that its table does not have
    └─ StoreError
       ├─ StoreUnavailable    the store does not answer now; try again later
       └─ Fenced              our lease is gone: drop what it was for

A unit of work that fails is data, never an exception that crosses a process.
"""

from typing import ClassVar


class RegrowError(Exception):
    """Base of every error that regrow raises on purpose. ``code`` is stable; the text is for people."""

    code: ClassVar[str] = "error"


class ConfigError(RegrowError):
    """A setting, flag or environment that cannot work."""

    code = "config"


class ProtocolError(RegrowError):
    """A peer broke the protocol."""

    code = "protocol"

    def __init__(self, problem: str, peer: str = "", frame: bytes = b"") -> None:
        super().__init__(f"{problem} (peer {peer or 'unknown'}, {len(frame)} bytes)")
        self.peer = peer
        self.frame = frame


class ActorError(RegrowError):
    """A message could not be delivered or answered."""

    code = "actor"


class NoSuchActor(ActorError):
    """The addressed actor does not live."""

    code = "no_such_actor"


class CallTimeout(ActorError):
    """No answer before the call's deadline."""

    code = "call_timeout"


class CallRefused(ActorError):
    """The addressed actor answered with an error."""

    code = "call_refused"


class StartFailed(RegrowError):
    """A child did not finish its init."""

    code = "start_failed"


class InvalidTransition(RegrowError):
    """A move that the state table does not have."""

    code = "invalid_transition"


class StoreError(RegrowError):
    """The store refused or failed."""

    code = "store"


class StoreUnavailable(StoreError):
    """The store does not answer now."""

    code = "store_unavailable"


class Fenced(StoreError):
    """The lease under which this was done is gone."""

    code = "fenced"
