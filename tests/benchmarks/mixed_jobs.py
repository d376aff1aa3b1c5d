"""A real worker runs 200 jobs of mixed roles, by each policy: `python -m tests.benchmarks.mixed_jobs`."""

from __future__ import annotations

import os
import tempfile
import time

from app.client import Client
from app.runtime.owner import Runtime
from core.events.types import JobChanged, Snapshot, StateChanged
from core.paths import find_paths
from core.roles import Role
from core.settings import Policy
from core.settings_file import load_settings
from tests.waiting import first, follow_events

COUNT = 200


def main() -> None:
    for policy in (Policy.EXCLUSIVE, Policy.FITTING):
        with tempfile.TemporaryDirectory() as folder:
            os.environ |= {"CHARLIE_HOME": folder, "CHARLIE_MEMORY__POLICY": policy}
            client = Client(load_settings(), find_paths())
            with Runtime(client):
                print(f"policy {policy}")
                report(client)


def report(client: Client) -> None:
    entry = client.journal.new_entry("Bread, and rain on the river")
    conversation = client.conversations.new_conversation().id
    events = follow_events(client.bus)
    assert isinstance(next(events), Snapshot)
    began, jobs = time.monotonic(), []
    for number in range(COUNT // 4):
        jobs += [client.chat(conversation, f"Message {number}", max_tokens=4), client.ingest(entry)]
        jobs += [client.search("rain"), client.warm(Role.RERANKER)]
    enqueued = time.monotonic() - began
    done: list[str] = []
    loads = loaded = most = 0
    while len(done) < len(jobs):
        event = first(events, lambda event: isinstance(event, JobChanged | StateChanged))
        match event:
            case JobChanged(state="done", id=id_):
                done.append(id_)
            case StateChanged(trigger="load"):
                loads, loaded = loads + 1, loaded + 1
                most = max(most, loaded)
            case StateChanged(trigger="unloaded" | "load_failed" | "unload_failed"):
                loaded -= 1
    in_order = done == [job.id for job in jobs]
    print(f"{len(jobs)} jobs enqueued in {enqueued:.2f} s, done after {time.monotonic() - began:.1f} s")
    print(f"in the order of enqueueing: {in_order}; loads: {loads}; models loaded at once, at most: {most}")


if __name__ == "__main__":
    main()
