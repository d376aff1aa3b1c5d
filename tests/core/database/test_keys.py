"""The names of the keys that another library chooses."""

from __future__ import annotations

from app.client import Client
from core.database import keys


def test_the_keys_of_huey_have_the_names_that_huey_gives_them(client: Client) -> None:
    storage = client._queue.storage
    assert (storage.queue_key, storage.schedule_key) == (keys.WAITING, keys.SCHEDULE)
