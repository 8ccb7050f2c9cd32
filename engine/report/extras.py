"""How an optional library is installed."""

from __future__ import annotations


def install_command(extra: str) -> str:
    """The command that installs the libraries of one extra, for a message.

    It installs from a checkout: Routewright is not published yet, so a command that takes it from a package index
    would run the code of whoever registered the name there.
    """
    return f"pip install '.[{extra}]' in the checkout"
