import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from tomoul import __version__

ROOT = Path(__file__).parent.parent


def test_the_folder_operator_is_no_package_so_that_it_does_not_shadow_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    where = subprocess.run(
        [sys.executable, "-c", "import operator; print(operator.__file__)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert str(ROOT) not in where


def test_the_locks_hold_hashes_and_name_no_host() -> None:
    for lock in (ROOT / "requirements").rglob("*.txt"):
        text = lock.read_text()
        assert "://" not in text
        assert "--hash=sha256:" in text
    for lock in (ROOT / "requirements").rglob("package-lock.json"):
        assert '"resolved"' not in lock.read_text(), "npm update --package-lock-only --omit-lockfile-registry-resolved"
        assert '"integrity"' in lock.read_text()


def test_all_name_one_version() -> None:
    chart = yaml.safe_load((ROOT / "charts" / "tomoul" / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {chart["version"], chart["appVersion"], project["version"]} == {__version__}
    (newest, *_) = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest == __version__
    pages = [ROOT / "README.md", ROOT / "charts" / "tomoul" / "values.yaml", ROOT / "e2e" / "images.py"]
    pages += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "images").rglob("Dockerfile")]
    for page in pages:
        named = re.findall(r"\b(?:operator|cpu-engine):(\d[\w.]*)", page.read_text())
        assert set(named) <= {__version__}, page
