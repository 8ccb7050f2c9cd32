"""``python -m routewright``: the command line."""

from __future__ import annotations

from routewright.cli import main

if __name__ == "__main__":
    main()
