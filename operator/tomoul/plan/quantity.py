"""Quantities: amounts of CPU and memory as Kubernetes writes them."""

import math
from collections.abc import Mapping
from decimal import Decimal

_UNITS: Mapping[str, Decimal] = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("0.001"),
    "k": Decimal(1000),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("MGTPE", start=2)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}


def amounts(quantities: Mapping[str, object]) -> dict[str, int]:
    """What can be counted of a list of resources: extended ones in devices, `cpu` in millicores, `memory` in bytes.

    Raises ValueError for text that is no quantity.
    """
    found: dict[str, int] = {}
    for name, value in quantities.items():
        if name == "cpu":
            found[name] = millicores(str(value))
        elif name == "memory" or "/" in name:
            found[name] = whole(str(value))
    return found


def millicores(text: str) -> int:
    """`500m` or `0.5` → 500, rounded up."""
    return math.ceil(_parsed(text) * 1000)


def whole(text: str) -> int:
    """`16Gi` → 17179869184, rounded up."""
    return math.ceil(_parsed(text))


def _parsed(text: str) -> Decimal:
    digits = text.rstrip("numkKMGTPEi")
    try:
        # Decimal knows the form `1e3`, which is also one.
        return Decimal(digits) * _UNITS[text[len(digits) :]]
    except (ArithmeticError, KeyError) as error:
        raise ValueError(f"`{text}` is no quantity") from error
