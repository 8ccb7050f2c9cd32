"""Collects the problems of one file while it is compiled, and places each where the author wrote it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from ...condition import (
    CheckedExpr,
    Declaration,
    check_expr,
    parse_condition,
    patterns_of,
    walk,
)
from ...report import MAX_PROBLEMS, ConditionError, Problem, closest, suggest
from ..labels import owner, quoted
from ..limits import MAX_POLICY_PARTS, MAX_POLICY_PROGRAM
from ..reading.shape_problems import place_problem
from ..source.document import Document, Node, Path, properties_start
from ..source.offsets import text_offsets
from .model_facts import CANDIDATE_STATE

# A comment of this form reads as the rest of the condition before it.
_CUT_OFF = re.compile(r"[ \t]+#[ \t]*(?:&&|\|\||[=!<>]=)")
_CUT_STRING = re.compile(r",|[ \t]+#")

# Problems of the text itself, or of a file that it names: their consequences at the same place are not reported again.
_SETTLED = frozenset(
    ("unknown-anchor", "bad-text", "yaml-tag", "not-finite", "empty-value", "duplicate-key")
    + ("missing-catalog", "outside-root", "not-a-catalog")
)

_NEVER_A_GROUP = re.compile(r"[^A-Za-z_]")


class Report:
    """The problems of ``document``, those found so far included; not more than are kept of one file.

    A report is about the part of the document at ``path``; ``at`` gives reports on parts of that part.
    """

    def __init__(self, document: Document, problems: Iterable[Problem]) -> None:
        self.document = document
        self.problems: list[Problem] = list(problems)
        self.path: Path = ()
        self._misspelt: dict[tuple[str | int, frozenset[str | int]], bool] = {}
        self._patterns: set[str] = set()
        self._counts = Counter[Literal["parts", "program"]]()
        self._settled = {(p.line, p.column) for p in self.problems if p.code in _SETTLED}

    def at(self, *steps: str | int) -> Report:
        """The same report on what stands below."""
        return self._about((*self.path, *steps))

    @property
    def whole(self) -> Report:
        """The same report on the whole document."""
        return self._about(())

    def _about(self, path: Path) -> Report:
        # There are a dozen for each rule, and `copy.copy` takes several times as long.
        report = Report.__new__(Report)
        report.__dict__.update(self.__dict__, path=path)
        return report

    @property
    def name(self) -> str:
        """What messages call the part."""
        return owner(self.path, self.document)

    @property
    def full(self) -> bool:
        """Whether more problems would not be kept: looking for them is wasted."""
        return len(self.problems) >= MAX_PROBLEMS

    def add(
        self,
        code: str,
        message: str,
        help: str | None = None,
        *,
        at_key: bool = False,
        secret: bool = False,
    ) -> None:
        """Note a problem at the value that ``path`` leads to, or at its key; the line of a ``secret`` is not shown."""
        if not self.full:
            problem = place_problem(
                Problem(code, message, help, path=self.path), self.document, at_key=at_key
            )
            self._note(replace(problem, source_line=None) if secret else problem)

    def _note(self, problem: Problem) -> None:
        if (problem.line, problem.column) not in self._settled:
            self.problems.append(problem)

    def unfit(self, key: str, message: str) -> None:
        """Note that the part has a ``key`` which means nothing there."""
        self.at(key).add("unfit-key", message, at_key=True)

    def missing(self, key: str, message: str, help: str | None = None, *, at: Sequence[str] = ()) -> None:
        """Note, at the part or at a key of it, that it lacks ``key``; not if that could not be read."""
        if not self.lost(key):
            self.at(*at).add("missing-key", message, help)

    def unknown(self, kind: str, name: str, known: Collection[str], help: str = "") -> None:
        """Note that there is no ``kind`` of this ``name``; ``kind`` is one word, such as ``chain``."""
        if not self.full:
            hint = suggest(name, known)
            self.add(f"unknown-{kind}", f"unknown {kind} {quoted(name)}", f"{hint}; {help}" if help else hint)

    def feature(self, name: str | None, known: Collection[str]) -> None:
        """Note it when ``name`` is no feature, unless its declaration could not be read."""
        if name is not None and name not in known and not self.whole.has_lost("features", name):
            self.unknown("feature", name, known)

    def lost(self, *keys: str) -> bool:
        """Whether any of these keys of the part was there but could not be read: also a misspelt one."""
        return any(self._lost((*self.path, key)) for key in keys)

    def has_lost(self, section: str, name: str) -> bool:
        """Whether the ``section`` of the part, or what has this name in it, could not be read."""
        return self.lost(section) or self._lost((*self.path, section, name), misspelt=False)

    def _lost(self, path: Path, *, misspelt: bool = True) -> bool:
        *above, key = path
        lost = self._node(tuple(above))
        if lost is None or not lost.lost:
            return False
        if key in lost.lost or not misspelt:
            return key in lost.lost
        # Many rules may ask for the same key of one mapping.
        asked = (key, lost.lost)
        if asked not in self._misspelt:
            self._misspelt[asked] = closest(str(key), list(map(str, lost.lost))) is not None
        return self._misspelt[asked]

    @property
    def node(self) -> Node | None:
        """What stands at ``path``; None if there is nothing."""
        return self._node(self.path)

    @property
    def has_lost_parts(self) -> bool:
        """Whether parts of what is at ``path`` could not be read."""
        return self.document.node_at(self.path).lost != frozenset()

    @property
    def incomplete(self) -> bool:
        """Whether the list or mapping at ``path`` is not all there: it, or a part of it, could not be read."""
        return (self.node is not None and bool(self.node.lost)) or self._lost(self.path)

    def condition(self, value: object, scope: Mapping[str, Declaration]) -> CheckedExpr | None:
        """The checked condition at ``path``, or None after noting what is wrong with it."""
        if self.full or self._is_too_much or not self.well_written():
            return None
        try:
            parsed = parse_condition(value)
            self._counts["parts"] += sum(1 for _ in walk(parsed))
            if self._counts["parts"] > MAX_POLICY_PARTS:
                message = (
                    f"the conditions have more than {MAX_POLICY_PARTS:,} parts: names, literals, operators"
                )
                self.add("too-many-parts", message, "conditions from here on are not checked")
                return None
            checked = check_expr(parsed, scope)
            self._count_patterns(checked)
            return checked
        except ConditionError as error:
            found = [p for p in error.problems if not self._follows_from_lost_feature(p)]
            # What is left of a text that YAML cut in two has many faults, and one cause.
            cut = [problem for problem in found if self._cut_by(problem)]
            for problem in cut[:1] or found:
                self._note(self._in_file(problem))
            return None

    @property
    def _is_too_much(self) -> bool:
        """Whether the conditions were reported as too many; the rest of them are then not read."""
        counts = self._counts
        return counts["parts"] > MAX_POLICY_PARTS or counts["program"] > MAX_POLICY_PROGRAM

    def _count_patterns(self, checked: CheckedExpr) -> None:
        """Report it if the different patterns of all conditions are too large together."""
        for pattern, size in patterns_of(checked.expr).items():
            if pattern not in self._patterns:
                self._patterns.add(pattern)
                self._counts["program"] += size
        if self._counts["program"] > MAX_POLICY_PROGRAM:
            message = f"the patterns have more than {MAX_POLICY_PROGRAM:,} instructions together"
            help = "write shorter patterns; conditions from here on are not checked"
            self.add("too-many-patterns", message, help)

    def well_written(self) -> bool:
        """Refuse what YAML may have changed: tags (already noted), anchors, aliases and comments."""
        node, path = self.node, self.path
        if node is None:
            return True
        if node.tag is not None or node.lost:
            return False
        if node.alias or node.anchor is not None:
            mark = "an alias" if node.alias else "an anchor"
            help = "write the condition out, in quotes where it holds `&` or `*`"
            problem = Problem("yaml-anchor", f"{mark} stands where a condition should", help, path=path)
            start = properties_start(self.document.text, node.start)
            self._note(self.document.place(problem, start, node.end))
            return False
        if node.style is None and isinstance(node.value, str):
            cut = _CUT_OFF.match(self.document.text, node.end)
            if cut is not None:
                problem = Problem(
                    "yaml-comment",
                    "` #` begins a comment: the rest of the condition is lost",
                    "put the condition in quotes, or the comment on a line of its own",
                    path=path,
                )
                start = self.document.text.index("#", node.end)
                self._note(self.document.place(problem, start, start + 1))
                return False
        return all([self.at(step).well_written() for step in node.children])

    def _node(self, path: Path) -> Node | None:
        node: Node | None = self.document.root
        for step in path:
            node = None if node is None else node.children.get(step)
        return node

    def _follows_from_lost_feature(self, problem: Problem) -> bool:
        if problem.code != "unknown-name":
            return False
        features = self._node(("features",))
        if features is None:
            return self.whole.lost("features")
        return any(f"`{name}`" in problem.message for name in features.lost)

    def _place_of(self, problem: Problem) -> Path:
        """The path to the text that a problem of the condition is in."""
        return (*self.path, *problem.span.part) if problem.span else self.path

    def _in_file(self, problem: Problem) -> Problem:
        span, here = problem.span, self._place_of(problem)
        node = self.document.node_at(here)
        problem = replace(problem, path=here, help=self._help(problem, node, here))
        if span is None or not isinstance(node.value, str):
            return place_problem(problem, self.document)
        places = text_offsets(self.document, node)
        start = places[min(span.start, len(places) - 1)]
        end = places[min(max(span.end - 1, span.start), len(places) - 1)] + 1
        return self.document.place(problem, start, end)

    def _cut_by(self, problem: Problem) -> str | None:
        """The sign at which YAML ended the plain text that the problem is in, where a string was open."""
        node = self.document.node_at(self._place_of(problem))
        cut = _CUT_STRING.match(self.document.text, node.end)
        return cut[0] if problem.code == "bad-string" and node.style is None and cut is not None else None

    def _help(self, problem: Problem, node: Node, path: Path) -> str | None:
        """What helps where YAML or the place of the condition is behind the mistake."""
        cut = self._cut_by(problem)
        if cut == ",":
            return "inside `[…]` and `{…}` a comma ends plain text: put the whole condition in quotes"
        if cut is not None:
            return "` #` begins a comment in YAML: put the whole condition in quotes"
        if problem.code == "bad-group" and any(_NEVER_A_GROUP.search(str(key)) for key in node.children):
            return "a `: ` makes a key of the text before it: put the whole condition in quotes"
        if problem.code == "unknown-name" and path[-1] in ("when", "for"):
            if any(f"`{name}" in problem.message for name in ("model.", *CANDIDATE_STATE)):
                return "what is known of a candidate can be asked in `require`, `never` and `always`"
        return problem.help
