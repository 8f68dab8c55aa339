"""Run by vLLM's own Python: parses each of the command lines on stdin as `vllm serve` does, and says what it knows."""

import json
import os
import sys

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

import vllm
from vllm import envs
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser

# As `vllm serve` has it: its parser is one of a subcommand, which takes the model by its place.
parser = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
parsed = []
for line in json.load(sys.stdin):
    try:
        found = parser.parse_args(line)
        validate_parsed_serve_args(found)
    except (SystemExit, Exception) as error:
        parsed.append({"error": repr(error)})
        continue
    plain = (str, int, float, bool, list, type(None))
    parsed.append({name: value for name, value in vars(found).items() if isinstance(value, plain)})
flags = [list(action.option_strings) for action in parser._actions]
variables = sorted(envs.environment_variables)
json.dump(
    {"version": vllm.__version__, "parsed": parsed, "flags": flags, "variables": variables}, sys.stdout, default=str
)
