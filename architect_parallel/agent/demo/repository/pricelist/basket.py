"""A basket of priced things."""

from pricelist.amounts import format_amount, parse_amount


class Basket:
    """Things and what they cost."""

    def __init__(self) -> None:
        self._prices: dict[str, int] = {}

    def add(self, name: str, price: str) -> None:
        """Puts a thing in; the same name again replaces its price."""
        self._prices[name] = parse_amount(price)

    def total(self, discount_percent: int = 0) -> str:
        """What it all costs, rounded down to a cent after the discount."""
        cents = sum(self._prices.values())
        return format_amount(cents * (100 - discount_percent) // 100)
