"""Shell: Prometheus metrics: the store's totals, read when they are asked for, and this process's own requests.

=====================================  =========  ==================================================================
regrow_store_up                        gauge      1 when the store answered this scrape
regrow_tasks_queued, _running          gauge      tasks now
regrow_tasks_submitted_total           counter    accepted tasks
regrow_tasks_ended_total               counter    by ``outcome``: "completed" or a failure kind
regrow_tasks_requeued_total            counter    by ``move``: crash, lose_worker, give_back
regrow_stale_results_total             counter    outcomes refused because their attempt was no longer current
regrow_vanished_tasks_total            counter    records that were gone when their outcome came
regrow_damaged_records_total           counter    tasks ended because their records made no sense
regrow_found_tasks_total               counter    in no queue and under no lease by damage of the store, and put back; by ``place``
regrow_damaged_frames_total            counter    of workers, dropped by the dispatchers that there are
regrow_workers, regrow_slots,          gauge      registered workers, their slots, and the slots at work
regrow_slots_busy
regrow_http_requests_total             counter    by ``method``, ``route`` and ``status``
regrow_http_request_seconds            histogram  by ``route``, up to the end of the answer (long polls have their wait in it)
regrow_long_polls                      gauge      requests that wait for a task
=====================================  =========  ==================================================================
"""

import time
from collections.abc import Iterator, MutableMapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from regrow.actors.readings import Counts
from regrow.actors.task import WorkerRecord
from regrow.gateway.guard import App, Receive, Scope, Send

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """One process's request metrics; ``text`` adds the store's."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "regrow_http_requests", "Requests answered", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "regrow_http_request_seconds",
            "Time to the end of the answer",
            ("route",),
            buckets=BUCKETS,
            registry=self._registry,
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self, counts: Counts | None, workers: list[WorkerRecord], long_polls: int, inflight_bytes: int) -> bytes:
        """Everything, in Prometheus' text format. ``counts`` is None when the store did not answer."""
        registry = CollectorRegistry()
        registry.register(_Now(counts, workers, long_polls, inflight_bytes))
        return generate_latest(registry) + generate_latest(self._registry)


class _Now:
    """What was read for one scrape."""

    def __init__(
        self, counts: Counts | None, workers: list[WorkerRecord], long_polls: int, inflight_bytes: int
    ) -> None:
        self._counts = counts
        self._workers = workers
        self._long_polls = long_polls
        self._inflight_bytes = inflight_bytes

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("regrow_store_up", "The store answered this scrape", float(self._counts is not None))
        yield GaugeMetricFamily("regrow_long_polls", "Requests that wait for a task", self._long_polls)
        yield GaugeMetricFamily(
            "regrow_inflight_bytes", "Of bodies and results on their way through this gateway", self._inflight_bytes
        )
        if self._counts is not None:
            yield from _of_counts(self._counts)
            yield from _of_workers(self._workers)


def _of_counts(counts: Counts) -> Iterator[Metric]:
    yield GaugeMetricFamily("regrow_tasks_queued", "Tasks that wait", counts.queued)
    yield GaugeMetricFamily("regrow_tasks_running", "Tasks under lease", counts.running)
    yield CounterMetricFamily("regrow_tasks_submitted", "Accepted tasks", counts.submitted)
    yield CounterMetricFamily(
        "regrow_stale_results", "Outcomes of attempts that were no longer current", counts.stale_results
    )
    yield CounterMetricFamily(
        "regrow_vanished_tasks", "Records that were gone when their outcome came", counts.vanished
    )
    yield CounterMetricFamily("regrow_damaged_records", "Tasks whose records made no sense", counts.damaged_records)
    yield CounterMetricFamily("regrow_damaged_frames", "Damaged frames of workers", counts.damaged_frames)
    ended = {"completed": counts.completed, **counts.failed}
    yield _labelled("regrow_tasks_ended", "Ended tasks", "outcome", ended)
    yield _labelled("regrow_tasks_requeued", "Tasks queued again", "move", counts.requeued)
    yield _labelled("regrow_found_tasks", "Tasks that nobody had, put back", "place", counts.found)


def _labelled(name: str, text: str, label: str, totals: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, total in totals.items():
        family.add_metric((value,), total)
    return family


def _of_workers(workers: list[WorkerRecord]) -> Iterator[Metric]:
    yield GaugeMetricFamily("regrow_workers", "Registered workers", len(workers))
    yield GaugeMetricFamily("regrow_slots", "Slots of registered workers", sum(worker.slots for worker in workers))
    yield GaugeMetricFamily("regrow_slots_busy", "Slots at work", sum(worker.busy for worker in workers))


class Meter:
    """ASGI middleware that counts every answer, also refusals. A request that matches no route counts as "unmatched"."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        started = time.perf_counter()

        async def counted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.answered(scope["method"], route, status, time.perf_counter() - started)
