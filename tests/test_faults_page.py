import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_row_of_the_page_about_faults_names_tests_that_there_are() -> None:
    page = (ROOT / "docs" / "faults.md").read_text()
    rows = re.findall(r"^\| \d+ .*$", page, re.MULTILINE)
    assert [int(row.split()[1]) for row in rows] == list(range(1, 21))
    assert not [row for row in rows if not re.search(r"`test_\w+`", row)]
    files = [file for folder in ("tests", "e2e") for file in (ROOT / folder).rglob("test_*.py")]
    exist = {
        name for file in files for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert not set(re.findall(r"`(test_\w+)`", page)) - exist
