"""YAML or JSON text → plain values, as kubectl reads it.

kubectl's parser (go-yaml 2) and PyYAML read some words differently, and what `tomoul plan` says must be what
`kubectl apply` does: `y` and `n` are booleans, `1e3` and `1.0` whole numbers, `1:30` and dates texts. Where kubectl
would lose something without a word, a key that is given twice, this is an error.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

_BOOLEANS = {
    word: value for value, words in ((True, "y yes true on"), (False, "n no false off")) for word in words.split()
}
_BOOLEAN = "|".join(f"{word}|{word.title()}|{word.upper()}" for word in _BOOLEANS)
_DIGITS = re.compile(r"[-+]?(0b[01]+|0x[0-9a-fA-F]+|0o?[0-7]+|[0-9]+)")
_NUMBER = r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o[0-7_]+|(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?)"
_INFINITE = r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_MOST_VALUES = 1_000_000
_PREFIX = "tag:yaml.org,2002:"


class YamlError(Exception):
    """A text that is no YAML, with what is wrong and where."""


def documents(text: str) -> Iterator[object]:
    """The values of a text's documents. Raises YamlError at the first that is broken."""
    try:
        # Not all JSON is YAML, which takes no tabs.
        json_value = json.loads(text, object_pairs_hook=_object, parse_float=lambda digits: _plain(float(digits)))
    except (ValueError, RecursionError):
        pass
    else:
        yield json_value
        return
    try:
        # A subclass of SafeLoader constructs plain values only.
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            assert node is not None, "there is one"
            if _values(node, {}) > _MOST_VALUES:
                raise YamlError(f"has aliases such as `*name` that make more than {_MOST_VALUES} values of a document")
            yield loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = str(getattr(error, "problem", None) or error)
        # Which editors show as spaces.
        hint = ": YAML is indented by spaces, never by tabs" if "'\\t'" in problem else ""
        raise YamlError(f"is not valid YAML{where}: {problem}{hint}") from error
    except ValueError as error:
        # Such as `!!int one`, or a number of thousands of digits.
        raise YamlError(f"is not valid YAML: {error}") from error
    except RecursionError:
        raise YamlError("is nested too deep") from None


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, with all that its aliases repeat; one that contains itself counts once."""
    if id(node) not in known:
        known[id(node)] = 1
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        entries = node.value if isinstance(node, yaml.SequenceNode) else [each for pair in pairs for each in pair]
        known[id(node)] += sum(_values(each, known) for each in entries)
    return known[id(node)]


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        names = [name for name, _ in members]
        raise YamlError(f"`{next(name for name in names if names.count(name) > 1)}` is given twice")
    return found


def _plain(number: float) -> int | float:
    """JSON has one kind of number: one that is whole is an int."""
    return int(number) if number.is_integer() else number


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping. Raises ConstructorError at a key that is given twice, or that is no text."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                problem = "a key must be a text: render a template's `{{ … }}` first, or put it in quotes"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            if key.tag != f"{_PREFIX}merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"`{key.value}` is given twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _boolean(_loader: _Loader, node: yaml.ScalarNode) -> object:
    return _BOOLEANS.get(str(node.value).lower(), node.value)


def _number(_loader: _Loader, node: yaml.ScalarNode) -> object:
    """The number, or the text itself if no double holds it."""
    text = str(node.value).replace("_", "")
    if _DIGITS.fullmatch(text):
        digits = text.lstrip("-+")
        octal = re.fullmatch("0[0-7]+", digits)
        value = int(digits, 8 if octal else 0 if digits[:2] in ("0b", "0o", "0x") else 10)
        return -value if text.startswith("-") else value
    number = float(text)
    if math.isinf(number):
        return node.value
    return _plain(number)


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """By first letter, which texts without quotes are more than texts."""
    found: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    kinds = (
        (f"{_PREFIX}bool", _BOOLEAN, "yYnNtTfFoO"),
        (f"{_PREFIX}null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
        (f"{_PREFIX}merge", "<<", "<"),
        (f"{_PREFIX}float", _INFINITE, "-+."),
        (f"{_PREFIX}int", _NUMBER, "-+.0123456789"),
    )
    for tag, pattern, firsts in kinds:
        for first in firsts:
            found.setdefault(first, []).append((tag, re.compile(f"(?:{pattern})$")))
    return found


_Loader.yaml_implicit_resolvers = _resolvers()
# Nothing that JSON does not have: no dates, sets or bytes, however they are tagged.
_Loader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.removeprefix(_PREFIX) in ("null", "bool", "int", "float", "str", "seq", "map")
}
_Loader.add_constructor(f"{_PREFIX}bool", _boolean)
_Loader.add_constructor(f"{_PREFIX}int", _number)
