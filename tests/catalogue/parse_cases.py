"""Say which of the argument lists on standard input (JSON) the real parser of `vllm serve` accepts.

Prints a JSON list: the parsed values by option where accepted, else null.
"""

import contextlib
import io
import json
import sys

from dump_options import serve_parser


def attempt(parser, words):
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            given = vars(parser.parse_args(words))
        except (SystemExit, ValueError, IndexError):
            return None
    return {name: repr(value) for name, value in given.items() if value != parser.get_default(name)}


def main():
    parser = serve_parser()
    sys.stdout.write("\n" + json.dumps([attempt(parser, words) for words in json.load(sys.stdin)]) + "\n")


if __name__ == "__main__":
    main()
