import re
from pathlib import Path

from tomoul.api.enginetype import EngineType

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "engines").glob("*.md"))


def test_each_test_that_the_pages_about_engines_name_exists() -> None:
    files = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "e2e").glob("test_*.py")]
    exist = {
        name for file in files for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text())}
    assert len(named) > 40
    assert named - exist == set()
    paths = {path for page in PAGES for path in re.findall(r"`(tests/[\w/.]+)`", page.read_text())}
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_the_table_of_promises_has_a_column_for_each_engine() -> None:
    text = (ROOT / "docs" / "engines" / "README.md").read_text()
    (header,) = [line for line in text.splitlines() if line.startswith("| promise |") and "Custom" in line]
    columns = [cell.strip() for cell in header.strip("|").split("|")]
    assert sorted(columns[1:]) == sorted(EngineType)


def test_every_row_of_the_matrix_names_a_test_for_each_engine_or_says_why_not() -> None:
    text = (ROOT / "docs" / "engines" / "README.md").read_text()
    header = "| promise | VLLM | SGLang | LlamaCpp |\n| --- | --- | --- | --- |\n"
    rows = text[text.index(header) + len(header) :].split("\n\n")[0].splitlines()
    assert len(rows) > 10
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 4
        assert all(re.search(r"`test_\w+`|not proven|the same check", cell) for cell in cells[1:]), row
