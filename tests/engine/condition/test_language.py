"""What expressions mean: one line each, `expression ; features ; result`, run by every target."""

from __future__ import annotations

import json

import pytest
from support.sql_rows import values_in_sql

from routewright.engine.condition import (
    BOOLEAN,
    STRING,
    UNKNOWN,
    Declaration,
    ListType,
    Sizes,
    SqlColumn,
    check_expr,
    compile_function,
    evaluate,
    evaluate_reference,
    parse_expr,
    render_expr,
    specialise,
    sql_of,
    sql_value,
)
from routewright.engine.condition.evaluation import declarations_for

TABLE = r"""
# booleans
true                                      ; {}                         ; true
False                                     ; {}                         ; false
a || b                                    ; {"a": false, "b": true}    ; true
a or b and c                              ; {"a": true, "b": false, "c": false} ; true
not a                                     ; {"a": false}               ; true
not a == b                                ; {"a": false, "b": true}    ; true
!a == b                                   ; {"a": false, "b": true}    ; true
!!a                                       ; {"a": true}                ; true
not not a                                 ; {"a": true}                ; true
a != b                                    ; {"a": true, "b": false}    ; true
false < true                              ; {}                         ; true
a ? 1 : 2                                 ; {"a": true}                ; 1
a ? 1 : b ? 2 : 3                         ; {"a": false, "b": false}   ; 3
a ? 1 : 2.5                               ; {"a": true}                ; 1.0

# three values
a && b                                    ; {"a": false, "b": null}    ; false
b && a                                    ; {"a": false, "b": null}    ; false
a && b                                    ; {"a": true, "b": null}     ; unknown
a || b                                    ; {"a": true, "b": null}     ; true
b || a                                    ; {"a": true, "b": null}     ; true
a || b                                    ; {"a": false, "b": null}    ; unknown
a || b || c                               ; {"a": null, "b": null, "c": true}  ; true
a || b || c                               ; {"a": null, "b": false, "c": null} ; unknown
a && b && c                               ; {"a": null, "b": null, "c": false} ; false
a && b && c                               ; {"a": null, "b": true, "c": null}  ; unknown
!a                                        ; {"a": null}                ; unknown
a == a                                    ; {"a": null}                ; unknown
a ? 1 : 2                                 ; {"a": null}                ; unknown
true ? 1 : n                              ; {"n": null}                ; 1
has(a)                                    ; {"a": null}                ; false
has(a)                                    ; {"a": 0}                   ; true
has(a)                                    ; {}                         ; false
has(a) && a > 3                           ; {}                         ; false
n in [1, m]                               ; {"n": 1, "m": null}        ; unknown
n > 1 || true                             ; {"n": null}                ; true

# integers
7 / 2                                     ; {}                         ; 3
-7 / 2                                    ; {}                         ; -3
7 / -2                                    ; {}                         ; -3
-7 % 3                                    ; {}                         ; -1
7 % -3                                    ; {}                         ; 1
n / 0                                     ; {"n": 1}                   ; unknown
n % 0                                     ; {"n": 1}                   ; unknown
9223372036854775807 + 1                   ; {}                         ; unknown
-9223372036854775808 - 1                  ; {}                         ; unknown
-9223372036854775808                      ; {}                         ; -9223372036854775808
-(-9223372036854775808)                   ; {}                         ; unknown
-9223372036854775808 / -1                 ; {}                         ; unknown
-9223372036854775808 % -1                 ; {}                         ; unknown
9223372036854775807 * 2                   ; {}                         ; unknown
abs(-9223372036854775808)                 ; {}                         ; unknown
0x1F + 0Xf                                ; {}                         ; 46
007                                       ; {}                         ; 7
2 + 3 * 4 - 1                             ; {}                         ; 13
2 - 3 - 4                                 ; {}                         ; -5
--n                                       ; {"n": 3}                   ; 3
-n.size()                                 ; {"n": "abc"}               ; -3

# numbers
.5 + 1e-1                                 ; {}                         ; 0.6
1 / 2.0                                   ; {}                         ; 0.5
n + 0.5                                   ; {"n": 1}                   ; 1.5
1.0 / 0.0                                 ; {}                         ; unknown
0.0 / 0.0 == 0.0 / 0.0                    ; {}                         ; unknown
1e308 * 10                                ; {}                         ; unknown
1 == 1.0                                  ; {}                         ; true
0.1 + 0.2 == 0.3                          ; {}                         ; false
-0.0 == 0.0                               ; {}                         ; true
string(-0.0)                              ; {}                         ; "0.0"
9223372036854775807 == 9223372036854775808.0 ; {}                      ; true
9007199254740993 == 9007199254740992.0    ; {}                         ; true
[1] == [1.0]                              ; {}                         ; true
1 in [0.5, 1.0]                           ; {}                         ; true
1.0 in [1, 2]                             ; {}                         ; true

# strings
'a' + "b"                                 ; {}                         ; "ab"
'it\'s' == "it's"                         ; {}                         ; true
"\u270c\U0001f431\x41\101\n"              ; {}                         ; "✌🐱AA\n"
r'\d' == '\\d'                            ; {}                         ; true
'''a'b''' + ""                            ; {}                         ; "a'b"
'a && b' == s                             ; {"s": "a && b"}            ; true
'abc' < 'abd'                             ; {}                         ; true
'Z' < 'a'                                 ; {}                         ; true
'é' < '🐱'                                ; {}                         ; true
size('naïve🐱')                           ; {}                         ; 6
'abc'.size()                              ; {}                         ; 3
'kimi-k2'.startsWith('kimi')              ; {}                         ; true
startsWith('kimi-k2', 'k2')               ; {}                         ; false
'kimi-k2'.endsWith('k2')                  ; {}                         ; true
'kimi-k2'.contains('i-k')                 ; {}                         ; true
contains('kimi', '')                      ; {}                         ; true
'kimi-k2'.matches('k\\d$')                ; {}                         ; true
matches('kimi-k2', r'^k\d')               ; {}                         ; false
'GLM-É'.lowerAscii()                      ; {}                         ; "glm-É"
'ßa'.upperAscii()                         ; {}                         ; "ßA"

# lists
[1, 2][1]                                 ; {}                         ; 2
[1, 2][2]                                 ; {}                         ; unknown
[1, 2][-1]                                ; {}                         ; unknown
[[1], []][0][0]                           ; {}                         ; 1
[] == []                                  ; {}                         ; true
[[]] != [[]]                              ; {}                         ; false
[1] + [2] == [1, 2]                       ; {}                         ; true
xs + ['c'] == ['a', 'c']                  ; {"xs": ["a"]}              ; true
'a' in xs                                 ; {"xs": ["a", "b"]}         ; true
'a' not in xs                             ; {"xs": ["a", "b"]}         ; false
not 'a' in xs                             ; {"xs": ["a", "b"]}         ; false
!('c' in xs)                              ; {"xs": ["a", "b"]}         ; true
'x' in []                                 ; {}                         ; false
t in ['a', 'b', 'c', 'd', 'e']            ; {"t": "e"}                 ; true
t in ['a', 'b', 'c', 'd', 'e']            ; {"t": null}                ; unknown
size(xs)                                  ; {"xs": ["a", "b"]}         ; 2
[1, 2,]                                   ; {}                         ; [1, 2]
[1, 2.5]                                  ; {}                         ; [1.0, 2.5]

# macros
xs.exists(x, x > 2)                       ; {"xs": [1, 3]}             ; true
xs.exists(x, x > 2)                       ; {"xs": []}                 ; false
xs.all(x, x > 2)                          ; {"xs": [1, 3]}             ; false
xs.all(x, x > 2)                          ; {"xs": []}                 ; true
xs.exists(x, 6 / x == 3)                  ; {"xs": [0, 2]}             ; true
xs.exists(x, 6 / x == 1)                  ; {"xs": [0, 2]}             ; unknown
xs.all(x, 6 / x == 3)                     ; {"xs": [0, 1]}             ; false
xs.all(x, 6 / x == 3)                     ; {"xs": [0, 2]}             ; unknown
xs.exists(x, x > n)                       ; {"xs": [1], "n": null}     ; unknown
xs.exists(x, x > 1)                       ; {"xs": null}               ; unknown
xs.exists(x, ys.all(y, x > y))            ; {"xs": [1, 5], "ys": [2]}  ; true
rows.exists(r, r.exists(x, x == n))       ; {"rows": [[1], [2]], "n": 2} ; true
xs.exists(x, x) || x                      ; {"xs": [false], "x": true} ; true
xs.exists(i, x, i == 1 && x == 7)         ; {"xs": [5, 7]}             ; true
xs.exists(i, x, i == 2)                   ; {"xs": [5, 7]}             ; false
xs.all(i, x, x > i)                       ; {"xs": [1, 2, 3]}          ; true
xs.all(i, x, 6 / (2 - x) == i)            ; {"xs": [1, 2, 3]}          ; false
xs.exists(i, x, x / i == 17)              ; {"xs": [1, 2, 3]}          ; unknown
xs.all(i, x, i > 5)                       ; {"xs": []}                 ; true
xs.exists(i, x, ys.exists(j, y, i == j && x == y)) ; {"xs": [1, 2], "ys": [3, 2]} ; true
xs.exists(i, x, ys.all(i, x, i < 1) && x == 2)     ; {"xs": [1, 2], "ys": [3]}    ; true
xs.exists(i, x, ys[i] == x)               ; {"xs": [1, 2], "ys": [3, 2]} ; true
bool('true') && bool('1') && bool('TRUE') ; {}                         ; true
bool('f') || bool('0') || bool('False')   ; {}                         ; false
bool('tRuE')                              ; {}                         ; unknown
bool(s) == bool(true)                     ; {"s": "t"}                 ; true
xs.all(x, has(n) ? x < n : x < 9)         ; {"xs": [1, 2], "n": null}  ; true

# conversions
int(7.9)                                  ; {}                         ; 7
int(-7.9)                                 ; {}                         ; -7
int(1e19)                                 ; {}                         ; unknown
int(9223372036854775807.0)                ; {}                         ; unknown
int('42')                                 ; {}                         ; 42
int('-042')                               ; {}                         ; -42
int(' 42')                                ; {}                         ; unknown
int('4_2')                                ; {}                         ; unknown
int('٤')                                  ; {}                         ; unknown
int('9223372036854775808')                ; {}                         ; unknown
int('')                                   ; {}                         ; unknown
double('2.5e3')                           ; {}                         ; 2500.0
double('-.5')                             ; {}                         ; -0.5
double('inf')                             ; {}                         ; unknown
double('nan')                             ; {}                         ; unknown
double('1e999')                           ; {}                         ; unknown
double(3)                                 ; {}                         ; 3.0
string(true) + string(1) + string('x')    ; {}                         ; "true1x"
string(1.0)                               ; {}                         ; "1.0"
string(1e16)                              ; {}                         ; "1e+16"
string(0.00001)                           ; {}                         ; "1e-05"
abs(-2.5)                                 ; {}                         ; 2.5
min(3, 1, 2)                              ; {}                         ; 1
max(1, 2.5)                               ; {}                         ; 2.5
max(xs)                                   ; {"xs": [1, 4]}             ; 4
min(xs)                                   ; {"xs": []}                 ; unknown
dyn(1) == 1.0                             ; {}                         ; true

# names and layout
model.location == 'local'                 ; {"model.location": "local"} ; true
model.id.startsWith('k')                  ; {"model.id": "kimi"}       ; true
// before an operand \n a                 ; {"a": true}                ; true
"""


def cases() -> list[tuple[str, dict[str, object], object]]:
    found: list[tuple[str, dict[str, object], object]] = []
    for line in TABLE.splitlines():
        if line and not line.startswith("#"):
            expression, features, result = (part.strip() for part in line.split(" ; "))
            if expression.startswith("//"):
                expression = expression.replace(r"\n", "\n")
            found.append(
                (expression, json.loads(features), UNKNOWN if result == "unknown" else json.loads(result))
            )
    return found


def as_value(result: object) -> object:
    return tuple(map(as_value, result)) if isinstance(result, list) else result


@pytest.mark.parametrize(("expression", "features", "result"), cases())
def test_expression_has_the_value_of_the_table(
    expression: str, features: dict[str, object], result: object
) -> None:
    value = evaluate(expression, features)
    wanted = as_value(result)
    if isinstance(wanted, float):
        assert value == pytest.approx(wanted, rel=1e-15) and isinstance(value, float)
    else:
        assert repr(value) == repr(wanted)
    expr = parse_expr(expression)
    checked = check_expr(expr, declarations_for(expr, features), expected=None)
    names = sorted(checked.names)
    values = [as_value(features.get(name)) for name in names]
    (compiled,) = compile_function([checked], names)(values)
    assert repr(UNKNOWN if compiled is None else compiled) == repr(value)
    folded = specialise(checked, dict(zip(names, values, strict=True)))
    assert not folded.names
    assert repr(evaluate_reference(folded, {})) == repr(value)


def test_sql_has_the_values_of_the_table() -> None:
    asked, wanted = [], []
    for expression, features, _ in cases():
        expr = parse_expr(expression)
        declared = declarations_for(expr, features)
        checked = check_expr(expr, declared, expected=None)
        columns = {
            name: SqlColumn(sql_value(as_value(features.get(name)), declared[name].type), declared[name].type)
            for name in checked.names
        }
        asked.append(sql_of(checked, columns, sizes=Sizes(10, 100)))
        wanted.append(evaluate(expression, features))
    (found,) = values_in_sql(asked, {}, [{}])
    for sql, got, value in zip(asked, found, wanted, strict=True):
        assert repr(UNKNOWN if got is None else got) == repr(value), sql


def test_structured_conditions_join_their_parts() -> None:
    features = {"a": False, "b": True, "c": None}
    assert evaluate({"any": ["a", "b"]}, features) is True
    assert evaluate({"all": ["a", "c"]}, features) is False
    assert evaluate({"none": ["a", {"all": ["b", "a"]}]}, features) is True
    assert evaluate({"none": ["c"]}, features) is UNKNOWN
    assert evaluate({"any": [True]}, features) is True
    assert evaluate(False, features) is False


def test_the_engine_runs_many_conditions_with_odd_names_in_one_function() -> None:
    names = ["class", "__import__", "values", "model.location", "decide", "naïve"]
    scope = {name: Declaration(BOOLEAN) for name in names} | {"model.location": Declaration(STRING)}
    texts = ["__import__ || decide", "model.location == 'local'", "values && decide", "true"] * 300
    checked = [check_expr(parse_expr(text), scope) for text in texts]
    function = compile_function(checked, names)
    assert function([None, True, None, "local", False, None]) == (True, True, False, True) * 300
    assert compile_function([], [])([]) == ()


def test_what_has_a_default_is_never_unknown() -> None:
    scope = {
        "a": Declaration(BOOLEAN, may_be_unknown=False),
        "b": Declaration(BOOLEAN),
        "xs": Declaration(ListType(STRING)),
    }

    def may_be_unknown(text: str) -> bool:
        return check_expr(parse_expr(text), scope, expected=None).may_be_unknown

    assert not may_be_unknown("a || !a")
    assert not may_be_unknown("has(b) && has(xs)")
    assert may_be_unknown("a || b")
    assert may_be_unknown("xs == []")


@pytest.mark.parametrize(
    ("expression", "canonical"),
    [
        ("not (a or b) and (c)", "!(a || b) && c"),
        ("(a && b) || c", "a && b || c"),
        ("a && (b || c)", "a && (b || c)"),
        ("(a || b) || c", "(a || b) || c"),
        ("(a < b) == c", "(a < b) == c"),
        ("a == (b == c)", "a == (b == c)"),
        ("a - (b - c) - (d * e)", "a - (b - c) - d * e"),
        ("(a ? b : c) ? d : (e ? f : g)", "(a ? b : c) ? d : e ? f : g"),
        ("x not in [1,2]", "!(x in [1, 2])"),
        ("-(5) - -5 - (-x)", "-(5) - -5 - -x"),
        ("(a + b).size() + xs [ 0 ]", "(a + b).size() + xs[0]"),
        ('"it\'s \\x41" == r"\\d"', r"'it\'s A' == '\\d'"),
        ("0x10 + 1e3 + .5", "16 + 1000.0 + 0.5"),
    ],
)
def test_canonical_text_has_no_more_parentheses_than_needed(expression: str, canonical: str) -> None:
    assert render_expr(parse_expr(expression)) == canonical
    assert repr(parse_expr(canonical)) == repr(parse_expr(expression))
