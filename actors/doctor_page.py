"""Shell: what the doctor says, on a terminal or in a pipe: one line per check, and the fix below where there is one."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from regrow.actors.doctor import Finding, Level

COLOURS: Final = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}


def show(console: Console, findings: Sequence[Finding]) -> None:
    """Print it."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(Text(finding.level, style=COLOURS[finding.level]), finding.check, Text(finding.says))
        if finding.fix:
            table.add_row("", "", Text(f"fix: {finding.fix}", style="bold"))
    console.print(table)
    console.print(f"\n{verdict(findings)}")


def verdict(findings: Sequence[Finding]) -> Text:
    """The last line."""
    counts = Counter(finding.level for finding in findings)
    problems, warnings = counts[Level.PROBLEM], counts[Level.WARNING]
    if problems:
        return Text(
            f"{problems} problem(s), {warnings} warning(s): regrow's promises do not hold here", style="bold red"
        )
    text = f"nothing endangers regrow's promises here ({warnings} warning(s))"
    return Text(text, style="bold yellow" if warnings else "bold green")
