"""Hostile conditions: each yields a value or our error, and none takes the process with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from routewright.engine.condition import evaluate
from routewright.engine.report.errors import ConditionError, RoutewrightError

MEBIBYTE = 1 << 20

FEATURES: dict[str, object] = {
    "x": 1,
    "s": "a" * 1000,
    "long": "é" * 500_000,
    "xs": list(range(10_000)),
    "tags": ["a", "b"],
    "rows": [[1] * 100] * 90,
    "flag": True,
}


def hostile() -> Iterator[str]:
    """At least two hundred conditions that nobody means well with."""
    deep = (10, 63, 64, 65, 100, 1_000, 4_900, 100_000, 1_000_000)
    for n in deep:
        yield "(" * n + "x" + ")" * n
        yield "(" * n
        yield "[" * n + "]" * n
        yield "!" * n + "flag"
        yield "-" * n + "x"
        yield "not " * n + "flag"
        yield "x" + "[0]" * n
        yield "x" + ".a" * n
        yield "s" + ".lowerAscii()" * n
        yield "size(" * n + "s" + ")" * n
        yield "flag ? " * n + "1" + ": 1" * n
        yield "x" + " + x" * n
        yield "s" + " + s" * n
        yield "xs" + " + xs" * n
        yield "flag" + " || flag" * n
        yield "x" + " == x" * n
        yield "'" + "\\" * n + "'"
        yield "9" * n
    for text in (
        "1" * 1_000_000,
        "a" * 1_000_000,
        "'" * 1_000_001,
        "\x00" * 1_000_000,
        "🐱" * 1_000_000,
        " " * 1_000_000,
    ):
        yield text
        yield text[:9_999]
    yield from (
        "__class__",
        "().__class__",
        "x.__class__",
        "''.__class__.__mro__",
        "__import__('os')",
        "__builtins__",
        "x = 3",
        "x := 3",
        "tags.append('x')",
        "tags.clear()",
        "tags.pop()",
        "xs.sort()",
        "rand()",
        "randint(5)",
        "'%900000000d' % 5",
        "'x'.ljust(1000000000)",
        "'x' * 1000000000",
        "s.replace('a', s)",
        "s.format(x)",
        "[x for x in xs]",
        "{x for x in xs}",
        "{x: x for x in xs}",
        "(x for x in xs)",
        "lambda: x",
        "yield x",
        "await x",
        "x if flag else s",
        "f'{x}'",
        "f'{x:>900000000}'",
        "3999999**3999999",
        "1 << 1000000000",
        "9223372036854775807 * 9223372036854775807",
        "1e308 * 1e308",
        "0x" + "F" * 9_000,
        "1e" + "9" * 9_000,
        "." + "9" * 9_000,
        "int('" + "9" * 9_000 + "') > 0",
        "double('1e" + "9" * 9_000 + "') > 0.0",
        "open('/etc/passwd')",
        "exec('1')",
        "eval('1')",
        "globals()",
        "x; x",
        "import os",
        "del x",
        "x,",
        "*xs",
        "x.real",
        "x.bit_length()",
        "flag.to_bytes(1000000000)",
        "tags[0:1]",
        "tags[...]",
        "x @ x",
        "x in x in x",
        "\ud800",
        "'\ud800'",
        "'\\ud800'",
        "\ufeffflag",
        "ｆlag",
        "flag\u2028flag",
        "if",
        "while",
        "namespace",
        "s.matches('(a{1000}){1000}')",
        "s.matches('(a*)*b')",
        "s.matches('" + "(" * 900 + "')",
        "s.matches('" + "(a|a)*" * 150 + "c')",
        "s.matches('\\\\C')",
        "long.matches('(x+x+)+y')",
        "long.matches('(.*)(.*)(.*)(.*)(.*)[0-9]')",
        "long.matches('" + ".{0,100}" * 8 + "x')",
        " || ".join(f"long.matches('x{i}')" for i in range(64)),
        " || ".join(f"s.matches('y{i}')" for i in range(300)),
        " || ".join("long.contains('éé1')" for _ in range(400)),
        "long + long == long",
        "long.upperAscii() == long",
        "xs.exists(a, xs.exists(b, a + b < 0))",
        "xs.all(a, xs.all(b, xs.all(c, a + b + c >= 0)))",
        "xs.exists(a, xs.exists(b, xs.exists(c, xs.exists(d, false))))",
        "xs.exists(a, a in xs && a < 0)",
        "xs.exists(a, " + " || ".join(["a < 0"] * 1_000) + ")",
        "rows.exists(r, r.exists(c, r.exists(d, c + d < 0)))",
        "xs.exists(a, long.matches('x') && a < 0)",
        "xs.exists(a, long + 'x' == 'y')",
        " || ".join(["xs.exists(a, a < 0)"] * 400),
        " || ".join(f"unknown_name_{i} > {i}" for i in range(400)),
        " || ".join(f"f{i}()" for i in range(1_000)),
        "[" + ", ".join(["1"] * 4_900) + "] == []",
        "x in [" + ", ".join(["xs"] * 900) + "]",
        "[" + ", ".join(["long"] * 900) + "] == ['a']",
        "max(" + ", ".join(["x"] * 3_000) + ") > 1",
        "[[[[[[]]]]]] == [[[[[['a']]]]]]",
        "has(" * 50 + "x" + ")" * 50,
        "x.exists(x, x.exists(x, x))",
    )


def run_all() -> None:
    """Run as a script: print how much memory each condition left the process at, and how it ended."""
    import resource
    import time

    evaluate("x > 0 && s.matches('a')", FEATURES)  # what every process pays once
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for condition in hostile():
        started = time.perf_counter()
        try:
            evaluate(condition, FEATURES)
            ending = "value"
        except RoutewrightError as error:
            ending = "error"
            assert len(str(error)) < 20_000
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds = time.perf_counter() - started
        print(json.dumps([condition[:60], len(condition), ending, (peak - base) // 1024, round(seconds, 3)]))


@pytest.mark.skipif(sys.platform == "win32", reason="needs the resource module")
def test_hostile_conditions_give_a_value_or_our_error_in_little_memory() -> None:
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[3] / "src"), "PATH": "/usr/bin:/bin"}
    # The timeout only keeps a hanging test from hanging the run.
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, timeout=600, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(reports) >= 200
    assert {report[2] for report in reports} == {"value", "error"}
    # The peak of the process that ran them all bounds what each of them took; macOS counts bytes.
    scale = 1024 if sys.platform == "darwin" else 1
    assert max(report[3] for report in reports) < 256 * scale


ATTACKS = """
x = 3
tags.append('x')
tags.clear()
'%900000000d' % 5
rand()
__class__
().__class__
''.__class__
x.__class__
tags.__class__.__base__
[x for x in tags]
(x for x in tags)
{x: x for x in tags}
lambda: 1
x if flag else 2
f'{x}'
3999999 ** 3999999
__import__('os').system('true')
x; flag
flag is True
tags[0:1] == tags
1 if flag else 2
(y := 3) == 3
str(x) == '1'
int
"""


@pytest.mark.parametrize("condition", ATTACKS.strip().splitlines())
def test_what_simpleeval_would_run_is_our_error(condition: str) -> None:
    features: dict[str, object] = {"x": 1, "tags": ["a"], "flag": True}
    with pytest.raises(ConditionError):
        evaluate(condition, features)
    assert features == {"x": 1, "tags": ["a"], "flag": True}


if __name__ == "__main__":
    run_all()
