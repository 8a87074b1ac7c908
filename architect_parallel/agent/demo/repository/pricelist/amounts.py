"""Amounts of money as people write them, in cents."""


def parse_amount(text: str) -> int:
    """Cents from an amount such as `3`, `3.5`, `1,299.00` or `$12.30`."""
    cleaned = text.strip().removeprefix("$")
    whole, _, fraction = cleaned.partition(".")
    return int(whole) * 100 + int(fraction.ljust(2, "0") or 0)


def format_amount(cents: int) -> str:
    """`129900` as `$1,299.00`."""
    return f"${cents // 100:,}.{cents % 100:02}"
