"""Shell: the gateway as an actor: uvicorn in the actor's own event loop, behind a listening socket that outlives it.

In a tree the root owns the socket: while a gateway is replaced, connections wait in its backlog instead of being refused,
and the port stays.  On a stop it takes no new connections, answers every long poll at once with things as they are, and
finishes what is open.
"""

import asyncio
import contextlib
import resource
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
import uvloop

from regrow.actors.addresses import listen, shown, url_of
from regrow.actors.astore import AsyncStore
from regrow.actors.events import Event
from regrow.actors.settings import GatewayArguments, Settings
from regrow.gateway.api import make_app
from regrow.gateway.service import Service
from regrow.gateway.tree import NoTree, TreeOf
from regrow.runtime.async_actor import AsyncActor, AsyncContext, run_alone
from regrow.runtime.errors import ConfigError, StoreUnavailable
from regrow.runtime.logs import log
from regrow.runtime.spec import ExitReason, ReasonKind

KEEP_ALIVE_S: Final = 75  # idle connections; longer than clients and proxies keep theirs
STOP_MARGIN_S: Final = 1.0  # of the grace, for what comes after the last answer; of a short one, half
DESCRIPTORS: Final = 65_536  # connections at once, about


class Gateway(AsyncActor[GatewayArguments, None]):
    """The HTTP door. It ends, to be replaced, if its server does."""

    arguments_type = GatewayArguments
    role = "gateway"
    loop_factory = uvloop.new_event_loop

    def __init__(self, arguments: GatewayArguments, context: AsyncContext) -> None:
        super().__init__(arguments, context)
        self._server: HttpServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self._is_stopping = False

    async def on_start(self) -> None:
        """Accept connections.  Raises ConfigError."""
        settings = self.arguments.settings
        app = make_app(settings, TreeOf(self.context) if self.context.tree else NoTree())
        if self.arguments.listening_fd is None:
            await greet(settings)
            listener = listen(settings.host, settings.port, "--port")
        else:
            listener = socket.socket(fileno=self.arguments.listening_fd)
        allow_descriptors()
        self._server = HttpServer(app, app.state.service)
        self._serving = asyncio.create_task(self._server.serve([listener]), name="http")
        self._serving.add_done_callback(self._ended)
        await self._accepting(self._server, self._serving)
        log.info(Event.GATEWAY_LISTENING, url=url_of(listener))

    async def _accepting(self, server: "HttpServer", serving: asyncio.Task[None]) -> None:
        """Return when connections are accepted.  Raises what keeps the server from that."""
        accepting = asyncio.create_task(server.accepting.wait())
        await asyncio.wait({accepting, serving}, return_when=asyncio.FIRST_COMPLETED)
        accepting.cancel()
        if serving.done():
            await serving

    async def on_stop(self, grace_s: float | None) -> None:
        """Answer what is open, for at most ``grace_s`` seconds."""
        self._is_stopping = True
        if self._server is not None and self._serving is not None:
            grace_s = self.arguments.settings.drain_s if grace_s is None else grace_s
            self._server.stop(grace_s - min(STOP_MARGIN_S, grace_s / 2))
            await asyncio.wait({self._serving}, timeout=grace_s)
        self.context.exit()

    def _ended(self, serving: asyncio.Task[None]) -> None:
        """The server has ended; that is well only when it was asked to."""
        if not self._is_stopping:
            error = None if serving.cancelled() else serving.exception()
            self.context.exit(ExitReason(ReasonKind.EXCEPTION, type(error).__name__, f"the HTTP server ended: {error}"))


class HttpServer(uvicorn.Server):
    """Uvicorn, as a part of an actor: signals are the actor's, and a stop begins by releasing the long polls."""

    def __init__(self, app: object, service: Service) -> None:
        super().__init__(
            uvicorn.Config(
                app,  # type: ignore[arg-type]
                http="httptools",
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,  # Origin is compared with the scheme that the connection really has
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
            )
        )
        self.accepting = asyncio.Event()
        self._service = service
        service.events.cut = self._cut

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        await super().startup(sockets)
        self.accepting.set()

    def stop(self, within_s: float) -> None:
        """Accept nothing new, and end when every request is answered or ``within_s`` seconds are over."""
        self.config.timeout_graceful_shutdown = within_s  # type: ignore[assignment]  # it is what asyncio.wait_for takes
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Nobody waits for a task or listens any more."""
        self._service.waiting.release()
        self._service.events.release()
        await super().shutdown(sockets)

    def _cut(self, peer: object) -> None:
        """Break the connections of a client at this address that takes nothing any more."""
        for connection in self.server_state.connections:
            if peer is not None and getattr(connection, "client", None) == peer and connection.transport is not None:
                connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None: they are the actor's."""
        yield


def allow_descriptors() -> None:
    """Let this process have as many connections as the system lets it; the usual soft limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def greet(settings: Settings) -> None:
    """See that the store is there and fit.  Raises ConfigError."""
    from regrow.actors.system import say_facts

    store = AsyncStore.connect(settings.redis_url)
    try:
        facts = await store.check()
    except StoreUnavailable as error:
        raise ConfigError(
            f"--redis-url {shown(settings.redis_url)}: {error}; is it running, and reachable from here?"
        ) from None
    finally:
        await store.close()
    say_facts(facts)


def serve_alone(settings: Settings) -> int:
    """Run one gateway in this process until SIGTERM or SIGINT; the exit code.  Raises ConfigError."""
    return run_alone(Gateway, GatewayArguments(settings), "gateway")
