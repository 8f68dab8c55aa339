import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("tests/gateway", "tests/contract", "tests/clients")


def test_every_row_of_the_contract_names_a_test_that_pytest_collects() -> None:
    page = (ROOT / "docs" / "contract.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| case ", "| --- "))]
    assert len(rows) > 60
    assert not [row for row in rows if not re.search(r"`test_\w+`", row)]
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", *FOLDERS],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    exist = set(re.findall(r"::(test_\w+)", collected))
    assert not set(re.findall(r"`(test_\w+)`", page)) - exist
