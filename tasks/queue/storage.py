"""The lists of the queue in Redis: waiting, processing, rejected."""

from __future__ import annotations

from huey.storage import RedisStorage

from core.database import keys

REJECTED_KEPT = 100
REJECTED_BYTES = 64 * 1024
"""The length up to which a rejected message is kept; it may be of any size."""
POLL_SECONDS = 0.25
"""The time within which an idle worker notices that it must end."""


class ProcessingStorage(RedisStorage):  # type: ignore[misc]  # huey has no types
    """A message taken from the queue stays in a processing list until it is acknowledged."""

    processing_key = keys.PROCESSING

    def dequeue(self) -> bytes | None:
        taken: bytes | None = self.conn.blmove(self.queue_key, self.processing_key, POLL_SECONDS, "RIGHT", "LEFT")
        return taken

    def acknowledge(self, data: bytes) -> None:
        self.conn.lrem(self.processing_key, 1, data)

    def reject(self, data: bytes) -> None:
        """Keep the beginning of a taken message that is not Charlie's, and count it."""
        with self.conn.pipeline(transaction=True) as pipe:
            pipe.lrem(self.processing_key, 1, data)
            pipe.lpush(keys.REJECTED, data[:REJECTED_BYTES])
            pipe.ltrim(keys.REJECTED, 0, REJECTED_KEPT - 1)
            pipe.incr(keys.REFUSED)
            pipe.execute()

    def refused(self, last: int) -> tuple[int, list[bytes]]:
        """The number of messages ever rejected, and the `last` of them, latest first."""
        with self.conn.pipeline(transaction=True) as pipe:
            pipe.get(keys.REFUSED)
            pipe.lrange(keys.REJECTED, 0, last - 1)
            count, messages = pipe.execute()
        return int(count or 0), messages

    def unacknowledged(self) -> list[bytes]:
        """The messages taken by a worker that died, the first taken last."""
        found: list[bytes] = self.conn.lrange(self.processing_key, 0, -1)
        return found

    def put_back(self, data: bytes) -> None:
        """Return a taken message to the head of the queue."""
        with self.conn.pipeline(transaction=True) as pipe:
            pipe.lrem(self.processing_key, 1, data)
            pipe.rpush(self.queue_key, data)
            pipe.execute()
