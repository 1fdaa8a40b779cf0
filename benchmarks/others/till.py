"""What a rival is to whoever measures it: a till that takes payments from end to end.

A module of this package that is named for a rival has three things. `opened(folder)` sets the rival
up, with all that it keeps in that folder, and gives its `Pay`; the rival is imported in there, for
the module is read where the rival is not installed, too. `PACKAGES` are those that are at work.
`DOES_NOT` is what the rival leaves to its user, as a list: each line was seen to be so, in its
source or by trying.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

Pay = Callable[[int], Decimal]
"""Creates, authorizes and captures a payment of PRICE, and reads it back.

It is told a number that is never the same twice, and answers what was captured, as it was read.
"""

PRICE: Final = Decimal("19.99")
CURRENCY: Final = "EUR"
CARD: Final = "4242424242424242"
"""A test card: nobody's."""
