"""Downloads models from a hub, each resumed where an earlier download ended."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from core.errors import CharlieError
from core.model_files import checksums
from core.model_files.configure import use
from core.model_files.gguf import File, Header, Part, read_header
from core.model_files.gguf_reader import MAX_BYTES, CutOffError, read_gguf
from core.model_files.parts import parts_of
from core.paths import Paths
from core.roles import Role

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata  # not before `_explained` has turned its telemetry off

CHUNK_BYTES = 1 << 17
HEADER_BYTES = 1 << 22
"""Of the first request for a header."""
USUAL = ("Q4_K_M", "Q4_K", "Q4_0", "Q8_0")
"""Quantizations of which a repository's file is taken, the best one first."""


def fetch(folder: Path, repo: str, file: str, on_progress: Callable[[int, int], None]) -> Path:
    """Download one file of a repository into `folder`, unless the same file is there already.

    The file's checksum is compared with the hub's and saved beside the file. The environment variable HF_ENDPOINT
    names another hub. Raises CharlieError when the download fails.
    """
    if not file.endswith(".gguf") or ".." in Path(file).parts:
        raise CharlieError(f"{file} is not a GGUF file.", "Name one of the repository's files that end in .gguf.")
    with _explained(repo, file):
        return _fetch(folder, repo, file, on_progress)


def remote_header(repo: str, file: str | None, on_progress: Callable[[int], None]) -> Header:
    """The header of a repository's file, else of its usual one: some megabytes, mostly vocabulary, are downloaded.

    `on_progress` counts bytes. Raises CharlieError.
    """
    with _explained(repo, file or "the list of files"):
        return read_header(Path(file or _usual(repo)), lambda part: _read_first(repo, part, on_progress))


def _usual(repo: str) -> str:
    """The file of a repository that most people take."""
    from huggingface_hub import HfApi

    listed = HfApi(endpoint=os.environ.get("HF_ENDPOINT")).list_repo_files(repo)
    files = sorted(each for each in listed if each.endswith(".gguf") and "mmproj" not in each)
    if not files:
        raise CharlieError(f"The repository {repo} has no GGUF files.", "Choose another one.")
    return next((each for kind in USUAL for each in files if kind in each.upper()), files[0])


def _read_first(repo: str, part: Path, on_progress: Callable[[int], None]) -> Part:
    """What a file begins with, by requests for one stretch after another, until the header is whole."""
    import httpx

    found, headers = _located(repo, part.as_posix())
    size, data = found.size or 0, b""
    while True:
        wanted = min(size, max(HEADER_BYTES, 2 * len(data)))
        stretch = headers | {"Range": f"bytes={len(data)}-{wanted - 1}"}
        with httpx.stream("GET", found.location, headers=stretch, follow_redirects=True) as answer:
            answer.raise_for_status()
            if answer.status_code != httpx.codes.PARTIAL_CONTENT:  # the whole file, of which the rest is not read
                data = b""
            for chunk in answer.iter_raw(CHUNK_BYTES):
                data += chunk
                on_progress(len(data))
                if len(data) >= wanted:
                    break
        try:
            return File(part, size, 0), *read_gguf(data, size)
        except CutOffError:
            if len(data) < wanted or wanted == size or wanted > MAX_BYTES:
                raise


@contextmanager
def _explained(repo: str, file: str) -> Iterator[None]:
    """Errors of the hub become CharlieErrors."""
    # Else the library sends a telemetry request first. It reads this when it is imported.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import httpx
    from huggingface_hub import errors, hf_hub_url
    from huggingface_hub.utils import logging

    # The library logs its retries, which the progress shows already.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    except (errors.RepositoryNotFoundError, errors.GatedRepoError) as error:
        raise CharlieError(f"The repository {repo} does not exist or is not public.", "Check its name.") from error
    except errors.EntryNotFoundError as error:
        raise CharlieError(f"The repository {repo} has no file {file}.", "Check the name of the file.") from error
    except errors.HFValidationError as error:
        raise CharlieError(f"{repo!r} is not the name of a repository.", "Name it OWNER/NAME.") from error
    except errors.OfflineModeIsEnabled as error:
        raise CharlieError("HF_HUB_OFFLINE is set, so nothing can be downloaded.", "Unset it and try again.") from error
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        url = hf_hub_url(repo, file, endpoint=os.environ.get("HF_ENDPOINT"))
        hub = urlsplit(url).netloc or os.environ.get("HF_ENDPOINT")
        raise CharlieError(f"The hub {hub} cannot be reached.", "Check the connection and try again.") from error
    except (errors.HfHubHTTPError, httpx.HTTPError) as error:
        raise CharlieError(
            f"The download of {file} from {repo} was interrupted.",
            "Check the connection and try again: the download is resumed.",
        ) from error
    except OSError as error:
        raise CharlieError(
            f"The download of {file} failed: {error.strerror or error}.",
            "Check the free disk space and try again: the download is resumed.",
        ) from error


def _located(repo: str, file: str) -> tuple[HfFileMetadata, dict[str, str]]:
    """Where a file is, and the headers to get it with."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    endpoint = os.environ.get("HF_ENDPOINT")
    url = hf_hub_url(repo, file, endpoint=endpoint)
    found, headers = get_hf_file_metadata(url, endpoint=endpoint), build_hf_headers()
    if urlsplit(found.location).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)
    return found, headers


def _fetch(folder: Path, repo: str, file: str, on_progress: Callable[[int, int], None]) -> Path:
    # hf_hub_download starts over after an interruption, so its parts are called here.
    from huggingface_hub import constants
    from huggingface_hub.file_download import http_get

    # By default it writes and reports chunks of 10 MB: minutes without progress on a slow line, lost when stopped.
    constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES
    found, headers = _located(repo, file)
    path = folder / Path(file).name
    # The etag of a large file is its checksum.
    expected = found.etag if found.etag and re.fullmatch(r"[0-9a-f]{64}", found.etag) else None
    if path.is_file() and path.stat().st_size == found.size and _is_current(path, repo, file, expected):
        return path
    # The part's name identifies the content, so a changed file is not continued.
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
    if expected is not None and sha256 != expected:
        part.unlink()
        raise CharlieError(
            f"The download of {file} is damaged: its checksum is not the one published by {repo}.",
            "Try again; the damaged file was deleted.",
        )
    part.replace(path)
    checksums.save(path, repo, file, sha256, found.commit_hash)
    return path


def _is_current(path: Path, repo: str, file: str, expected: str | None) -> bool:
    """Whether a file is the hub's, or unchanged since its download where the hub publishes no checksum."""
    kept = checksums.read(path)
    if kept is not None and (expected is None or kept.sha256 == expected):
        return checksums.has_changed(path) is None
    sha256 = checksums.sha256_of(path)
    if expected is not None and sha256 != expected:
        return False
    checksums.save(path, repo, file, sha256)
    return True


def _bar(on_progress: Callable[[int, int], None]) -> Any:
    """A tqdm class that reports to `on_progress` and draws nothing."""
    from tqdm import tqdm

    class ReportingBar(tqdm):  # type: ignore[type-arg]  # at run time it takes no argument
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **kwargs | {"disable": True})
            self.update(0)

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0  # a disabled bar does not count
            on_progress(int(self.n), int(self.total or 0))
            return None

    return ReportingBar


def pull(
    paths: Paths,
    role: Role,
    repo: str,
    file: str,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Path:
    """Download a model into the models folder and configure it; an interrupted download is resumed.

    Of a model in parts, `file` names any, and all are downloaded. `on_progress(done, total)` counts bytes, of each
    part. Raises CharlieError when the download fails, ModelFileError when the file does not fit the role.
    """
    path, *_ = [fetch(paths.models, repo, part.as_posix(), on_progress) for part in parts_of(Path(file))]
    use(paths, role, path)
    return path
