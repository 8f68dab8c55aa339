"""SGLang's own parser, prefix table and request fields, from its wheel, on a machine without a GPU or torch.

Of the wheel run, as they are: the command line (`sglang.srt.server_args` and its fields), the radix cache, and what
both import that needs nothing but the standard library and msgspec. Every other module of SGLang's, and torch, is an
empty stand-in: nothing that is used here computes with it.
"""

import argparse
import ast
import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
import types
from array import array
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

_REAL = (
    "sglang.kernels.ops.kv_canary.consts",
    "sglang.srt.arg_groups.arg_utils",
    "sglang.srt.arg_groups.argparse_actions",
    "sglang.srt.arg_groups.choices",
    "sglang.srt.arg_groups.field_order",
    "sglang.srt.arg_groups.fields",
    "sglang.srt.environ",
    "sglang.srt.function_call.parser_names",
    "sglang.srt.mem_cache.base_prefix_cache",
    "sglang.srt.mem_cache.cache_init_params",
    "sglang.srt.mem_cache.events",
    "sglang.srt.mem_cache.evict_policy",
    "sglang.srt.mem_cache.radix_cache",
    "sglang.srt.mem_cache.utils",
    "sglang.srt.model_executor.cuda_graph_config",
    "sglang.srt.parser.reasoning_parser_names",
    "sglang.srt.server_args",
)
_ABSENT = ("sglang", "torch", "numpy", "triton", "transformers", "zmq")
_found = importlib.util.find_spec("sglang")
assert _found is not None, "SGLang's wheel is not installed"
FOLDER = Path(next(iter(_found.submodule_search_locations or ())))


class _StandIn(types.ModuleType):
    __path__: Sequence[str] = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made: Any = _FUNCTIONS.get(name, _unusable)
        if name.isupper():
            made = []
        elif name[:1].isupper():
            made = type(name, (), {})
        setattr(self, name, made)
        return made


def _function(path: str, name: str) -> Any:
    """A function of a module that cannot be imported, run by itself."""
    (found,) = [
        node
        for node in ast.parse((FOLDER / path).read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    names: dict[str, Any] = {"argparse": argparse, "re": re, "Decimal": Decimal}
    exec(compile(ast.Module([found], []), path, "exec"), names)
    return names[name]


def _unusable(*_arguments: object, **_named: object) -> None:
    """What a stand-in's function does: nothing."""


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.split(".")[0] not in _ABSENT or fullname in _REAL:
            return None
        if fullname.startswith("sglang.srt.arg_groups.fields."):
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        if any(real.startswith(f"{fullname}.") for real in _REAL):
            # A package whose modules are real, without what its own file imports.
            spec.submodule_search_locations = [str(FOLDER.parent.joinpath(*fullname.split(".")))]
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return types.ModuleType(spec.name) if spec.submodule_search_locations else _StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


_FUNCTIONS = {"human_readable_int": _function("srt/utils/common.py", "human_readable_int")}
"""What turns the text of numbers into numbers: those by which the command line would else lose its values."""
sys.meta_path.insert(0, _Finder())
from sglang.srt.environ import Envs  # noqa: E402
from sglang.srt.mem_cache.base_prefix_cache import InsertParams, MatchPrefixParams  # noqa: E402
from sglang.srt.mem_cache.radix_cache import RadixCache, RadixKey  # noqa: E402
from sglang.srt.server_args import ServerArgs  # noqa: E402


def parser() -> argparse.ArgumentParser:
    """The parser of `python3 -m sglang.launch_server`."""
    made = argparse.ArgumentParser(prog="sglang.launch_server")
    ServerArgs.add_cli_args(made)
    return made


def variables() -> set[str]:
    """Names of the variables that SGLang declares."""
    return {name for name in vars(Envs) if name.startswith("SG")}


def chat_fields() -> set[str]:
    """Top-level fields of a chat completion that SGLang reads; it drops all others without a word."""
    text = (FOLDER / "srt/entrypoints/openai/protocol.py").read_text()
    classes = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}

    def fields(name: str) -> set[str]:
        if name not in classes:
            return set()
        node = classes[name]
        own = {
            each.target.id
            for each in node.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.target.id[0] != "_"
        }
        return own.union(*(fields(base.id) for base in node.bases if isinstance(base, ast.Name)))

    return fields("ChatCompletionRequest")


class PrefixTable:
    """SGLang's radix cache, keyed as its scheduler keys it (`schedule_batch.Req`)."""

    def __init__(self, disabled: bool, page_size: int) -> None:
        self._cache = RadixCache.create_simulated(disable=disabled, page_size=page_size)

    def cached(self, tokens: Sequence[int], extra_key: str | None, cache_salt: str | None) -> int:
        """How many of a prompt's first tokens are there; the last one is always computed."""
        found = self._cache.match_prefix(MatchPrefixParams(key=_key(tokens[:-1], extra_key, cache_salt)))
        return int(found.device_prefix_len)

    def insert(self, tokens: Sequence[int], extra_key: str | None, cache_salt: str | None) -> None:
        """Keep a prompt and its answer."""
        self._cache.insert(InsertParams(key=_key(tokens, extra_key, cache_salt), value=_Slots(tokens)))


def _key(tokens: Sequence[int], extra_key: str | None, cache_salt: str | None) -> Any:
    return RadixKey(array("q", tokens), extra_key or None, cache_salt=cache_salt or None)


class _Slots(list[int]):
    """Places of tokens in memory: as much of a tensor as the radix cache uses."""

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return _Slots(found) if isinstance(index, slice) else found

    def clone(self) -> "_Slots":
        return _Slots(self)
