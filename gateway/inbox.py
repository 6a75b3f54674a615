"""Shell: one client's waiting: carries out what polls.py decides, and hands each outcome to its job."""

import asyncio
from typing import Final

from regrow.gateway.answers import WaitAnswer, WaitRequest, reader
from regrow.gateway.client_errors import ClientClosed, ClientError, Refused
from regrow.gateway.jobs import Crowd, Job, Waiter, bug, fail_all
from regrow.gateway.polls import Poll, Polls
from regrow.gateway.transport import Transport

_read_wait: Final = reader(WaitAnswer)


class Inbox:
    """The jobs that wait for their tasks to end.  Lives in one event loop."""

    def __init__(self, transport: Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._jobs: dict[str, Waiter] = {}
        self._polls = Polls()
        self._calls: dict[asyncio.Task[list[str]], Poll] = {}
        self._is_closed = False

    def add(self, accepted: list[tuple[str, Job]]) -> None:
        """Wait for these tasks; several jobs may wait for one, when they were sent under the same key."""
        new: list[str] = []
        for task_id, job in accepted:
            former = self._jobs.get(task_id)
            if former is None:
                self._jobs[task_id] = job
                new.append(task_id)
            elif isinstance(former, Crowd):
                former.waiters.append(job)
            else:
                self._jobs[task_id] = Crowd(former, job)
        self._polls.add(new)
        self._watch()

    def _watch(self) -> None:
        """Start the calls that are due, and break one off where others would have to wait for it."""
        if self._is_closed:
            return
        while poll := self._polls.next_poll():
            call = self._loop.create_task(self._wait(poll))
            self._calls[call] = poll
            call.add_done_callback(self._waited)
        late = self._polls.to_interrupt()
        for call, poll in self._calls.items():
            if poll is late:
                call.cancel()

    async def _wait(self, poll: Poll) -> list[str]:
        """One call; the ids that need not be asked after again."""
        try:
            return self._take(await self._call(poll))
        except ClientError as error:
            return self._fail(poll, error)

    def _fail(self, poll: Poll, error: ClientError) -> list[str]:
        fail_all([job for task_id in poll.ids if (job := self._jobs.pop(task_id, None))], error)
        return poll.ids

    async def _call(self, poll: Poll) -> WaitAnswer:
        request = WaitRequest(poll.ids, poll.wait_s)
        answer: WaitAnswer = await self._transport.call(
            "POST", "/v1/tasks/wait", _read_wait, request, wait_s=poll.wait_s
        )
        return answer

    def _take(self, answer: WaitAnswer) -> list[str]:
        """Tell the jobs of those that need not be asked after again; their ids."""
        ended = [task for task in answer.tasks if task.is_final]
        for task in ended:
            if job := self._jobs.pop(task.task_id, None):
                job.end(task)
        for task_id in answer.unknown:
            if job := self._jobs.pop(task_id, None):
                job.fail(Refused(404, "unknown_task", f"the gateway knows no task {task_id} any more"))
        return [task.task_id for task in ended] + answer.unknown

    def _drop_unwanted(self, poll: Poll) -> None:
        for task_id in poll.ids:
            job = self._jobs.get(task_id)
            if job is not None and not job.is_wanted():
                del self._jobs[task_id]
                self._polls.forget(task_id)

    def _waited(self, call: "asyncio.Task[list[str]]") -> None:
        """However a call ended, its ids are free again; here, since one that is broken off at once never runs at all."""
        poll = self._calls.pop(call)
        ended = self._ended(call, poll)
        self._drop_unwanted(poll)
        self._polls.returned(poll, ended)
        if call.cancelled():
            self._watch()
        else:
            self._loop.call_later(self._polls.linger_s(was_empty=not ended), self._watch)

    def _ended(self, call: "asyncio.Task[list[str]]", poll: Poll) -> list[str]:
        if call.cancelled():
            return []
        error = call.exception()
        return call.result() if error is None else self._fail(poll, bug(error))

    async def close(self) -> None:
        """Ask no more.  Jobs whose tasks have not ended fail with ClientClosed."""
        self._is_closed = True
        calls = list(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        jobs, self._jobs = self._jobs, {}
        text = "the client was closed before this task ended; the task goes on: ask another client for it by its id"
        fail_all(jobs.values(), ClientClosed(text))
