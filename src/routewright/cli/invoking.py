"""Runs a command: the one place where errors become messages and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

from typer.exceptions import TyperException
from typer.main import get_command

from .commands import app
from .exit_codes import ExitCode
from .writer import ReaderGone, counted, writer


def run_app(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors are told on standard error.

    ``arguments`` are those of the process where none are given.
    """
    from routewright.engine.report import RoutewrightError

    writer.plain = False
    try:
        # Without its standalone mode typer returns the code that a command ends with: 130 after Ctrl-C.
        code = _command().main(
            None if arguments is None else list(arguments), prog_name="routewright", standalone_mode=False
        )
        if code == ExitCode.STOPPED:
            raise KeyboardInterrupt
        return int(code or ExitCode.OK)
    except KeyboardInterrupt:
        writer.note("stopped")
        return ExitCode.STOPPED
    except TyperException as error:
        _report_usage(error)
        return ExitCode.USAGE
    except RoutewrightError as error:
        _report(error)
        return _code_of(error)
    except ReaderGone:
        return _let_go(ExitCode.READER_GONE)
    except OSError as error:
        writer.note(f"error: {(error.strerror or str(error)).lower()}")
        return _let_go(ExitCode.OUTPUT_FAILED)
    except Exception as error:
        # A Ctrl-C that falls into the building of a shape comes out of pydantic as an error of its own.
        if type(error).__name__ != "SchemaError" or "KeyboardInterrupt" not in str(error):
            raise
        writer.note("stopped")
        return ExitCode.STOPPED


@cache
def _command() -> Any:
    """The commands as typer runs them. Making them takes longer than many a command, so a process does it once."""
    return get_command(app)


_ONE_LINE = {(None, None), ("sql", 1)}


def _let_go(code: ExitCode) -> ExitCode:
    """Give up standard output: what is still in its buffer must not be complained about at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _report_usage(error: TyperException) -> None:
    """What is wrong with the arguments, in typer's words; where none were given, the help."""
    message = error.format_message().replace(": Value error, ", ": ")
    if message.startswith("Usage:"):
        writer.notes(message)
        return
    first, _, rest = message.partition(" ")
    # A message of typer's starts as a sentence does; one of ours may start with a flag or a name.
    message = f"{first.lower() if first.istitle() else first} {rest}".rstrip(" .")
    writer.note(f"error: {message}")
    context = getattr(error, "ctx", None)
    if context is not None:
        writer.note(f"  = help: {context.command_path} --help")


def _report(error: Exception) -> None:
    from routewright.engine.report import NotBuiltError, ProblemsError, escape_line, render_problem

    if isinstance(error, ProblemsError):
        writer.problems(f"{error}\n\n{counted(len(error.problems), 'problem')}", note=True)
        return
    # Only this message has several lines; in any other, a newline comes from outside.
    lines = [f"error: {error if isinstance(error, NotBuiltError) else escape_line(str(error))}"]
    problem = getattr(error, "problem", None)
    if problem is not None and problem.source_line is not None:
        first, _, rest = render_problem(problem).partition("\n")
        # A statement of one line is its own place.
        lines = [*(lines if (problem.source, problem.line) in _ONE_LINE else [first]), rest]
    elif help := getattr(error, "help", None):
        lines.append(escape_line(f"  = help: {help}"))
    writer.problems("\n".join(lines), note=True)


def _code_of(error: Exception) -> ExitCode:
    from routewright.backends import BackendError
    from routewright.backends.control import StateError
    from routewright.backends.executing import NotCalledError
    from routewright.engine.report import ProblemsError
    from routewright.ledger import InputError, LedgerError, NotWrittenError

    codes: dict[type[Exception], ExitCode] = {
        ProblemsError: ExitCode.INVALID_POLICY,
        NotCalledError: ExitCode.NO_TARGET,  # one of the errors of backends, so it comes first
        BackendError: ExitCode.BACKEND_FAILED,
        InputError: ExitCode.USAGE,  # one of the ledger's errors, so it comes first
        NotWrittenError: ExitCode.OUTPUT_FAILED,  # one of the errors of the ledger
        LedgerError: ExitCode.LEDGER_REFUSED,
        StateError: ExitCode.LEDGER_REFUSED,
    }
    return next((code for kind, code in codes.items() if isinstance(error, kind)), ExitCode.USAGE)
