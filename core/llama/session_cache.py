"""KV caches of conversations, saved to disk before an unload and restored when the conversation continues.

app/library_changes.py deletes the caches of a deleted entry or conversation.

A restored cache is verified: its bytes by their checksum, its tokens by the positions that llama.cpp then reports.
A file that is damaged, or written by another model, version of llama.cpp or setting, is never used.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import os
import re
import threading
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from core.files import PARTIAL_SUFFIX, stamp, write_atomically
from core.library.journal import JOURNAL
from core.llama.calls import Llama, NDArray, clear_memory, common, held_tokens, llama_cpp, np
from core.llama.checkpoints import Checkpoint, nearest
from core.llama.load_options import SWA_FULL
from core.llama.session_files import RECORD, STATE, remove
from core.model_files.fingerprint import model_sha256
from core.model_files.spec import ModelSpec

log = logging.getLogger(__name__)

MIN_TOKENS = 64
"""Fewer tokens are evaluated about as fast as they are read from disk."""
NAME = re.compile(rf"[0-9a-f]{{1,64}}|{JOURNAL}[0-9-]{{1,64}}")
NOT_RESTORABLE = "does-not-restore"
"""Marks a model whose restored caches are incomplete."""
BLOCK = 1 << 20
VERSION = 3
"""Version 1 saved caches unchecked: with a sliding window they could be wrong. Version 2 had no checkpoints."""
RECORD_BYTES = 8
"""Approximate size of a record, for each token."""


@dataclass(frozen=True, slots=True)
class Saved:
    """One conversation's saved KV cache: its file, its tokens, and the file's size (bytes) and checksum."""

    state: Path
    tokens: NDArray[np.int32]
    size: int
    crc32: int
    checkpoints: tuple[tuple[int, int], ...]
    """Those at the end of the file, in this order: the tokens and the bytes of each."""

    def usable(self, shared: int) -> int:
        """How many of its first `shared` tokens can be kept in memory that cannot be cut."""
        return shared if shared == len(self.tokens) else nearest((position for position, _ in self.checkpoints), shared)

    def read_checkpoints(self) -> list[Checkpoint]:
        *starts, total = accumulate((size for _, size in self.checkpoints), initial=0)
        parts = np.split(np.fromfile(self.state, np.uint8, offset=self.size - total), starts[1:])
        return [Checkpoint(self.tokens[:n], part) for (n, _), part in zip(self.checkpoints, parts, strict=False)]


class SessionCache:
    """The saved KV caches of one model, under `root`, which holds at most `limit` bytes for all models.

    `exists(name)` is asked before a cache is written or kept, so a deleted conversation leaves none.
    """

    def __init__(self, root: Path, spec: ModelSpec, limit: int, exists: Callable[[str], bool]) -> None:
        self._root = root
        self._spec = spec
        self._limit = limit
        self._exists = exists
        self._folder: Path | None = None
        self._saved: dict[str, Saved] = {}
        self._verified: tuple[Path, object] | None = None
        """The file that was verified during the load, and its stamp then."""
        self._opener = threading.Thread(target=self._open, name="sessions", daemon=True)
        self._opener.start()

    def _open(self) -> None:
        """On a thread during the load: the first hashing of a large file takes seconds.

        The latest conversation will most likely continue, so its file is verified already.
        """
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self._root.rglob(f"*{PARTIAL_SUFFIX}"):  # by a worker that was killed while it saved
                left.unlink(missing_ok=True)
            self._make_room(0)
            if self._limit == 0:
                return
            folder = self._root / _key(self._spec, model_sha256(self._spec.header, self._root / "hashes.json"))
            folder.mkdir(mode=0o700, exist_ok=True)
            self._saved = {path.stem: saved for path in folder.glob(f"*{RECORD}") if (saved := _read(path))}
            self._folder = folder
            last = max(self._saved.values(), key=lambda saved: saved.state.stat().st_mtime_ns, default=None)
            if last is not None:
                found = stamp(last.state)
                self._verified = (last.state, found) if _is_intact(last) else None
        except OSError as error:
            log.warning("KV caches of %s are not saved: %s", self._spec.name, error)

    def best(self, tokens: Sequence[int], cuttable: bool) -> tuple[Saved | None, int]:
        """The saved cache of which most tokens are usable, and their number; `cuttable`: all common ones are."""
        if self._folder is None or self._disabled:
            return None, 0
        wanted = np.asarray(tokens, np.int32)
        shared = [(common(each.tokens, wanted), each) for each in self._saved.values()]
        usable = [(count if cuttable else each.usable(count), each) for count, each in shared]
        count, saved = max(usable, key=lambda each: each[0], default=(0, None))
        return saved, count

    def save(self, llama: Llama, name: str, checkpoints: Sequence[Checkpoint] = (), keep: Saved | None = None) -> None:
        """Save the KV cache of `llama` as the conversation `name`. A failure is only logged.

        `keep` is not removed to make room.
        """
        self._opener.join()
        if self._folder is None or self._disabled or llama.n_tokens < MIN_TOKENS or not NAME.fullmatch(name):
            return
        if (held := held_tokens(llama)) != llama.n_tokens:
            log.warning("The KV cache of %s is not saved: it holds %d of %d tokens.", name, held, llama.n_tokens)
            return
        try:
            self._forget_deleted()
            if self._exists(name):
                self._write(llama, name, self._folder, checkpoints, keep)
        except OSError as error:
            log.warning("The KV cache of %s is not saved: %s", name, error)

    def restore(self, llama: Llama, saved: Saved) -> list[Checkpoint]:
        """Replace the KV cache of `llama` by a saved one, and return its checkpoints. On failure it is empty."""
        self._opener.join()
        clear_memory(llama)
        llama.n_tokens = 0
        count = len(saved.tokens)
        if count > llama.n_ctx():
            return []
        if self._verified != (saved.state, stamp(saved.state)) and not _is_intact(saved):
            self._remove(saved.state.stem)
            return []
        tokens, read = (llama_cpp.llama_token * count)(), ctypes.c_size_t()
        path = str(saved.state).encode()
        done = llama_cpp.llama_state_seq_load_file(llama.ctx, path, 0, tokens, count, ctypes.byref(read))
        held = held_tokens(llama) if done else 0
        if held != count or read.value != count or not np.array_equal(np.ctypeslib.as_array(tokens), saved.tokens):
            clear_memory(llama)
            if _is_intact(saved):  # so the file is not the cause
                log.info(
                    "%s restored %d of %d tokens; its KV caches are no longer saved.", self._spec.name, held, count
                )
                self._disable()
            self._remove(saved.state.stem)
            return []
        llama.input_ids[:count] = saved.tokens
        llama.n_tokens = count
        with suppress(OSError):  # another process may have removed it
            os.utime(saved.state)
            return saved.read_checkpoints()
        return []

    @property
    def _disabled(self) -> bool:
        return self._folder is not None and (self._folder / NOT_RESTORABLE).exists()

    def _disable(self) -> None:
        """Save no more caches of this model, whose restored caches are incomplete."""
        if self._folder is not None:
            with suppress(OSError):
                (self._folder / NOT_RESTORABLE).touch()
        for name in list(self._saved):
            self._remove(name)

    def _write(
        self, llama: Llama, name: str, folder: Path, checkpoints: Sequence[Checkpoint], keep: Saved | None
    ) -> None:
        tokens: NDArray[np.int32] = llama.input_ids[: llama.n_tokens].astype(np.int32)
        before = self._saved.get(name)
        if before is not None and np.array_equal(before.tokens, tokens):
            os.utime(before.state)
            return
        size = llama_cpp.llama_state_seq_get_size(llama.ctx, 0) + tokens.nbytes + RECORD_BYTES * len(tokens)
        size += sum(each.data.nbytes for each in checkpoints)
        self._remove(name)
        if size > self._limit or not self._make_room(size, keep):
            return
        part, state = folder / f"{name}{PARTIAL_SUFFIX}", folder / f"{name}{STATE}"
        try:
            given = (llama_cpp.llama_token * len(tokens))(*tokens.tolist())
            if not llama_cpp.llama_state_seq_save_file(llama.ctx, str(part).encode(), 0, given, len(tokens)):
                return
            with part.open("ab") as file:  # llama.cpp ignores what follows its own data
                for each in checkpoints:
                    each.data.tofile(file)
            sizes = tuple((len(each.tokens), each.data.nbytes) for each in checkpoints)
            saved = Saved(state, tokens, part.stat().st_size, _crc32(part), sizes)
            part.replace(state)
            record = {"of": folder.name, "size": saved.size, "crc32": saved.crc32, "tokens": tokens.tolist()}
            record["checkpoints"] = sizes
            write_atomically(folder / f"{name}{RECORD}", json.dumps(record), durable=False)
        finally:
            part.unlink(missing_ok=True)
        self._saved[name] = saved

    def _make_room(self, size: int, keep: Saved | None = None) -> bool:
        """Remove the least recently used caches, of any model, until `size` bytes fit."""
        states = sorted(self._root.glob(f"*/*{STATE}"), key=lambda path: path.stat().st_mtime_ns)
        sizes = {path: _size(path) + _size(path.with_suffix(RECORD)) for path in states}
        used = sum(sizes.values())
        for path, taken in sizes.items():
            if used + size <= self._limit:
                break
            if keep is None or path != keep.state:
                self._saved.pop(path.stem, None)
                remove(path)
                used -= taken
        return used + size <= self._limit

    def _forget_deleted(self) -> None:
        for path in self._root.glob(f"*/*{RECORD}"):
            if not self._exists(path.stem):
                self._saved.pop(path.stem, None)
                remove(path)

    def _remove(self, name: str) -> None:
        if saved := self._saved.pop(name, None):
            remove(saved.state)


def _read(record: Path) -> Saved | None:
    """A saved cache from its record; an invalid one is removed and gives None."""
    state = record.with_suffix(STATE)
    try:
        found = json.loads(record.read_bytes())
        checkpoints = tuple((int(position), int(size)) for position, size in found["checkpoints"])
        tokens = np.asarray(found["tokens"], np.int32)
        saved = Saved(state, tokens, int(found["size"]), int(found["crc32"]), checkpoints)
        own = found["of"] == record.parent.name  # not copied from another model's folder
        whole = sum(size for _, size in checkpoints) < saved.size
        inside = all(0 < position <= len(tokens) and size > 0 for position, size in checkpoints)
        if own and tokens.ndim == 1 and len(tokens) and whole and inside and state.stat().st_size == saved.size:
            return saved
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        pass
    remove(record)
    return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _is_intact(saved: Saved) -> bool:
    try:
        return saved.state.stat().st_size == saved.size and _crc32(saved.state) == saved.crc32
    except OSError:
        return False


def _crc32(path: Path) -> int:
    crc = 0
    with path.open("rb", buffering=0) as file:
        while part := file.read(BLOCK):
            crc = zlib.crc32(part, crc)
    return crc


def _key(spec: ModelSpec, sha256: str) -> str:
    """Name of the folder: a hash of everything that must be equal for a cache to be valid."""
    build = f"{llama_cpp.__version__} {llama_cpp.llama_print_system_info().decode(errors='replace')}"
    return hashlib.sha256(f"{VERSION} {SWA_FULL} {sha256} {spec.kv_type} {build}".encode()).hexdigest()[:32]
