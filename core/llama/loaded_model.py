"""The part that the three kinds of loaded models share."""

from __future__ import annotations

from core.llama.calls import Llama
from core.model_files.spec import ModelSpec


class LoadedModel:
    """A model in memory. One thread at a time; never deep-copied, since `llama` would load its file again."""

    def __init__(self, llama: Llama, spec: ModelSpec) -> None:
        self.llama = llama
        self.spec = spec
        self.copied_bytes = 0
        """Bytes of the weights that are not in the mapped file: on a device, in another order, or without a map."""

    def close(self) -> None:
        """Free the memory at once; a second call does nothing."""
        self.llama.close()
