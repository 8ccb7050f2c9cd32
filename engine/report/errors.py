"""The errors that leave Routewright, and the problems they carry.

    RoutewrightError
    ├── ProblemsError           one or more problems, each with a code, a message, perhaps a help and a place
    │   ├── ConditionError      a condition that cannot be parsed or does not type-check
    │   └── PolicyError         a policy, catalog or test file that cannot be used
    ├── FeatureError            a feature value that does not fit its declaration
    ├── TaskError               a task that cannot be decided: an unknown pin, a missing random draw
    ├── RecordError             a decision record that does not belong to the policy, or cannot be read
    │   └── ErasedError         a value was erased that deciding it again needs
    ├── BackendError            a backend could not do what was asked of it        (routewright.backends)
    ├── LedgerError             the ledger could not be opened, written or asked   (routewright.ledger)
    │   └── InputError          what it was asked or given is at fault             (routewright.ledger)
    ├── QuestionError           a saved question cannot be asked as it was         (routewright.ledger)
    ├── AssumptionError         what a replay is to assume does not fit            (routewright.ledger)
    ├── ConfigurationError      the user's configuration file cannot be used       (routewright.loading)
    └── NotBuiltError           asked for something that is accepted but not built yet

Messages are lower case, without a final stop, in the user's terms, with the user's own words in backticks;
advice goes into ``help``. No foreign exception crosses a folder border.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .escapes import escape_line
from .problems import Problem, render_problems

_QUOTED = re.compile(r"`([^`]*)`")
_SHOWN_CHARACTERS = 60
_MOST_CHARACTERS = 500


class RoutewrightError(Exception):
    """Base of every error that Routewright raises on purpose; ``str()`` is one line, fit for a log.

    ``help`` is advice, where there is some; the traceback of an error that nobody catches shows it too.
    """

    def __init__(self, message: object, *, help: str | None = None) -> None:
        super().__init__(message)
        self.help = help
        if help is not None:
            self.add_note(f"help: {escape_line(help)}")

    def __str__(self) -> str:
        return escape_line(super().__str__())


class ProblemsError(RoutewrightError):
    """One or more problems, sorted by their place; ``str()`` shows them all, each with a caret line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return render_problems(self.problems)


class ConditionError(ProblemsError):
    """A condition that cannot be parsed or does not type-check."""


class PolicyError(ProblemsError):
    """A policy, catalog or test file that cannot be used."""


class FeatureError(RoutewrightError):
    """A feature value that does not fit its declaration; ``feature`` is its name.

    Names and values come from the caller and may be as long as a command line, so quotations are shortened.
    """

    def __init__(self, message: str, *, feature: str, help: str | None = None) -> None:
        super().__init__(_shortened(message), help=None if help is None else _shortened(help))
        self.feature = feature


class TaskError(RoutewrightError):
    """A task that cannot be decided as it was given."""


class RecordError(RoutewrightError):
    """A decision record that cannot be read, or that was made under another policy."""


class ErasedError(RecordError):
    """A decision cannot be made again, since a value that could have changed it was erased."""


class NotBuiltError(RoutewrightError):
    """Asked for something that a policy may say but that Routewright does not enforce yet.

    Its message may be a list with one line for each.
    """

    def __str__(self) -> str:
        return "\n".join(map(escape_line, Exception.__str__(self).split("\n")))


def _shortened(text: str) -> str:
    """A message in which each quotation has at most 60 characters, and all together 500."""
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    text = _QUOTED.sub(lambda found: f"`{_cut(found[1], _SHOWN_CHARACTERS)}`", text)
    return _cut(text, _MOST_CHARACTERS)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
