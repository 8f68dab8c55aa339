import re
from functools import cache, reduce
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# From where pages name files.
FOLDERS = [ROOT / folder for folder in (".", "operator/tomoul", "operator/tomoul/gateway", "charts/tomoul")]


@cache
def written_tests() -> frozenset[str]:
    files = [file for folder in ("tests", "e2e") for file in (ROOT / folder).rglob("test_*.py")]
    found = (re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE) for file in files)
    return frozenset(name for names in found for name in names)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def named_files(text: str) -> set[str]:
    """Each file and folder, of `a/{b,c}.zig` both."""
    found = set()
    ending, top = r"(?:\.(?:py|zig|yaml|md|json|txt)|/)", "tests|e2e|docs|charts|operator|examples|images|benchmarks"
    for name in re.findall(rf"`((?:{top})/[\w./*-]+|[\w.*-]+/(?:[\w./{{}},*-]*{ending})?)`", text):
        before, _, rest = name.partition("{")
        inner, _, after = rest.partition("}")
        found |= {before + each + after for each in inner.split(",")}
    return found


def is_there(name: str, folders: list[Path]) -> bool:
    """Whether a file is there, or is in no folder of ours: an engine's own."""
    top = name.split("/")[0]
    return any([*folder.glob(name)] for folder in folders) or not any((folder / top).exists() for folder in folders)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    assert set(re.findall(r"`(test_\w+)`", text)) - written_tests() == set()
    missing = {name for name in named_files(text) if not is_there(name, [*FOLDERS, page.parent])}
    assert missing == set()
    for link in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert "://" in link or target.exists(), link
        assert "://" in link or not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_sets_is_a_value_of_the_chart(page: Path) -> None:
    text = page.read_text()
    values = yaml.safe_load((ROOT / "charts" / "tomoul" / "values.yaml").read_text())
    for name in re.findall(r"--set '?([\w.]+)=", text):
        reduce(lambda found, part: found[part], name.split("."), values)
    # The chart passes flags, before which the environment's variables do not count.
    assert re.findall(r"TOMOUL_[A-Z_]+", text) == []


def test_every_row_of_the_contract_names_a_test() -> None:
    page = (ROOT / "docs" / "contract.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| case ", "| --- "))]
    assert len(rows) > 60
    assert not [row for row in rows if not re.search(r"`test_\w+`", row)]


def test_every_fault_names_a_test() -> None:
    page = (ROOT / "docs" / "faults.md").read_text()
    rows = re.findall(r"^\| \d+ .*$", page, re.MULTILINE)
    assert [int(row.split()[1]) for row in rows] == list(range(1, 21))
    assert not [row for row in rows if not re.search(r"`test_\w+`", row)]
