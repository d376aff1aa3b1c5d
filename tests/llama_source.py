"""Published chat templates and llama.cpp's renderer of them, from the pinned source package of llama-cpp-python.

What is needed of it is kept in the user's cache folder, by the hash of the package, which pip checks at the download.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

LOCK = Path(__file__).parent.parent / "requirements.lock"
PIN = re.compile(r"^(llama-cpp-python==\S+ \\\n +--hash=sha256:(\w{64}))$", re.MULTILINE)
PARTS = re.compile(r"[^/]+/vendor/llama\.cpp/((?:models/templates|common/jinja|common|vendor/nlohmann)/[\w.-]+)")
PATIENCE = 300
"""Seconds that pip may take, which downloads 77 MB and prepares the package's metadata; or the compiler."""
GGML = "#include <cassert>\n#define GGML_ASSERT(x) assert(x)\n"
"""In place of ggml.h: llama.cpp's JSON needs only this of it."""
RENDER = """
#include "jinja/lexer.h"
#include "jinja/parser.h"
#include "jinja/runtime.h"
#include "json.h"
#include <fstream>
#include <iostream>
#include <iterator>

static std::string all(std::istream & stream) { return {std::istreambuf_iterator<char>(stream), {}}; }

int main(int, char ** arguments) {
    std::ifstream file(arguments[1]);
    const std::string source = all(file);
    jinja::lexer lexer;
    jinja::program program = jinja::parse_from_tokens(lexer.tokenize(source));
    jinja::context context(source);
    jinja::global_from_json(context, common_json::parse(all(std::cin)), false);
    const jinja::value results = jinja::runtime(context).execute(program);
    std::cout << jinja::runtime::gather_string_parts(results)->as_string().str();
}
"""
"""As common_chat_template_direct_apply_impl does it."""


def llama_source() -> Path:
    """A folder with the parts of llama.cpp that are needed."""
    found = PIN.search(LOCK.read_text())
    assert found is not None
    folder = user_cache_path("charlie-tests") / f"llama.cpp-{found[2]}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as made:
            unpacked = Path(made, "llama.cpp")
            _unpack(_download(Path(made), found[1]), unpacked)
            unpacked.rename(folder)
    return folder


def published_templates() -> dict[str, Path]:
    """The file of each template, by its name."""
    return {path.stem: path for path in sorted((llama_source() / "models/templates").glob("*.jinja"))}


def llama_renders(template: Path, given: dict[str, Any]) -> str:
    """The prompt as llama.cpp renders it. Raises CalledProcessError where it refuses."""
    program = _compiled(llama_source())
    done = subprocess.run([program, template], input=json.dumps(given), capture_output=True, text=True, check=True)
    return done.stdout


def _compiled(folder: Path) -> Path:
    """The program that renders, which is compiled once; it takes half a minute."""
    program = folder / "render"
    if not program.exists():
        common = folder / "common"
        with tempfile.TemporaryDirectory(dir=folder) as made:
            Path(made, "ggml.h").write_text(GGML)
            Path(made, "render.cpp").write_text(RENDER)
            sources = [Path(made, "render.cpp"), *(common / "jinja").glob("*.cpp")]
            sources += [common / "json.cpp", common / "unicode.cpp"]
            include = [f"-I{each}" for each in (common, made, folder / "vendor")]
            compiler = ["c++", "-std=c++17", "-O0", *include, *map(str, sources), "-o", f"{made}/render"]
            subprocess.run(compiler, check=True, timeout=PATIENCE)
            Path(made, "render").rename(program)
    return program


def _download(folder: Path, pin: str) -> Path:
    wanted = folder / "wanted.txt"
    wanted.write_text(pin)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    only = ["--no-deps", "--no-binary", "llama-cpp-python", "--require-hashes", "--dest", str(folder)]
    subprocess.run([*pip, *only, "--requirement", str(wanted)], check=True, timeout=PATIENCE)
    (package,) = folder.glob("*.tar.gz")
    return package


def _unpack(package: Path, folder: Path) -> None:
    with tarfile.open(package) as archive:
        for member in archive:
            if (found := PARTS.fullmatch(member.name)) and (file := archive.extractfile(member)):
                path = folder / found[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.read())
