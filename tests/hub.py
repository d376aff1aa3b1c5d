"""A hub on loopback, for what fetches models."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HALF = 1_000_000
"""Bytes of the first part of a file; then the hub may fail, or wait."""
PATIENCE = 30.0


class Hub:
    """One repository with one file. A `broken` one cuts off the first download, and answers no second."""

    def __init__(
        self, data: bytes, repo: str = "owner/name", file: str = "model.gguf", *, broken: bool = False
    ) -> None:
        self.data, self.repo, self.file, self.broken = data, repo, file, broken
        self.etag = hashlib.sha256(data).hexdigest()
        self.ranges: list[str | None] = []
        self.go = threading.Event()
        """Unset, a download stops after its first part until it is set."""
        self.go.set()

    @contextmanager
    def served(self) -> Iterator[str]:
        """Its address."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            self.go.set()
            server.shutdown()
            server.server_close()
            thread.join()


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:  # noqa: C901  # one class of small methods
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def _head(self, status: int, length: int) -> None:
            self.send_response(status)
            self.send_header("ETag", f'"{hub.etag}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(length))
            self.send_header("Connection", "close")

        def _missing(self) -> bool:
            if self.path.endswith(f"/resolve/main/{hub.file}") and f"/{hub.repo}/" in self.path:
                return False
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if f"/{hub.repo}/" in self.path else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return True

        def do_HEAD(self) -> None:
            if not self._missing():
                self._head(200, len(hub.data))
                self.end_headers()

        def do_GET(self) -> None:
            if self._missing():
                return
            wanted = self.headers.get("Range")
            hub.ranges.append(wanted)
            if hub.broken and len(hub.ranges) > 1:
                self.send_response(500)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
            self._head(206 if start else 200, len(hub.data) - start)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(hub.data) - 1}/{len(hub.data)}")
            self.end_headers()
            self.wfile.write(hub.data[start : start + HALF])
            self.wfile.flush()
            if not hub.broken and hub.go.wait(PATIENCE):
                self.wfile.write(hub.data[start + HALF :])
                self.wfile.flush()
            self.close_connection = True

    return Handler
