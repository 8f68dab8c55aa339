from pathlib import Path

from tomoul.api.conditions import ConditionType, Reason

PAGE = Path(__file__).parent.parent.parent / "docs" / "conditions.md"


def listed(heading: str) -> list[str]:
    section = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]


def test_every_condition_type_and_reason_is_documented_once() -> None:
    assert sorted(listed("Types")) == sorted(ConditionType)
    assert sorted(listed("Reasons")) == sorted(Reason)
