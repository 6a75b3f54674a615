"""A store whose replies get lost: scripts are passed on, and the connection is cut instead of the answer."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Cutter(socketserver.ThreadingUnixStreamServer):
    """Passes bytes on to a server; the replies to the first ``cuts`` scripts are lost. ``scripts`` counts those."""

    daemon_threads = True

    def __init__(self, path: str, target: Path, cuts: float) -> None:
        self.target = str(target)
        self.cuts = cuts
        self.scripts = 0
        super().__init__(path, CutterHandler)


class CutterHandler(socketserver.BaseRequestHandler):
    server: Cutter

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as inner:
            inner.connect(self.server.target)
            while sent := self.request.recv(1 << 20):
                inner.sendall(sent)
                answer = inner.recv(1 << 20)
                if b"EVAL" in sent and b"NOSCRIPT" not in answer and self.server.scripts < self.server.cuts:
                    self.server.scripts += 1
                    return
                self.request.sendall(answer)


@contextmanager
def cut_replies(target: Path, cuts: float = float("inf")) -> Iterator[Cutter]:
    """A cutter before the server at the unix socket ``target``; its own is ``cutter.server_address``."""
    with Cutter(str(target.with_name("cut")), target, cuts) as cutter:
        threading.Thread(target=lambda: cutter.serve_forever(0.01), daemon=True).start()
        yield cutter
        cutter.shutdown()
