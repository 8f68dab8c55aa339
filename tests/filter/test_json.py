"""The filter's reader of JSON against Python's."""

import ctypes
import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tomoul.gateway.filter.build import SOURCES

Positions = ctypes.c_size_t * (3 * 256)


@cache
def library() -> ctypes.CDLL:
    """members.zig, compiled."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "libmembers.so"
        command = [
            *(sys.executable, "-m", "ziglang", "build-lib", "-dynamic", f"-femit-bin={made}"),
            *("--cache-dir", folder, "--name", "members", "--dep", "json"),
            *(f"-Mroot={Path(__file__).parent / 'members.zig'}", f"-Mjson={SOURCES / 'json.zig'}"),
        ]
        subprocess.run(command, check=True, cwd=folder)
        found = ctypes.CDLL(str(made))
    found.members_of.restype = ctypes.c_ssize_t
    return found


def members(text: str) -> dict[str, str] | None:
    """The filter's reading: raw values by name; None if it refuses."""
    data, positions = text.encode(), Positions()
    count = library().members_of(data, len(data), positions)
    if count < 0:
        return None
    found = {}
    for index in range(count):
        key, start, end = positions[3 * index : 3 * index + 3]
        name = data[key + 1 :].partition(b'"')[0].decode()
        found[name] = data[start:end].decode()
    assert len(found) == count
    return found


class RefusedError(ValueError):
    pass


def constant(word: str) -> Any:
    raise RefusedError(word)


def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in found}) != len(found):
        raise RefusedError("a name twice")
    return dict(found)


def pythons(text: str) -> dict[str, Any] | None:
    """Python's reading; None if it refuses, or if the text is no object."""
    try:
        value = json.loads(text, parse_constant=constant, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


plain_names = st.text(st.characters(codec="utf-8", exclude_characters='"\\', exclude_categories=["Cc", "Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(plain_names, values, max_size=8)


@given(objects, st.sampled_from([None, 1]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_what_python_writes_is_read_the_same(value: dict[str, Any], indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    if any("\\" in json.dumps(name, ensure_ascii=ascii_only) for name in value):
        assert members(text) is None, "an escape in a name"
        return
    found = members(text)
    assert found is not None
    assert {name: json.loads(raw) for name, raw in found.items()} == value


@given(objects, st.integers(0, 200), st.sampled_from([*'{}[]",:\\ntf0123-+.eE', " ", ""]))
@settings(max_examples=150, deadline=None)
@example({"a": 1}, 5, "0")
@example({"a": [{}]}, 6, "]")
def test_a_damaged_text_is_never_read_as_something_else(value: dict[str, Any], at: int, instead: str) -> None:
    """What both accept they read the same, and what Python accepts is refused for an escape in a name alone."""
    text = json.dumps(value, ensure_ascii=False)
    damaged = text[: at % len(text)] + instead + text[at % len(text) + 1 :]
    found, wanted = members(damaged), pythons(damaged)
    if found is None:
        assert wanted is None or "\\" in damaged
    elif wanted is not None:
        assert {name: json.loads(raw) for name, raw in found.items()} == wanted


# Runs of what ends a string or escapes its end, longer than what is looked at together.
texts = st.text(st.sampled_from('\\"[]{}a'), max_size=150)


@given(texts, texts, st.integers(0, 200))
@settings(max_examples=150, deadline=None)
@example("a" * 31 + '"', "a" * 63 + "\\", 0)
def test_long_strings_end_where_python_sees_their_end(one: str, other: str, padding: int) -> None:
    value = {"a": one, "b": ["x" * padding, {"c": other}], "d": 1}
    found = members(json.dumps(value))
    assert found is not None
    assert {name: json.loads(raw) for name, raw in found.items()} == value
