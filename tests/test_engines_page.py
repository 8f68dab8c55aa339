import re
from fnmatch import fnmatch
from pathlib import Path

from tests.plan.specs import spec
from tomoul.api.enginetype import EngineType
from tomoul.plan.engines import sglang, vllm
from tomoul.plan.engines.registry import ENGINES

ROOT = Path(__file__).parent.parent
VERSIONED = {"VLLM": vllm, "SGLang": sglang}


def tables() -> list[dict[str, dict[str, str]]]:
    """The tables of what engines promise: their cells by row and column."""
    text = (ROOT / "docs" / "engines" / "README.md").read_text()
    found = []
    for table in text.split("\n\n"):
        if table.startswith("| promise |"):
            header, _, *rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
            found.append({row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows})
    return found


def promises() -> dict[str, dict[str, str]]:
    """How each promise is kept, by engine."""
    return tables()[0]


def test_the_table_of_promises_has_a_column_for_each_engine() -> None:
    assert {tuple(sorted(cells)) for cells in promises().values()} == {tuple(sorted(EngineType))}


def test_the_fields_that_a_client_cannot_set_are_those_that_are_removed() -> None:
    told = {name: re.findall(r"`([\w*]+)`", cell) for name, cell in promises()["a client cannot set"].items()}
    declared = {"promptCache": "Salted", "saltField": "saltField", "removeFields": ["removeFields"]}
    for name, engine in ENGINES.items():
        engine_spec = {"type": name, **({"image": "acme/own:1", "custom": declared} if name == "Custom" else {})}
        found = spec(engine_spec, resources={"accelerator": "nvidia-l4"})
        removed = engine.body_fields(found).remove
        assert [field for field in removed if not any(fnmatch(field, form) for form in told[name])] == []
        assert [form for form in told[name] if not any(fnmatch(field, form) for field in removed)] == []


def test_each_version_from_which_an_engine_keeps_a_promise_is_told_in_the_table() -> None:
    rows = {"_SALT_SINCE": "`noStore: Isolated`", "_REPEATS_SINCE": "a deterministic `seed`: [what it takes](#seeds)"}
    rows |= {"_OFFLOADS_SINCE": "`cache.offload`: [what it means](#offload)"}
    rows |= {"_ADAPTERS_SINCE": "`spec.adapters` ([LoRA](../adapters.md))"}
    rows |= {"_JOINS_SINCE": "several nodes (`resources.nodes`): [what it takes](nodes.md)"}
    told = 0
    for name, module in VERSIONED.items():
        for since in rows.keys() & vars(module).keys():
            assert f"from {getattr(module, since)}" in promises()[rows[since]][name]
            told += 1
    assert told == 9


def test_the_page_of_an_engine_names_the_image_that_runs_by_default() -> None:
    for name, module in VERSIONED.items():
        page = ROOT / "docs" / "engines" / f"{name.lower()}.md"
        assert f"`{module.default_image(module.DEFAULT_VERSION)}`" in page.read_text()


def test_every_row_of_the_matrix_names_a_test_for_each_engine_or_says_why_not() -> None:
    found = [table for table in tables() if "a prompt twice is a hit, so that a miss means something" in table]
    assert len(found) == 1
    assert len(found[0]) > 10
    for row, cells in found[0].items():
        # Nobody knows what a Custom engine does.
        assert cells.keys() == set(EngineType) - {EngineType.CUSTOM}
        assert all(re.search(r"`test_\w+`|not proven|the same check", cell) for cell in cells.values()), row
