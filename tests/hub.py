"""A model hub on loopback, for tests of downloads."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.waiting import join

HALF = 1_000_000
"""Bytes of a file's first part; after it the hub may fail or wait."""
PATIENCE = 30.0


class Hub:
    """One repository with one file, and `more`.

    A `broken` hub cuts off the first download and refuses the next; one that is not `ranged` sends whole files.
    """

    def __init__(
        self,
        data: bytes,
        repo: str = "owner/name",
        file: str = "model.gguf",
        *,
        broken: bool = False,
        ranged: bool = True,
        more: Mapping[str, bytes] | None = None,
    ) -> None:
        self.data, self.repo, self.file, self.broken, self.ranged = data, repo, file, broken, ranged
        self.more = dict(more or {})
        self.etag = hashlib.sha256(data).hexdigest()
        self.ranges: list[str | None] = []
        self.go = threading.Event()
        """While it is not set, downloads wait after their first part."""
        self.go.set()

    def data_of(self, path: str) -> bytes | None:
        """The content of the file that a request names."""
        files = {self.file: self.data, **self.more} if f"/{self.repo}/" in path else {}
        return next((data for file, data in files.items() if path.endswith(f"/resolve/main/{file}")), None)

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serves the hub; yields its address."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            self.go.set()
            server.shutdown()
            server.server_close()
            join(thread)


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:  # noqa: C901  # one class of small methods
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def _head(self, status: int, data: bytes, start: int = 0, end: int | None = None) -> None:
            self.send_response(status)
            etag = hub.etag if data is hub.data else hashlib.sha256(data).hexdigest()
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str((len(data) if end is None else end) - start))
            self.send_header("Connection", "close")

        def _list(self) -> None:
            """The files of the repository, as the hub's interface for programs lists them."""
            files = [{"type": "file", "path": each, "size": 1, "oid": ""} for each in (hub.file, *hub.more)]
            text = json.dumps(files).encode()
            self._head(200, text)
            self.end_headers()
            self.wfile.write(text)

        def _wanted(self) -> bytes | None:
            data = hub.data_of(self.path)
            if data is None:
                self.send_response(404)
                known = f"/{hub.repo}/" in self.path
                self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
            return data

        def do_HEAD(self) -> None:
            data = self._wanted()
            if data is not None:
                self._head(200, data)
                self.end_headers()

        def do_GET(self) -> None:
            if self.path.startswith(f"/api/models/{hub.repo}/tree/"):
                self._list()
                return
            data = self._wanted()
            if data is None:
                return
            wanted = self.headers.get("Range")
            hub.ranges.append(wanted)
            if hub.broken and len(hub.ranges) > 1:
                self.send_response(500)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start, _, last = (wanted or "").removeprefix("bytes=").partition("-") if hub.ranged else ("", "", "")
            at, end = int(start or 0), min(len(data), int(last) + 1 if last else len(data))
            self._head(206 if start else 200, data, at, end)
            if start:
                self.send_header("Content-Range", f"bytes {at}-{end - 1}/{len(data)}")
            self.end_headers()
            try:
                self.wfile.write(data[at : min(at + HALF, end)])
                self.wfile.flush()
                if not hub.broken and hub.go.wait(PATIENCE):
                    self.wfile.write(data[at + HALF : end])
                    self.wfile.flush()
            except ConnectionError:
                pass  # the client has read enough
            self.close_connection = True

    return Handler
