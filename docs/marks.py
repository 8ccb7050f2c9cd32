"""Fills what is generated into a page, between two comments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def filled(page: str, parts: Mapping[str, Iterable[str]]) -> str:
    """``page`` with the lines of each part between the marks ``<!-- name -->`` and ``<!-- end of name -->``.

    Raises ValueError where the page does not have both marks of a part.
    """
    for name, lines in parts.items():
        before, opened, rest = page.partition(f"<!-- {name} -->")
        _, ended, after = rest.partition(f"<!-- end of {name} -->")
        if not (opened and ended):
            raise ValueError(f"the page needs the lines `<!-- {name} -->` and `<!-- end of {name} -->`")
        page = f"{before}{opened}\n\n" + "\n".join(lines) + f"\n\n{ended}{after}"
    return page
