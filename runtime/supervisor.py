"""Shell: a supervisor: it carries out what the supervision core decides, and is an actor itself, so supervisors nest.

It holds no policy. Processes, sockets and clocks become stimuli for the core; the core's effects become processes,
signals, letters and log lines. Before it tells the core of a death it reads what the dead have still sent; after it was
itself suspended it listens for ``SETTLE_S`` before it judges anyone.
"""

import os
import random
import sys
from collections import deque
from signal import SIGTERM
from typing import Final, assert_never

from regrow.runtime import events, hooks, stimuli, tree
from regrow.runtime.actor import Actor, Context, Timer
from regrow.runtime.bulletin import Bulletin
from regrow.runtime.events import Event
from regrow.runtime.exchange import Exchange, Signs, socket_name
from regrow.runtime.life import Life, line, node
from regrow.runtime.liveness import Liveness
from regrow.runtime.process import Process, Start, link_identity
from regrow.runtime.spec import ChildSpec, ChildState, ExitReason, ReasonKind, SupervisorSpec
from regrow.runtime.supervision import Supervision
from regrow.runtime.tickets import Tickets
from regrow.runtime.tree import SupervisorMessage, TreeNode
from regrow.runtime.wire import Hello, Ready, Respecify, Show, Stop, Tell

SETTLE_S: Final = 1.0


class Supervisor(Actor[SupervisorSpec, SupervisorMessage]):
    """Keeps the children of its spec alive."""

    arguments_type = SupervisorSpec
    message_type = SupervisorMessage
    role = "supervisor"
    is_root = False

    def __init__(self, arguments: SupervisorSpec, context: Context) -> None:
        super().__init__(arguments, context)
        self._core = Supervision(arguments, random.random)
        self._liveness = Liveness()
        self._lives: dict[str, Life] = {}
        self._roles: dict[str, str] = {}
        self._stimuli: deque[stimuli.Stimulus] = deque()
        self._is_folding = False
        self._tickets = Tickets(context)
        self._bulletin = Bulletin(context)
        self._timer: Timer | None = None
        self._picture_timer: Timer | None = None
        self._quiet_until = 0.0
        self._is_deaf = hooks.has_slow_death()

    def on_start(self) -> None:
        """Open the socket and start the children; the core says when this is done."""
        self.context.defer_ready()
        address = f"ipc://{self.context.run_directory}/{socket_name(self.context.path, is_root=self.is_root)}"
        self._exchange = Exchange(self.context, address, self._take_sign, self._draw, is_root=self.is_root)
        self._feed(stimuli.Begin())

    def on_stop(self, grace_s: float | None) -> None:  # noqa: ARG002 (its children's graces add up to what they may)
        """Stop the children in order, then end."""
        self._feed(stimuli.StopRequested(ExitReason(ReasonKind.SHUTDOWN)))

    def on_gap(self, gap_s: float) -> None:  # noqa: ARG002
        """It heard nobody because it did not listen."""
        now = self.context.now()
        self._liveness.excuse(now)
        self._quiet_until = now + SETTLE_S

    def on_end(self) -> None:
        """Whatever is left when this ends out of order must not outlive it."""
        for life in self._lives.values():
            life.process.kill_group()
        for life in self._lives.values():
            if life.is_watched:
                self.context.unwatch(life.process.pidfd)
            life.process.reap()
        self._lives.clear()
        if hasattr(self, "_exchange"):
            self._exchange.close()

    def on_message(self, message: SupervisorMessage, sender: str) -> object | None:
        """Questions are answered at once, operations when they are done."""
        match message:
            case tree.WhichChildren():
                return tree.Children(tuple(line(view, self._lives.get(view.id)) for view in self._core.children()))
            case tree.CountChildren():
                counts = self._core.counts()
                return tree.Counts(counts.specs, counts.active, counts.supervisors, counts.workers)
            case tree.Tree():
                return self.picture()
            case tree.Follow():
                self._bulletin.follow(sender, message)
                return None
            case _:
                self._feed(self._tickets.take(message))
                return None

    def _feed(self, stimulus: stimuli.Stimulus) -> None:
        """Give the core a stimulus and carry out its effects; one that comes up meanwhile waits its turn."""
        self._stimuli.append(stimulus)
        if self._is_folding:
            return
        self._is_folding = True
        while self._stimuli:
            for effect in self._core.fold(self._stimuli.popleft(), self.context.now()):
                self._carry_out(effect)
        self._is_folding = False
        self._arm()
        self._redraw()

    def _take_sign(self, child: str, sign: Signs | None) -> None:
        """Something was heard from a living child."""
        life = self._lives[child]
        self._liveness.beat(child, self.context.now())
        match sign:
            case Ready():
                self._feed(stimuli.Ready(child, life.incarnation))
            case Respecify(arguments):
                self._feed(stimuli.Respecify(child, life.incarnation, arguments))
            case Show():
                life.shown = sign
                self._redraw()
            case Tell(happenings):
                self._bulletin.tell(happenings)
            case Hello(role):
                self._roles[child] = role
                self._redraw()

    def _take_end(self, child: str) -> None:
        """The pidfd of a child is readable: it has ended, and what it has said last is here or will never be."""
        self._exchange.hear()
        life = self._lives[child]
        if life.is_watched:
            self.context.unwatch(life.process.pidfd)
            life.is_watched = False
            if self._is_deaf and self._is_judged(child, life):
                return  # its silence will tell
        del self._lives[child]
        self._liveness.forget(child)
        self._feed(stimuli.Exited(child, life.incarnation, life.process.reap()))

    def _is_judged(self, child: str, life: Life) -> bool:
        """Would it be missed when it falls silent?"""
        is_running = any(view.id == child and view.state is ChildState.RUNNING for view in self._core.children())
        return is_running and life.spec.heartbeat is not None

    def _notice(self, child: str) -> None:
        """If it has ended already, that is noticed now."""
        if not self._lives[child].is_watched:
            self._take_end(child)

    def _arm(self) -> None:
        """Have the timer run at the next deadline. A beat only moves deadlines on: a timer that is early finds nothing."""
        deadlines = (self._core.next_deadline(), self._liveness.next_deadline())
        due = min((at for at in deadlines if at is not None), default=None)
        if self._timer is not None and self._timer.callback is not None:
            if due is not None and self._timer.at <= due:
                return
            self._timer.cancel()
        self._timer = None if due is None else self.context.after(due - self.context.now(), self._judge)

    def _judge(self) -> None:
        """A deadline may have come."""
        now = self.context.now()
        if now < self._quiet_until:
            self._timer = self.context.after(self._quiet_until - now, self._judge)
            return
        for child in self._liveness.overdue(now):
            life = self._lives[child]
            self._bulletin.say("warning", Event.CHILD_OVERDUE, child=child, incarnation=life.incarnation)
            self._feed(stimuli.Overdue(child, life.incarnation))
        self._feed(stimuli.Tick())

    def _carry_out(self, effect: stimuli.Effect) -> None:
        match effect:
            case stimuli.Spawn(child, incarnation, spec):
                self._spawn(child, incarnation, spec)
            case stimuli.AskToStop(child):
                self._exchange.send(child, Stop(self._lives[child].spec.shutdown_s))
                self._lives[child].process.signal(SIGTERM)
                self._notice(child)
            case stimuli.Kill(child, incarnation):
                self._bulletin.say("info", Event.CHILD_KILLED, child=child, incarnation=incarnation)
                self._lives[child].process.kill_group()
                self._notice(child)
            case stimuli.Announce():
                self.announce(effect)
            case stimuli.Report():
                self._bulletin.report(effect)
            case stimuli.Answered():
                self._redraw()
                self._tickets.answer(effect)
            case stimuli.Respecified(spec):
                self.context.respecify(spec)
            case stimuli.Started():
                self.started()
            case stimuli.Finished(reason):
                self.context.exit(self._bulletin.explained(reason))
            case _:
                assert_never(effect)

    def _spawn(self, child: str, incarnation: int, spec: ChildSpec) -> None:
        try:
            process = Process(self._order(child, incarnation, spec), spec.environment, spec.fds)
        except OSError as error:
            reason = ExitReason(ReasonKind.EXCEPTION, type(error).__name__, str(error))
            self._bulletin.born(child, incarnation, None)
            self._stimuli.append(stimuli.Exited(child, incarnation, reason))
            return
        self._lives[child] = Life(incarnation, spec, process)
        self._bulletin.born(child, incarnation, process.pid)
        self._liveness.watch(child, None, self.context.now())
        self._exchange.admit(child, link_identity(child, incarnation, process.pid))
        self.context.watch(process.pidfd, lambda: self._take_end(child))

    def _order(self, child: str, incarnation: int, spec: ChildSpec) -> Start:
        return Start(
            actor=spec.actor,
            arguments=spec.arguments,
            path=f"{self.context.path}/{child}",
            incarnation=incarnation,
            tree=self.context.tree,
            run_directory=str(self.context.run_directory),
            link=self._exchange.address,
            beat_s=spec.heartbeat.interval_s if spec.heartbeat else None,
            grace_s=spec.shutdown_s,
            log_level=events.level(),
            import_path=tuple(sys.path),
        )

    def announce(self, change: stimuli.Announce) -> None:
        """A child is in another state."""
        life = self._lives.get(change.child)
        facts = {"child": change.child, "incarnation": change.incarnation}
        if change.reason is not None:
            self._bulletin.silence(change.child)
            self._bulletin.say("info", Event.CHILD_DOWN, **facts, reason=str(change.reason))
            self._exchange.dismiss(change.child, change.reason)
        elif change.state is ChildState.RUNNING and life is not None:
            self._liveness.watch(change.child, life.spec.heartbeat, self.context.now())
            self._bulletin.say("info", Event.CHILD_UP, **facts, child_pid=life.process.pid)
        else:
            events.say("debug", Event.CHILD_STATE, **facts, state=change.state.value)

    def started(self) -> None:
        """All initial children are ready."""
        self.context.ready()

    def _redraw(self) -> None:
        """Show the children anew, once for all changes of this round."""
        if self._picture_timer is None:
            self._picture_timer = self.context.after(0.0, self._draw)

    def _draw(self) -> None:
        """Show what has changed, if anything has; so that whoever hears from us finds it shown already."""
        if self._picture_timer is not None:
            self._picture_timer.cancel()
            self._picture_timer = None
            self.show(self.picture())

    def show(self, picture: TreeNode) -> None:
        """The picture has changed."""
        self.context.show_children(list(picture.children))

    def picture(self) -> TreeNode:
        """This supervisor and all below it, from what is known now."""
        return TreeNode(
            name=self.context.name,
            path=self.context.path,
            role=self.role,
            pid=os.getpid(),
            state=ChildState.RUNNING,
            incarnation=self.context.incarnation,
            restarts=self.context.incarnation - 1,
            children=tuple(
                node(view, self._lives.get(view.id), self._roles.get(view.id), f"{self.context.path}/{view.id}")
                for view in self._core.children()
            ),
        )
