"""The functions of conditions and the operations behind them."""

from __future__ import annotations

from .functions import FUNCTIONS, MACROS, SPECIAL_FUNCTIONS, Function, Signature
from .operations import COMPARISONS, OPERATIONS

__all__ = ["COMPARISONS", "FUNCTIONS", "MACROS", "OPERATIONS", "SPECIAL_FUNCTIONS", "Function", "Signature"]
