"""Shell: where a run is told: a console whose reader may go away, as ``head`` and an interrupted ``tee`` do, without the run's end."""

import os
import sys

from rich.console import Console


class PatientConsole(Console):
    """What nobody reads any more is not printed; the run goes on, is undone in order, and has its own exit code."""

    def on_broken_pipe(self) -> None:
        """From here on."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
