"""Shell: the ``regrow`` command.  Each package adds its subcommands through the entry-point group ``regrow.commands``.

Every flag has an environment twin, ``REGROW_`` and its name.  Exit codes: 0 done, 1 it failed, 2 the command line or the
set-up is wrong, 130 interrupted.
"""

import sys
from importlib.metadata import entry_points, version

from cyclopts import App, CycloptsError
from cyclopts.config import Env

from regrow.runtime.errors import ConfigError, RegrowError

FAILED = 1
MISUSED = 2
INTERRUPTED = 130


def assemble() -> App:
    """The whole command, with the subcommands of every installed package."""
    app = App(
        name="regrow",
        help="Python functions over REST, on a tree of processes that grows back whatever is cut.",
        version=version("regrow"),
        config=[Env("REGROW_", command=False)],
    )
    for package in sorted(entry_points(group="regrow.commands"), key=lambda point: point.name):
        app.command(package.load(), name="*")
    return app


def main() -> None:
    """Run one command and end the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """Run one command line; every error a user can cause becomes one line on standard error."""
    if not sys.platform.startswith("linux"):
        return _complain("regrow runs on Linux only (it needs pidfd, PR_SET_PDEATHSIG and subreapers)", MISUSED)
    try:
        code = assemble()(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        command = " ".join(["regrow", *(error.command_chain or ())])
        return _complain(f"{' '.join(str(error).split())} See '{command} --help'.", MISUSED)
    except ConfigError as error:
        return _complain(str(error), MISUSED)
    except RegrowError as error:
        return _complain(str(error), FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _complain(text: str, code: int) -> int:
    sys.stderr.write(f"regrow: {text}\n")
    return code


if __name__ == "__main__":
    main()
