"""``routewright quota``: what is left of each quota."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from .exit_codes import ExitCode
from .options import PolicyOrDefault, Root, StatePath, TableFormat
from .writer import writer

if TYPE_CHECKING:
    from routewright.gateway import QuotaUsage


def quota(
    policy: PolicyOrDefault = None, state: StatePath = None, root: Root = None, format: TableFormat = "table"
) -> None:
    """Show what is used and reserved of each quota.

    A quota for each team or user has a line for everyone who used some of it. Reserved is what running calls may
    still use. Exits with status 1 if nothing is left of a quota.

    \b
    Example:
      routewright quota policies/hybrid.yaml
    """
    from routewright.backends.control import StateStore
    from routewright.gateway import ModelGateway
    from routewright.loading import load_policy

    from .shown_policy import shown_policy
    from .state_store import state_to_look_at

    shown = shown_policy(policy)
    compiled = load_policy(shown.path, root=root)
    with ModelGateway(compiled, store=StateStore(state_to_look_at(state))) as gateway:
        usages, left = gateway.admin.quotas(), gateway.admin.left_counters()
    shown.announce(json=format == "json")
    if format == "json":
        import json

        writer.json(json.dumps([_values(one) for one in usages], indent=2) + "\n")
    elif usages:
        header = ["quota", "for", "used", "reserved", "limit", "unit", "window", "until (UTC)"]
        writer.table(header, [_row(one) for one in usages])
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
    return f"{one.limit.control} for {_key(one)}" if one.use.key else one.limit.control


def _key(one: QuotaUsage) -> str:
    from routewright.backends.control import key_words

    return key_words(one.use.key)


def _row(one: QuotaUsage) -> list[str]:
    limit, use = one.limit, one.use
    key = _key(one) or (f"each {one.for_each}" if one.for_each else "all")
    amounts = [_amount(one, amount) for amount in (use.used, use.reserved, limit.limit)]
    window = "now" if limit.per is None else f"{limit.per} {use.window} ({limit.timezone})"
    return [limit.control, key, *amounts, limit.currency or limit.unit, window, _until(one) or ""]


def _values(one: QuotaUsage) -> dict[str, object]:
    """Amounts of money are in nano-units, as in the ledger."""
    limit, use = one.limit, one.use
    return {
        "quota": limit.control,
        "for_each": one.for_each,
        "key": _key(one) or None,
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


def _amount(one: QuotaUsage, amount: int) -> str:
    from routewright.engine.report import money_text

    return money_text(amount, 6) if one.limit.unit == "cost" else str(amount)


def _until(one: QuotaUsage) -> str | None:
    from routewright.engine.report import iso_time

    return None if one.use.until_us is None else iso_time(one.use.until_us)
