"""What a policy says that is checked but not supported yet, in words.

``check`` and ``decide`` print it; ``run`` refuses what concerns the task at hand unless told otherwise.
"""

from __future__ import annotations

from ..shapes import Policy


def unenforced_parts(policy: Policy) -> tuple[str, ...]:
    """Every such part of the policy, in the order of the file."""
    parts = [
        f"assertion {assertion.name or number + 1}: not proven over all tasks"
        for number, assertion in enumerate(policy.assertions)
    ]
    return (*parts, *unenforced_everywhere(policy))


def unenforced_everywhere(policy: Policy) -> tuple[str, ...]:
    """What concerns every task: features that are to be stored so that they can be erased."""
    return tuple(
        f"feature {name}: sensitive values are stored like any other, and cannot be erased"
        for name, feature in policy.features.items()
        if feature.sensitive
    )
