"""Parses each of the command lines on stdin as SGLang does, and says what it knows."""

import json
import sys
from importlib.metadata import version

from sglang_package import chat_fields, parser, variables

made = parser()
parsed = []
for line in json.load(sys.stdin):
    try:
        found = made.parse_args(line)
    except SystemExit as error:
        parsed.append({"error": error.code})
        continue
    plain = (str, int, float, bool, list, type(None))
    parsed.append({name: value for name, value in vars(found).items() if isinstance(value, plain)})
flags = [list(action.option_strings) for action in made._actions]
told = {
    "version": version("sglang"),
    "parsed": parsed,
    "flags": flags,
    "variables": sorted(variables()),
    "fields": sorted(chat_fields()),
}
json.dump(told, sys.stdout, default=str)
