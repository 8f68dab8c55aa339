import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_test_that_the_contracts_page_names_exists() -> None:
    page = (HERE.parents[1] / "docs" / "contract.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    defined = {name for file in HERE.glob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())}
    assert len(named) > 40
    assert not named - defined
