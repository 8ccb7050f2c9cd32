"""A policy in, out what it says that is checked but not carried out yet, in words.

``check`` and ``decide`` print it; ``run`` refuses what concerns the task at hand unless told otherwise.
"""

from __future__ import annotations

from .shape import Policy, Rule

__all__ = ["unenforced_everywhere", "unenforced_of_rule", "unenforced_parts"]


def unenforced_parts(policy: Policy) -> tuple[str, ...]:
    """Every such part of the policy, in the order of the file."""
    parts = [part for rule in policy.rules if not rule.disabled for part in unenforced_of_rule(rule)]
    parts += [
        f"assertion {assertion.name or number + 1}: not proven over all tasks"
        for number, assertion in enumerate(policy.assertions)
    ]
    return (*parts, *unenforced_everywhere(policy))


def unenforced_of_rule(rule: Rule) -> tuple[str, ...]:
    """What a rule asks for around the answer."""
    if rule.sticky is None:
        return ()
    return (f"rule {rule.name}: sticky {rule.sticky} is not kept",)


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
