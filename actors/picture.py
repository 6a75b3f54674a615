"""Shell: the tree as a person sees it on a terminal."""

import sys
from typing import Final

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from regrow.runtime.spec import ChildState
from regrow.runtime.tree import TreeNode

COLOURS = {
    ChildState.RUNNING: "green",
    ChildState.STARTING: "yellow",
    ChildState.STOPPING: "yellow",
    ChildState.BACKOFF: "red",
    ChildState.EXITED: "dim",
    ChildState.FATAL: "red",
}


WIDE: Final = 200  # columns of a file or pipe: enough for a node's line


def wide_console() -> Console:
    """Standard output; where it is no terminal, wide enough to keep one node on one line."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)


def show_tree(console: Console, tree: TreeNode, places: dict[str, str]) -> None:
    """What runs where, once, when everything is ready."""
    console.print()
    console.print(branch(tree))
    console.print()
    console.print(f"  gateway     {places['gateway']}", style="bold")
    console.print(f"  dispatcher  {places['dispatcher']}")
    console.print(f"  store       {places['store']}")
    console.print("\n  Ctrl-C drains and stops; a second one stops at once\n", style="dim")


def show_stopping(console: Console, drain_s: float) -> None:
    """What happens now that somebody asked for the end."""
    if console.is_terminal:
        console.print()  # the terminal has just shown ^C
    console.print(f"stopping: running tasks get up to {drain_s:g} s; Ctrl-C again stops at once")


def branch(node: TreeNode) -> Tree:
    """The node and all below it."""
    tree = Tree(label(node), guide_style="dim")
    for child in node.children:
        tree.add(branch(child))
    return tree


def label(node: TreeNode) -> Text:
    """``worker-0  running  pid 4711  restarted 2x``, and what the actor says of itself."""
    text = Text(node.name, style="bold" if node.children else "")
    text.append(f"  {node.state}", style=COLOURS[node.state])
    if node.pid:
        text.append(f"  pid {node.pid}", style="dim")
    if node.restarts:
        text.append(f"  restarted {node.restarts}x", style="yellow")
    for name, fact in node.facts.items():
        text.append(f"  {name}={fact}", style="dim")
    return text
