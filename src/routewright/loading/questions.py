"""Finds saved questions: those in folders of the user's, and the shipped ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from routewright.engine.report import PolicyError, Problem, suggest
from routewright.ledger import QUESTION_SUFFIX, Question, QuestionError, read_question, shipped_questions

from .loading import read_text

FOLDER: Final = "questions"
"""The folder beside a policy that holds its questions."""


def load_question(path: Path) -> Question:
    """The question in a file. Raises PolicyError with all its problems."""
    return read_question(read_text(str(path)), path.stem, str(path))


def find_question(name: str, folders: Sequence[Path]) -> Question:
    """The question of that name: the first in ``folders``, else a shipped one.

    Raises QuestionError if there is none, and PolicyError for one that cannot be read.
    """
    own = _own(folders)
    if name in own:
        return load_question(own[name])
    shipped = shipped_questions()
    if name not in shipped:
        known = sorted({*own, *shipped})
        help = suggest(name, known, label="there are")
        raise QuestionError(
            f"there is no question `{name}`", help=f"{help}; `routewright ledger ask` lists all"
        )
    return shipped[name]


def all_questions(folders: Sequence[Path]) -> Iterator[Question | PolicyError]:
    """Every question, the user's own first, each folder by name; what cannot be read is passed on as its error."""
    own = _own(folders)
    for path in own.values():
        try:
            yield load_question(path)
        except PolicyError as error:
            yield error
    yield from (question for name, question in shipped_questions().items() if name not in own)


def _own(folders: Sequence[Path]) -> dict[str, Path]:
    """The files of questions, by name; of the same name the first folder's counts. Raises PolicyError."""
    found: dict[str, Path] = {}
    for folder in folders:
        try:
            files = sorted(folder.iterdir()) if folder.is_dir() else []
        except OSError as error:
            message = f"cannot read the folder: {(error.strerror or str(error)).lower()}"
            raise PolicyError([Problem("unreadable-file", message, source=str(folder))]) from None
        for path in files:
            if path.suffix == QUESTION_SUFFIX and not path.name.startswith("."):
                found.setdefault(path.stem, path)
    return found
