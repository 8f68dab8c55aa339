import subprocess
from pathlib import Path

import pytest

from tests.clients.environments import python


@pytest.fixture(scope="session")
def sglang_python() -> Path:
    """A Python with SGLang's wheel and little else; the test is skipped where there is no wheel for this machine."""
    try:
        return python("sglang")
    except subprocess.CalledProcessError as error:
        if "wheel" in error.stderr:
            pytest.skip("PyPI has no SGLang for this machine and Python")
        raise
