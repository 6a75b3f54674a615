"""Shell: has what happens in the dispatcher's supervision tree put on record in the store.

::

    root ──News──▶ Chronicle ──Record──▶ store ──Recorded──▶ Chronicle ──Follow──▶ root

One page is on its way at a time, and the root keeps what comes meanwhile. A new dispatcher asks for everything that is kept:
the store knows how much of it is on record.
"""

import socket
from collections.abc import Callable
from typing import Final

from regrow.actors.happenings import ChildEvent, encode_event
from regrow.actors.store_thread import Record, Recorded
from regrow.runtime.actor import Context
from regrow.runtime.tree import Follow, News

ASK_AGAIN_S: Final = 30.0  # a letter may have been lost to a full queue, and asking twice does no harm


class Chronicle:
    """Of the tree that ``context`` is in, if it is in one.  ``ask`` hands a request to the store's thread."""

    def __init__(self, context: Context, ask: Callable[[Record], None]) -> None:
        self._context = context
        self._ask = ask
        self._root = context.path.partition("/")[0]
        self._host = socket.gethostname()
        self._last = 0  # of the happenings that are on record
        self._is_writing = False

    def begin(self) -> None:
        """Follow the root."""
        if self._context.tree:
            self._follow_for_ever()

    def heard(self, news: News) -> None:
        """The root has told something."""
        self._is_writing = True
        events = (encode_event(ChildEvent.of(happening, self._host)) for happening in news.happenings)
        self._ask(Record(self._context.tree, news.first, tuple(events)))

    def recorded(self, recorded: Recorded) -> None:
        """It is on record."""
        self._is_writing = False
        self._last = max(self._last, recorded.last)
        self._follow()

    def _follow(self) -> None:
        self._context.cast(self._root, Follow(self._last))

    def _follow_for_ever(self) -> None:
        if not self._is_writing:
            self._follow()
        self._context.after(ASK_AGAIN_S, self._follow_for_ever)
