"""A program: one worker without a supervisor.  Its argument: WorkerArguments as JSON."""

import sys

import msgspec

from regrow.actors.worker import Worker, WorkerArguments
from regrow.runtime.actor import run_alone

if __name__ == "__main__":
    sys.exit(run_alone(Worker, msgspec.json.decode(sys.argv[1], type=WorkerArguments), "worker-0"))
