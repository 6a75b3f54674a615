"""Core: every submit, once, as the client and the tasks themselves tell of it; the record has no say in it.

A task is acknowledged when one of its submits was, rejected when all were, and unknown otherwise. An acknowledged task that nobody saw
ended is *lost* here, and so is one that is gone when it is read once more: at the end of a run nothing is on its way any more. Unknown
ones that ran all the same are *recovered*.
"""

from collections import Counter

from regrow.chaos.docket import COMPLETED, GONE, Case, Docket
from regrow.chaos.evidence import Accounting


def accounting(docket: Docket) -> Accounting:
    """It adds up: attempted = acknowledged + rejected + unknown; acknowledged = completed + failed + lost."""
    attempted = [case for case in docket.cases.values() if case.invoked is not None]
    acknowledged = [case for case in attempted if case.acknowledged is not None]
    rejected = Counter(case.rejected for case in attempted if case.is_certain_rejection)
    unknown = [case for case in attempted if case.acknowledged is None and not case.is_certain_rejection]
    ends = [None if _is_gone(case) else case.end for case in acknowledged]
    failed = Counter(end.error_kind or "unnamed" for end in ends if end is not None and end.status != COMPLETED)
    return Accounting(
        attempted=len(attempted),
        acknowledged=len(acknowledged),
        rejected=dict(sorted(rejected.items())),
        unknown=len(unknown),
        recovered=sum(bool(case.starts) for case in unknown),
        completed=sum(end is not None and end.status == COMPLETED for end in ends),
        failed=dict(sorted(failed.items())),
        lost=sum(end is None for end in ends),
        executions=dict(sorted(Counter(map(_executions, attempted)).items())),
        quarantined=failed["quarantined"],
    )


def _is_gone(case: Case) -> bool:
    return case.final is not None and case.final.type == "fail" and case.final.problem in GONE


def _executions(case: Case) -> int:
    return sum(run.has_started for run in case.runs.values())
