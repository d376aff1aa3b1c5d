"""Connections to the database: its address, clients of it, and its errors in words."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from core.database import RedisClient as RedisClient
from core.database import keys
from core.errors import DatabaseError
from core.files import write_atomically
from core.paths import Paths

Result = TypeVar("Result")
NEWER = "A later version of Charlie wrote these data, so they are opened for reading only."
RETRIES = 6
"""With the backoff below about two seconds, longer than a restart of the database."""


@dataclass(frozen=True, slots=True)
class Address:
    """The socket and pid of the running server, and the pid of the process that owns it."""

    socket: str
    pid: int
    owner: int


def read_address(paths: Paths) -> Address | None:
    """The address that the owner wrote; None when there is none."""
    try:
        found = json.loads(address_file(paths).read_text())
        return Address(str(found["socket"]), int(found["pid"]), int(found["owner"]))
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # missing, or written by another program
        return None


def answers(address: Address) -> bool:
    """Whether a server answers at the address now, without retries."""
    try:
        with redis.Redis(unix_socket_path=address.socket, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as probe:
            probe.ping()
    except redis.ResponseError as error:
        return refuses_writes(error)
    except redis.RedisError:
        return False
    return True


class _CurrentSocket(redis.UnixDomainSocketConnection):
    """Reads the address at each connect, so a client survives the replacement of the server."""

    def __init__(self, *, paths: Paths, on_missing: Callable[[], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self._paths = paths
        self._on_missing = on_missing

    def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:  # noqa: ARG002
        """Connect once: the command around it is retried, and the two would multiply."""
        super().connect_check_health(check_health, retry_socket_connect=False)

    def _connect(self) -> Any:
        try:
            if address := read_address(self._paths):
                self.path = address.socket
                return super()._connect()  # type: ignore[no-untyped-call]
        except (OSError, redis.RedisError):
            self._on_missing()
            raise
        self._on_missing()
        raise redis.ConnectionError("no database is running on this data folder")


def connect(
    paths: Paths, url: str | None, *, decode: bool = True, on_missing: Callable[[], None] = lambda: None
) -> RedisClient:
    """A client of the embedded server, or of the server at `url`; it connects with its first command.

    With `decode` it returns str, otherwise bytes. A lost connection is retried for about two seconds; `on_missing` is
    called at each failure to reach the embedded server. Raises DatabaseError for an unusable `url`.
    """
    options: dict[str, Any] = {
        "decode_responses": decode,
        "encoding_errors": "replace",  # one damaged character must not hide the others
        "protocol": 2,
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.02), RETRIES),
        "socket_timeout": 10,
        "driver_info": None,  # it costs two round trips on each new connection
    }
    if url is None:
        pool = redis.ConnectionPool(connection_class=_CurrentSocket, paths=paths, on_missing=on_missing, **options)
        return redis.Redis(connection_pool=pool)
    try:
        return redis.Redis(connection_pool=redis.ConnectionPool.from_url(url, **options))
    except ValueError as error:
        raise DatabaseError(f"The setting database.url = {url!r} cannot be used: {error}.") from error


def transact(
    client: RedisClient,
    watched: Sequence[str],
    reads: Sequence[Sequence[str]],
    change: Callable[[Any, list[Any]], Result],
) -> Result:
    """Make a change in a MULTI from the answers to `reads`, again whenever another process wrote a `watched` key.

    Like `Redis.transaction`, which takes a round trip for each read: here WATCH and all reads share one. The answers
    are as in `execute_command` without options. A change without commands writes nothing.
    """
    with client.pipeline(transaction=True) as pipe:
        while True:
            try:
                found = _watch(pipe, [("WATCH", *watched), *reads])
                pipe.multi()
                result = change(pipe, found)
                if len(pipe):
                    pipe.execute()
            except redis.WatchError:
                continue
            return result


def _watch(pipe: Any, commands: Sequence[Sequence[str]]) -> list[Any]:
    """Answers to the reads after the WATCH. All are taken from the connection before an error is raised."""
    pipe.connection = connection = pipe.connection or pipe.connection_pool.get_connection()

    def ask() -> list[Any]:
        connection.send_packed_command(connection.pack_commands(commands))
        answers: list[Any] = []
        for name, *_ in commands:
            try:
                answers.append(pipe.parse_response(connection, name))
            except redis.ResponseError as error:
                answers.append(error)
        return answers

    answers: list[Any] = connection.retry.call_with_retry(ask, lambda _: connection.disconnect())
    for each in answers:
        if isinstance(each, redis.ResponseError):
            raise each
    return answers[1:]


def without_retries(client: RedisClient) -> RedisClient:
    """A client of the same server without retries, for loops that have other work."""
    pool = client.connection_pool
    options = {**pool.connection_kwargs, "retry": Retry(NoBackoff(), 0)}
    return redis.Redis(connection_pool=redis.ConnectionPool(connection_class=pool.connection_class, **options))


def refuses_writes(error: BaseException) -> bool:
    """Whether the server refused a write because it cannot write its file: the disk is full or broken."""
    return isinstance(error, redis.ResponseError) and "MISCONF" in str(error)


def explain(error: redis.RedisError) -> DatabaseError:
    """The error in words for a failed call."""
    if isinstance(error, redis.exceptions.NoPermissionError) or "can't run this command" in str(error):
        return newer_error()
    if refuses_writes(error):
        cause = str(error).partition("AOF file: ")[2].rstrip(". ") or "it cannot write its file"
        return DatabaseError(
            f"Nothing can be saved now: {cause}.", "Make room on the disk and try again; what was saved is still there."
        )
    return DatabaseError(f"The database does not answer: {str(error).rstrip('.')}.", "Try again in a moment.")


def newer_error() -> DatabaseError:
    return DatabaseError(NEWER, "Install the latest version of Charlie to write.")


def await_writable(client: RedisClient, stop: threading.Event) -> None:
    """Wait until the server can write again or `stop` is set; tries once a second."""
    while not stop.is_set():
        try:
            client.set(keys.WRITABLE, 1)
        except redis.ResponseError as error:
            if not refuses_writes(error):
                raise
            stop.wait(1.0)
        else:
            return


def address_file(paths: Paths) -> Path:
    return paths.database / "address.json"


def write_address(paths: Paths, address: Address) -> None:
    write_atomically(address_file(paths), json.dumps(asdict(address)), durable=False)


def without_password(url: str | None) -> str | None:
    """A database URL without its password, to be shown."""
    return re.sub(r"(//[^/@]*:)[^/@]*@", r"\1***@", url) if url else None
