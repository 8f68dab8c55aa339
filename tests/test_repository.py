import subprocess
import sys
from pathlib import Path

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
