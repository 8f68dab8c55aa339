import re
from pathlib import Path

import yaml

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.rollout import Rollout, RolloutPhase, RolloutReason
from tomoul.plan.engines.registry import ENGINES

ROW = re.compile(r"^\| (\w+) \| `(\S+)` \| `(\S+)` \| (?:`(\S+)`|-) \|$", re.MULTILINE)
DOCS = Path(__file__).parent.parent.parent / "docs"


def listed(page: str, heading: str) -> list[str]:
    section = (DOCS / page).read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]


def test_every_condition_type_and_reason_is_documented_once() -> None:
    assert sorted(listed("conditions.md", "Types")) == sorted(ConditionType)
    assert sorted(listed("conditions.md", "Reasons")) == sorted(Reason)


def test_every_reason_and_phase_of_a_rollout_is_documented_once() -> None:
    assert sorted(listed("rollouts.md", "Surge or replace")) == sorted([*RolloutReason, *RolloutPhase])


def test_the_rollout_that_is_documented_has_every_field_with_its_default() -> None:
    example = yaml.safe_load((DOCS / "rollouts.md").read_text().split("```yaml\n")[1].split("```")[0])["rollout"]
    defaults = Rollout.model_validate({"canary": {}}).model_dump(mode="json", by_alias=True)
    assert example == defaults


def test_what_engines_call_their_own_figures_is_documented() -> None:
    section = (DOCS / "metrics.md").read_text().split("## Engines\n")[1].split("\n## ")[0]
    known = {kind: tuple(engine.metrics) for kind, engine in ENGINES.items() if engine.metrics is not None}
    assert {name: (running, waiting, kv or None) for name, running, waiting, kv in ROW.findall(section)} == known
