"""Golden folders: `golden/<area>/<scenario in words>/in.yaml` and `out/*.yaml`, rewritten by `--update-golden`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent / "golden"


def scenarios(area: str) -> list[Path]:
    """Folders of an area, each with an `in.yaml`."""
    return sorted(path.parent for path in (ROOT / area).glob("*/in.yaml"))


def check_golden(request: pytest.FixtureRequest, folder: Path, outputs: Mapping[str, Any]) -> None:
    """Compare `outputs` (file name without ending → what it holds: text, or data written as YAML) with `folder`/out."""
    out = folder / "out"
    rendered = {
        f"{name}.yaml": yaml.safe_dump(data, sort_keys=True, allow_unicode=True, width=120)
        for name, data in outputs.items()
    }
    if request.config.getoption("--update-golden"):
        out.mkdir(exist_ok=True)
        for stale in {path.name for path in out.iterdir()} - set(rendered):
            (out / stale).unlink()
        for name, text in rendered.items():
            (out / name).write_text(text)
    found = {path.name: path.read_text() for path in out.iterdir()} if out.exists() else {}
    assert sorted(found) == sorted(rendered), f"run `make golden` if {folder.name} should now have other files"
    for name, text in rendered.items():
        assert found[name] == text, f"{folder.name}/out/{name} differs; run `make golden` if that is intended"
