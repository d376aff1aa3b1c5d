"""A download in a process of its own, so that it can be stopped at once and never holds up the interface."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING, cast

from core.errors import CharlieError
from core.tether import tethered

if TYPE_CHECKING:
    from asyncio import StreamReader
    from collections.abc import Callable

    from core.downloads import Recommended
    from core.settings import Role


async def fetch(role: Role, model: Recommended, told: Callable[[int, int], None]) -> None:
    """Download a recommended model and configure it for a role; `told(done, total)` counts bytes.

    Cancelled, it leaves what has come, and the next one goes on from there. Raises CharlieError with what the
    command said when it failed.
    """
    command = [sys.executable, "-P", "-m", "app", "models", "pull", role.value]
    command += ["--repo", model.repo, "--file", model.file, "--json"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *tethered(signal.SIGTERM, command), stdin=pipe, stdout=pipe, stderr=pipe
    )
    out, err = cast("StreamReader", process.stdout), cast("StreamReader", process.stderr)
    try:
        async for line in out:
            said = json.loads(line)
            if "total" in said:
                told(said["done"], said["total"])
        complaint = (await err.read()).decode("utf-8", "replace").strip()
        if await process.wait():
            told_why = " ".join(complaint.splitlines()).removeprefix("charlie: ")
            raise CharlieError(told_why or f"The download of {model.file} ended.")
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
