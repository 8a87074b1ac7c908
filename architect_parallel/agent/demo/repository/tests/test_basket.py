import unittest

from pricelist.basket import Basket


class BasketTest(unittest.TestCase):
    def test_total_with_discount(self) -> None:
        basket = Basket()
        basket.add("lamp", "$40")
        basket.add("desk", "160.00")
        self.assertEqual(basket.total(discount_percent=10), "$180.00")


if __name__ == "__main__":
    unittest.main()
