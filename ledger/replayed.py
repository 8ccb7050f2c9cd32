"""What else could have been decided of what a ledger has recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from .ledger_file import LedgerFile, ShareDone
from .limits import Limits
from .replay.selecting import ALL_REAL, Selection

if TYPE_CHECKING:
    from routewright.engine.policy import CompiledPolicy

    from .canaries import JudgedCanary
    from .replay.again import SelfReport
    from .replay.report import ReplayReport

REPLAY_TIMEOUT_S: Final = 3600.0
"""How long a replay may take."""


class ReplayedLedger(LedgerFile):
    """A ledger whose decisions can be made again: see ``docs/replay.md``."""

    def replay(
        self,
        candidate: CompiledPolicy | None,
        selection: Selection | None = None,
        *,
        assume: Sequence[str] = (),
        each: bool = False,
        examples: int = 3,
        consequences: bool = True,
        timeout_s: float = REPLAY_TIMEOUT_S,
        max_memory_mb: int = Limits.max_memory_mb,
        max_disk_mb: int = Limits.max_disk_mb,
        progress: ShareDone | None = None,
    ) -> ReplayReport:
        """What ``candidate`` would have made of the decisions that are recorded, with the facts of then.

        Without a candidate each is made again by the policy that decided it. ``assume`` says what is to be otherwise
        than it was, such as ``glm-4.5=down`` or ``price:kimi-k2-cloud*2``; all of it holds at once, and with ``each``
        the report also counts what comes of each by itself.

        By default all that were executed and real are decided again. The report has up to ``examples`` decisions of
        each change, and unless ``consequences`` is false what would have come of it. What waits in spools is taken in
        first. ``progress`` and limits are as in ``query``.

        Raises LedgerError for a condition of the selection that is none, and when it takes more than a limit allows;
        AssumptionError for an assumption that cannot be read or fits no policy.
        """
        from .replay.assumptions import parse_assumption
        from .replay.replaying import replay

        assumptions = [parse_assumption(text) for text in assume]
        self._refresh()
        limits = Limits(None, timeout_s, max_memory_mb, max_disk_mb)
        return self._read(
            lambda connection: replay(
                connection,
                candidate,
                selection or ALL_REAL,
                assumptions,
                each=each,
                examples=examples,
                with_consequences=consequences,
            ),
            limits,
            own_statement=True,
            progress=progress,
        )

    def replay_self(
        self,
        selection: Selection | None = None,
        *,
        timeout_s: float = REPLAY_TIMEOUT_S,
        max_memory_mb: int = Limits.max_memory_mb,
        max_disk_mb: int = Limits.max_disk_mb,
        progress: ShareDone | None = None,
    ) -> SelfReport:
        """Compare every recorded decision with what its own policy makes of the recorded facts now.

        Each policy is compiled from the text that the ledger keeps under its digest. All else is as in ``replay``.
        """
        from .replay.again import decide_again

        self._refresh()
        limits = Limits(None, timeout_s, max_memory_mb, max_disk_mb)
        return self._read(
            lambda connection: decide_again(connection, selection or ALL_REAL),
            limits,
            own_statement=True,
            progress=progress,
        )

    def judge_canary(self, policy: CompiledPolicy, *, since_us: int = 0) -> JudgedCanary:
        """Judge the canary of ``policy`` under its own ``abort_when`` and ``promote_when``, as often as you like.

        What counts are the real decisions of this policy and candidate from ``since_us`` on (microseconds since 1970,
        UTC) that chance gave to either arm. What waits in spools is taken in first. Raises ValueError for a policy
        without a canary, and LedgerError as ``query`` does.
        """
        from .canaries import judge_canary

        self._refresh()
        return self._read(
            lambda connection: judge_canary(connection, policy, since_us=since_us),
            Limits(),
            own_statement=True,
        )
