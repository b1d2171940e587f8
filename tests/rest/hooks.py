"""Loaded by Schemathesis before it begins.

CPython 3.11 counts how deep a syntax tree is for all threads together: two that parse at once can fail with "AST constructor
recursion depth mismatch". Hypothesis parses the sources of its strategies, on several threads. So one parses at a time.
"""

import ast
import threading

_parse = ast.parse
_one = threading.RLock()
TRIES = 5


def parse(*arguments, **named):
    with _one:
        for _ in range(TRIES - 1):
            try:
                return _parse(*arguments, **named)
            except SystemError:
                pass
        return _parse(*arguments, **named)


ast.parse = parse
