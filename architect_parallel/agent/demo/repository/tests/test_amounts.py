import unittest

from pricelist.amounts import format_amount, parse_amount


class AmountsTest(unittest.TestCase):
    def test_plain_amounts(self) -> None:
        self.assertEqual(parse_amount("3"), 300)
        self.assertEqual(parse_amount(" $12.30 "), 1230)

    def test_thousands_separator(self) -> None:
        self.assertEqual(parse_amount("1,299.00"), 129900)

    def test_formatting(self) -> None:
        self.assertEqual(format_amount(129900), "$1,299.00")


if __name__ == "__main__":
    unittest.main()
