"""Fills what is generated into a page, between two comments."""

from __future__ import annotations

from collections.abc import Iterable


def filled(page: str, name: str, lines: Iterable[str]) -> str:
    """``page`` with ``lines`` between its marks ``<!-- name -->`` and ``<!-- end of name -->``.

    Raises ValueError where the page does not have the two.
    """
    before, opened, rest = page.partition(f"<!-- {name} -->")
    _, ended, after = rest.partition(f"<!-- end of {name} -->")
    if not (opened and ended):
        raise ValueError(f"the page needs the lines `<!-- {name} -->` and `<!-- end of {name} -->`")
    return f"{before}{opened}\n\n" + "\n".join(lines) + f"\n\n{ended}{after}"
