"""A policy in, out what it says that is checked but not carried out yet, in words.

``check`` and ``decide`` print it; ``run`` refuses what concerns the task at hand unless told otherwise.
"""

from __future__ import annotations

from .shape import Control, Policy, Rule

__all__ = ["unenforced_control", "unenforced_everywhere", "unenforced_of_rule", "unenforced_parts"]


def unenforced_parts(policy: Policy) -> tuple[str, ...]:
    """Every such part of the policy, in the order of the file."""
    parts = [part for rule in policy.rules if not rule.disabled for part in unenforced_of_rule(rule)]
    parts += [unenforced_control(control) for control in policy.controls if not control.disabled]
    parts += [
        f"assertion {assertion.name or number + 1}: not proven over all tasks"
        for number, assertion in enumerate(policy.assertions)
    ]
    return (*parts, *unenforced_everywhere(policy))


def unenforced_of_rule(rule: Rule) -> tuple[str, ...]:
    """What a rule asks for around the answer."""
    parts = []
    for step in rule.steps:
        for role in ("screen", "draft", "verify", "refine"):
            body = getattr(step, role)
            if body is not None:
                parts.append(f"rule {rule.name}: step {role} with {body.with_} is planned, not executed")
    if rule.ensemble is not None:
        parts.append(f"rule {rule.name}: the ensemble is planned, only its first member is executed")
    if rule.sticky is not None:
        parts.append(f"rule {rule.name}: sticky {rule.sticky} is not kept")
    return tuple(parts)


def unenforced_control(control: Control) -> str:
    """Why a control does not fully hold yet: it binds deciding, but nothing counts the use."""
    return f"control {control.name}: {_why(control)}"


def unenforced_everywhere(policy: Policy) -> tuple[str, ...]:
    """What concerns every task: a rollout, and features that are to be stored so that they can be erased."""
    parts = [
        f"feature {name}: sensitive values are stored like any other, and cannot be erased"
        for name, feature in policy.features.items()
        if feature.sensitive
    ]
    if policy.rollout is not None:
        parts.append(f"rollout: {policy.rollout.mode} of {policy.rollout.candidate} is not carried out")
    return tuple(parts)


def _why(control: Control) -> str:
    if control.of is not None:
        return "its reserve is kept when deciding, but use is not counted"
    if control.first_token_within is not None:
        return "the time to the first token is planned, not watched"
    if control.cache_ttl is not None:
        return "answers are not cached"
    if control.max_attempts is not None or control.backoff is not None or control.deadline is not None:
        return "retries and deadlines are not carried out"
    return "the limit holds when deciding, but use is not counted"
