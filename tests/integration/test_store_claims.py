"""What a claim is told of its tasks, and how a record looks after it, on a real server."""

import uuid

from regrow.actors import keys
from regrow.actors.claims import Share
from regrow.actors.limits import NO_OPTIONS, Limits, Options
from regrow.actors.store import Store
from regrow.actors.task import NewTask, TaskId, WorkerId
from regrow.gateway.idempotency import BODY_BYTES
from support.tasks import ask, claim, crash, digest_of, read, register, submit, success
from support.valkey import Valkey


def test_what_tasks_of_one_claim_have_in_common_is_told_once_and_told_apart(server: Valkey, store: Store) -> None:
    """Two workers in turn, two functions, own limits, a single attempt, a deadline; and a repeated call says the same."""
    short, other = register(server.url, b"short"), register(server.url, b"other")
    new = [
        NewTask(TaskId(str(uuid.uuid4())), callee, str(number).encode(), attempts, checksum=number, options=options)
        for number, (callee, attempts, options) in enumerate(
            [
                *[(short, None, NO_OPTIONS)] * 4,
                (other, None, NO_OPTIONS),
                (short, 1, NO_OPTIONS),
                (short, None, Options(limits=Limits(wall_s=7.0))),
                (short, None, Options(deadline_s=1000.0)),
                *[(short, None, NO_OPTIONS)] * 2,
            ]
        )
    ]
    ask(server.url, lambda gateway: gateway.submit(new, 1000))
    shares = [Share(WorkerId("a"), 5, 0.0), Share(WorkerId("b"), 5, 0.0)]

    first, again = (store.claim("a", "c-1", shares, {}, 1 << 30).tasks for _ in range(2))

    for tasks in (first, again):
        assert [(task.task_id, task.params, task.checksum) for task in tasks] == [
            (each.task_id, each.params, each.checksum) for each in new
        ]
        assert [task.worker for task in tasks] == ["a", "b"] * 5
        assert [task.digest == digest_of(b"other") for task in tasks] == [False] * 4 + [True] + [False] * 5
        assert [task.may_run_again for task in tasks] == [True] * 5 + [False] + [True] * 4
        assert [task.limits for task in tasks] == [None] * 6 + [Limits(wall_s=7.0)] + [None] * 3
        assert [task.deadline_s is not None for task in tasks] == [False] * 7 + [True] + [False] * 2


def test_large_parameters_are_claimed_right_among_small_ones(server: Valkey, store: Store) -> None:
    sizes = [10, 200_000, 70_000, 10, 0, 65_537, 65_536, 1]
    ids = submit(server.url, register(server.url), *(bytes([number]) * size for number, size in enumerate(sizes)))

    tasks = claim(store, len(sizes))

    assert [task.task_id for task in tasks] == ids
    assert [task.params for task in tasks] == [bytes([number]) * size for number, size in enumerate(sizes)]


def test_a_usual_task_is_kept_in_the_compact_form_from_submit_to_end(server: Valkey, store: Store) -> None:
    """Half the memory, and less time; one field of more than 64 bytes would end it."""
    task_id = TaskId(str(uuid.uuid4()))
    options = Options(limits=Limits(wall_s=7.0), deadline_s=1000.0)
    new = NewTask(task_id, register(server.url), b"p" * 60, None, b"b" * BODY_BYTES, 2**32 - 1, options)
    worker = WorkerId("worker-12@a-rather-long-host-name.example/3f9c21aa")

    with server.client() as client:
        ask(server.url, lambda gateway: gateway.submit([new], 1000))
        forms = [client.object("encoding", keys.task(task_id))]
        [task] = claim(store, 1, worker=worker)
        forms.append(client.object("encoding", keys.task(task_id)))
        store.settle("a", [success(task, b"v" * 60)])
        forms.append(client.object("encoding", keys.task(task_id)))

    assert set(forms) <= {b"listpack", b"ziplist"}


def test_the_attempt_that_completed_a_task_stands_behind_those_that_failed(server: Valkey, store: Store) -> None:
    [task_id] = submit(server.url, register(server.url), b"")
    store.settle("a", [crash(claim(store, 1)[0])])
    [second] = claim(store, 1)
    store.settle("a", [success(second)])

    [record] = read(server.url, task_id)

    assert [(one.number, one.worker, one.outcome) for one in record.attempts] == [
        (1, second.worker, "crashed"),
        (2, second.worker, "completed"),
    ]
    assert record.attempts[1].started_at >= record.submitted_at
    assert record.attempts[1].ended_at == record.finished_at
