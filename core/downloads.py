"""Downloads of models from a hub, each going on where an earlier one ended; and which models are recommended."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from core import checksums
from core.errors import CharlieError
from core.settings import Role

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Recommended:
    """A model that is worth its memory. Bytes are rounded: the hub says the exact size."""

    repo: str
    file: str
    file_bytes: int
    ram_bytes: int
    """With the default context, on the CPU."""


RECOMMENDED: Final[dict[Role, tuple[Recommended, ...]]] = {
    Role.INSTRUCT: (
        Recommended("Qwen/Qwen3-0.6B-GGUF", "Qwen3-0.6B-Q8_0.gguf", 640_000_000, 1_400_000_000),
        Recommended("Qwen/Qwen3-1.7B-GGUF", "Qwen3-1.7B-Q8_0.gguf", 1_830_000_000, 2_700_000_000),
        Recommended("Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q4_K_M.gguf", 2_500_000_000, 3_600_000_000),
        Recommended("Qwen/Qwen3-8B-GGUF", "Qwen3-8B-Q4_K_M.gguf", 5_030_000_000, 6_200_000_000),
        Recommended("Qwen/Qwen3-14B-GGUF", "Qwen3-14B-Q4_K_M.gguf", 9_000_000_000, 10_500_000_000),
    ),
    Role.EMBEDDING: (
        Recommended("Qwen/Qwen3-Embedding-0.6B-GGUF", "Qwen3-Embedding-0.6B-Q8_0.gguf", 640_000_000, 900_000_000),
    ),
    Role.RERANKER: (
        Recommended("gpustack/bge-reranker-v2-m3-GGUF", "bge-reranker-v2-m3-Q8_0.gguf", 640_000_000, 800_000_000),
    ),
}
"""By role, the smallest first."""
CHUNK_BYTES = 1 << 17
RAM_SHARE, VRAM_SHARE = 1 / 3, 0.8
"""What a model may take of the machine's memory, where others need it too and a processor has to read all of it for
each token, and of an accelerator's."""


def recommended(role: Role, ram: int, vram: int = 0) -> Recommended:
    """The largest model of a role for a machine with so many bytes of RAM, and of VRAM in one accelerator."""
    room = max(ram * RAM_SHARE, vram * VRAM_SHARE)
    smallest, *larger = RECOMMENDED[role]
    fitting = [each for each in larger if each.ram_bytes <= room]
    return fitting[-1] if fitting else smallest


def fetch(folder: Path, repo: str, file: str, on_progress: Callable[[int, int], None] | None = None) -> Path:
    """Download one file of a repository into `folder`; what is there already and unchanged is not fetched again.

    Its checksum has to be the one that the hub tells, and is kept beside it. The hub is HF_ENDPOINT, where that is
    set. Raises CharlieError, with what was wrong, when it fails.
    """
    # Else the library asks its hub about the programs that use it, before anything that was asked for.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import httpx
    from huggingface_hub import errors, hf_hub_url
    from huggingface_hub.utils import logging

    if not file.endswith(".gguf") or ".." in Path(file).parts:
        raise CharlieError(f"{file} is not a GGUF file.", "Name one of the repository's files that end in .gguf.")
    # The library's own talk of retries is about what our progress shows.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        return _fetch(folder, repo, file, on_progress or _no_report)
    except (errors.RepositoryNotFoundError, errors.GatedRepoError) as error:
        raise CharlieError(
            f"The repository {repo} is not there, or not open to everybody.", "Check its name."
        ) from error
    except errors.EntryNotFoundError as error:
        raise CharlieError(f"The repository {repo} has no file {file}.", "Check the name of the file.") from error
    except errors.HFValidationError as error:
        raise CharlieError(f"{repo!r} is not the name of a repository.", "Name it OWNER/NAME.") from error
    except errors.OfflineModeIsEnabled as error:
        raise CharlieError("HF_HUB_OFFLINE is set, so nothing can be fetched.", "Unset it, and start again.") from error
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        url = hf_hub_url(repo, file, endpoint=os.environ.get("HF_ENDPOINT"))
        hub = urlsplit(url).netloc or os.environ.get("HF_ENDPOINT")
        raise CharlieError(f"The hub {hub} cannot be reached.", "Check the connection, and start it again.") from error
    except (errors.HfHubHTTPError, httpx.HTTPError) as error:
        raise _unreachable(repo, file) from error
    except OSError as error:
        raise CharlieError(
            f"The download of {file} failed: {error.strerror or error}.",
            "See that there is room on the disk, and start it again: it goes on from where it was.",
        ) from error


def _fetch(folder: Path, repo: str, file: str, on_progress: Callable[[int, int], None]) -> Path:
    # hf_hub_download begins anew after every interrupted call, so its parts are put together here.
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    # It writes and counts whole chunks of 10 MB, which on a slow line is minutes without a sign, lost when stopped.
    constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES
    endpoint = os.environ.get("HF_ENDPOINT")
    url = hf_hub_url(repo, file, endpoint=endpoint)
    found = get_hf_file_metadata(url, endpoint=endpoint)
    path = folder / Path(file).name
    # Of large files the hub's etag is the checksum.
    told = found.etag if found.etag and re.fullmatch(r"[0-9a-f]{64}", found.etag) else None
    if path.is_file() and path.stat().st_size == found.size and _is_still(path, repo, file, told):
        return path
    headers = build_hf_headers()
    if urlsplit(found.location).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)
    # The name says which content the part is of: a changed file begins anew.
    content = hashlib.sha256(f"{repo} {file} {found.etag}".encode()).hexdigest()[:16]
    part = folder / f".{path.name}.{content}.part"
    with part.open("ab") as opened:
        http_get(
            found.location,
            opened,
            resume_size=part.stat().st_size,
            headers=headers,
            expected_size=found.size,
            tqdm_class=_bar(on_progress),
        )
    sha256 = checksums.sha256_of(part)
    if told is not None and sha256 != told:
        part.unlink()
        raise CharlieError(
            f"The download of {file} is damaged: its checksum is not the one that {repo} tells.",
            "Start it again; what came is gone.",
        )
    part.replace(path)
    checksums.keep(path, repo, file, sha256)
    return path


def _is_still(path: Path, repo: str, file: str, told: str | None) -> bool:
    """Whether a file is what the hub has, or what it was when it was fetched where the hub tells no checksum."""
    kept = checksums.read(path)
    if kept is not None and (told is None or kept.sha256 == told):
        return checksums.has_changed(path) is None
    sha256 = checksums.sha256_of(path)
    if told is not None and sha256 != told:
        return False
    checksums.keep(path, repo, file, sha256)
    return True


def _unreachable(repo: str, file: str) -> CharlieError:
    return CharlieError(
        f"The download of {file} from {repo} was cut off.",
        "Check the connection, and start it again: it goes on from where it was.",
    )


def _no_report(done: int, total: int) -> None:  # noqa: ARG001
    return


def _bar(on_progress: Callable[[int, int], None]) -> Any:
    """A progress bar that draws nothing and reports instead."""
    from tqdm import tqdm

    class ReportingBar(tqdm):  # type: ignore[type-arg]  # at run time it takes no argument
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            kwargs["disable"] = True
            super().__init__(*args, **kwargs)
            # A bar that is disabled keeps no count.
            self.done = int(kwargs.get("initial") or 0)
            self.whole = int(kwargs.get("total") or 0)
            on_progress(self.done, self.whole)

        def update(self, n: float | None = 1) -> bool | None:
            self.done += int(n or 0)
            on_progress(self.done, self.whole)
            return None

    return ReportingBar
