"""What the API must know of engines, as the text of `api/enginetype.py`.

The API is below the plan and imports nothing of it, so that this is generated, as the CRDs are: an engine is named in
its own module only, and what it never does is still refused early, offline and by the API server.
"""

import re
from collections.abc import Callable, Iterable

from tomoul.plan.engines.base import EngineDefinition

_HEAD = '''"""Engines by name, and what specs are refused for early. Generated from plan/engines by `make generate`."""

from enum import StrEnum


class EngineType(StrEnum):
    """%s.
    """

%s


'''
_LISTS: tuple[tuple[str, str, Callable[[EngineDefinition], bool]], ...] = (
    ("VERSIONED", "What is promised of them depends on their version.", lambda engine: engine.default_version != ""),
    ("PARSES_TOOLS", "They recognise tool calls by a parser that has to be named.", lambda each: each.parses_tools),
    ("LOADS_ONE_FILE", "They load a single file of a source.", lambda engine: engine.loads_one_file),
    ("NEVER_ISOLATES", "They cannot isolate one call in a cache.", lambda engine: engine.never_isolates),
)


def engine_type_module(engines: Iterable[EngineDefinition]) -> str:
    """Python source with the enum EngineType, and a tuple of its members for each thing that the API refuses."""
    known = sorted(engines, key=lambda engine: engine.type)
    about = ";\n    ".join(f"{each.type}: {each.about}" if each.about else each.type for each in known)
    members = "\n".join(f'    {_member(each.type)} = "{each.type}"' for each in known)
    parts = [_HEAD % (about, members)]
    for name, words, is_listed in _LISTS:
        listed = [f"EngineType.{_member(each.type)}," for each in known if is_listed(each)]
        # As the formatter would have it, however many there are.
        items = "".join(listed) if len(listed) < 2 else "".join(f"\n    {each}" for each in listed) + "\n"
        parts.append(f'{name}: tuple[EngineType, ...] = ({items})\n"""{words}"""\n')
    return "".join(parts)


def _member(name: str) -> str:
    """LLAMA_CPP for LlamaCpp, SGLANG for SGLang."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()
