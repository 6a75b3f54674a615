"""Shell: dead letters: failed tasks that regrow gave up, and that keep their parameters.

::

    for letter in client.dead_letters.list():
        print(letter.task_id, letter.error.kind, letter.error.message)
    again = client.dead_letters.requeue(letter.task_id)       # the same call as a new task; its id
    client.dead_letters.purge()                               # throw all away
"""

from regrow.gateway.answers import LetterView, TaskView
from regrow.gateway.async_letters import AsyncDeadLetters
from regrow.gateway.session_thread import SessionThread


class DeadLetters:
    """The dead letters of one gateway.  Every call raises Refused for an unknown id, and GatewayUnavailable."""

    def __init__(self, thread: SessionThread) -> None:
        self._thread = thread

    def list(self, limit: int | None = None) -> list[LetterView]:
        """The newest ``limit``, newest first; all of them without a limit."""
        return self._thread.run(lambda session: AsyncDeadLetters(session.transport).list(limit))

    def get(self, task_id: str) -> TaskView:
        """One of them, as a task, with its attempts and what it printed."""
        return self._thread.run(lambda session: AsyncDeadLetters(session.transport).get(task_id))

    def requeue(self, task_id: str) -> str:
        """Submit the same call as a new task, whose id is returned; the letter is then gone.

        It has its function's terms and its own ``limits`` and ``max_attempts``, and no delay, expiry or deadline.
        """
        return self._thread.run(lambda session: AsyncDeadLetters(session.transport).requeue(task_id))

    def purge(self, task_id: str | None = None) -> int:
        """Throw one away, or all; how many there were.  Their tasks stay FAILED; their parameters go."""
        return self._thread.run(lambda session: AsyncDeadLetters(session.transport).purge(task_id))
