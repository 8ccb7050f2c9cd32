"""What the exit status of each command means."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit status of a command."""

    OK = 0
    """It did what was asked."""
    CHECK_FAILED = 1
    """A check ran and did not pass."""
    USAGE = 2
    """The command, a flag, a feature, a task, a statement or an input file was not right."""
    INVALID_POLICY = 3
    """A policy, catalog or condition has problems."""
    NO_TARGET = 4
    """The task has no eligible target, or limits of the policy allowed no call of any."""
    BACKEND_FAILED = 5
    """Every backend that the plan allows has failed."""
    LEDGER_REFUSED = 6
    """The ledger could not be opened, written or asked, or the state store not be used."""
    OUTPUT_FAILED = 74
    """The result could not be written: a full disk. The number is EX_IOERR of sysexits."""
    STOPPED = 130
    """Ctrl-C: 128 and the number of SIGINT, as shells have it."""
    READER_GONE = 141
    """Whoever read the output stopped reading (`| head`): 128 and the number of SIGPIPE."""
