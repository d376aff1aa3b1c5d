"""The pages that explain Charlie: short, up to date, and every file and page that they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.readme import PAGES, ROOT, renewed

FOLDERS = ("app", "core", "optimizers", "states", "tasks")
LIMITS = {"README.md": 170, **{f"{folder}/README.md": 80 for folder in FOLDERS}}
GENERATED = re.compile(r"(<!-- ([\w-]+) -->\n).*?(?=<!-- /\2 -->)", re.DOTALL)
FILE = re.compile(
    r"(?<![\w./~-])(?:[\w.*-]+/)*[\w.*-]+\.(?:py|tcss|md)\b"
    r"|(?<![\w./~-])(?:app|core|optimizers|states|tasks|tests)/[\w./*-]*"
)
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")

every_page = pytest.mark.parametrize("page", PAGES)


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub names them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@every_page
def test_generated_parts_are_up_to_date(page: str) -> None:
    assert renewed(page) == (ROOT / page).read_text(), "run `make readme`"


@pytest.mark.parametrize("page", LIMITS)
def test_pages_are_short(page: str) -> None:
    """The tables of app/README.md and core/README.md are for looking up, so they do not count."""
    text = (ROOT / page).read_text()
    counted = GENERATED.sub(r"\1", text) if page in ("app/README.md", "core/README.md") else text
    assert len(counted.splitlines()) <= LIMITS[page]


@every_page
def test_every_file_that_a_page_names_exists(page: str) -> None:
    """A path counts from the root, or from anywhere below the page's own folder."""
    folder = (ROOT / page).parent
    named = {found[0].rstrip("/.") for found in FILE.finditer((ROOT / page).read_text())}
    missing = [name for name in named if not any(ROOT.glob(name)) and (folder == ROOT or not any(folder.rglob(name)))]
    assert not missing


@every_page
def test_every_link_leads_somewhere(page: str) -> None:
    for target, anchor in LINK.findall((ROOT / page).read_text()):
        found = (ROOT / page).parent / target if target else ROOT / page
        assert found.exists(), target
        assert not anchor or anchor in headings(found), f"{target}#{anchor}"


def test_contributing_leads_to_the_page_of_every_folder() -> None:
    links = {target for target, _ in LINK.findall((ROOT / "CONTRIBUTING.md").read_text())}
    assert {f"{folder}/README.md" for folder in FOLDERS} <= links
