"""Values: the times and bounds that the real shells keep, and so their models do.  A test compares them with the shells'."""

from typing import Final

from regrow.runtime.spec import Backoff

GAP_S: Final = 1.0  # runtime/loop.py: a round that is later by this was preceded by a suspension
SETTLE_S: Final = 1.0  # runtime/supervisor.py: listening, after a suspension, before anyone is judged
RECONNECT_S: Final = 0.05  # runtime/link.py
SILENT_PEER_S: Final = 3.0  # runtime/link.py: ZeroMQ's own heartbeat drops a silent peer
PULSE_S: Final = 1.0  # actors/dispatcher.py
FAREWELL_S: Final = 1.0  # actors/dispatcher.py
STORE_TIMEOUT_S: Final = 5.0  # actors/connection.py
STORE_RETRY: Final = Backoff(min_s=0.02, max_s=1.0)  # actors/store_thread.py
CLAIM_BYTES: Final = 16 * 1024 * 1024  # actors/store_thread.py
SLOT_START_S: Final = 30.0  # actors/crew.py
SLOT_LOOKS: Final = 3  # actors/crew.py: looks in a row that find a slot stopped
WORKER_END_S: Final = 0.5  # actors/worker.py: of a stop's grace, kept for ending
DRAIN_S: Final = 10.0  # actors/settings.py
TREE_SETTLE_S: Final = 2.0  # actors/system.py
MOST_OOMS: Final = 3  # actors/lua/settle.lua
