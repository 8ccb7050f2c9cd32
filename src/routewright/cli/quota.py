"""Shows what is left of each quota."""

from __future__ import annotations

import typer

from routewright.backends.control import key_words
from routewright.engine.report import iso_time, money_text
from routewright.gateway import ModelGateway, QuotaUsage
from routewright.loading import load_policy

from .exit_codes import ExitCode
from .opened import shown_policy, state_store
from .options import QuotaFlags
from .writer import writer


def show_quotas(how: QuotaFlags) -> None:
    """Print all quotas of a policy. Raises typer.Exit if nothing is left of one."""
    shown = shown_policy(how.policy)
    compiled = load_policy(shown.path, root=how.root)
    with ModelGateway(compiled, store=state_store(how.state, must_exist=True)) as gateway:
        usages, left = gateway.admin.quotas(), gateway.admin.left_counters()
    shown.announce(json=how.format == "json")
    if how.format == "json":
        writer.json_value(list(map(_values, usages)))
    elif usages:
        header = ["quota", "for", "used", "reserved", "limit", "unit", "window", "until (UTC)"]
        writer.table(header, list(map(_row, usages)))
    else:
        writer.remark("the policy has no quotas")
    if left:
        named = ", ".join(f"`{counter}`" for counter in left)
        writer.note(
            f"the state store also holds counts of {named}: under another name a quota begins at zero"
        )
    if gone := [_named(one) for one in usages if _left(one) <= 0]:
        writer.note(f"nothing is left of {', '.join(gone)}")
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _left(one: QuotaUsage) -> int:
    return one.limit.limit - one.use.used - one.use.reserved


def _named(one: QuotaUsage) -> str:
    return f"{one.limit.control} for {key_words(one.use.key)}" if one.use.key else one.limit.control


def _row(one: QuotaUsage) -> list[str]:
    limit, use = one.limit, one.use
    key = key_words(use.key) or (f"each {one.for_each}" if one.for_each else "all")
    amounts = [
        money_text(amount, 6 if amount else None) if limit.unit == "cost" else str(amount)
        for amount in (use.used, use.reserved, limit.limit)
    ]
    window = "now" if limit.per is None else f"{limit.per} {use.window} ({limit.timezone})"
    return [limit.control, key, *amounts, limit.currency or limit.unit, window, _until(one) or ""]


def _values(one: QuotaUsage) -> dict[str, object]:
    """Amounts of money are in nano-units, as in the ledger."""
    limit, use = one.limit, one.use
    return {
        "quota": limit.control,
        "for_each": one.for_each,
        "key": key_words(use.key) or None,
        "unit": limit.unit,
        "currency": limit.currency,
        "used": use.used,
        "reserved": use.reserved,
        "limit": limit.limit,
        "left": max(0, _left(one)),
        "per": limit.per,
        "timezone": limit.timezone,
        "window": use.window or None,
        "until": _until(one),
    }


def _until(one: QuotaUsage) -> str | None:
    return None if one.use.until_us is None else iso_time(one.use.until_us)
