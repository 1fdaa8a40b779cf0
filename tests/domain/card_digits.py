"""Card numbers to test with: made up, valid, of every brand and range."""

from hypothesis import strategies as st

from payplatform._domain.brands import RANGES, RULES, Brand, IinRange, brand_of
from payplatform._domain.card_numbers import luhn_check_digit


def starts_of(known: IinRange) -> st.SearchStrategy[str]:
    return st.integers(int(known.first), int(known.last)).map(
        lambda prefix: str(prefix).zfill(len(known.first))
    )


@st.composite
def card_digits(draw: st.DrawFn, brand: Brand | None = None) -> str:
    """A valid number of `brand`, or of any brand that has ranges."""
    known = draw(st.sampled_from([r for r in RANGES if brand in {None, r.brand}]))
    length = draw(st.sampled_from(sorted(RULES[known.brand].lengths)))
    start = draw(starts_of(known))
    middle = draw(st.text("0123456789", min_size=length, max_size=length))
    partial = (start + middle)[: length - 1]
    digits = partial + luhn_check_digit(partial)
    if brand_of(digits) is known.brand:
        return digits
    # A narrower range of another brand was hit: the range's first number is never inside one.
    partial = (known.first.ljust(8, "0") + middle)[: length - 1]
    return partial + luhn_check_digit(partial)


spacings = st.sampled_from(["", " ", "-", "  ", " - "])


@st.composite
def spaced(draw: st.DrawFn, digits: str, *, gaps: st.SearchStrategy[str] = spacings) -> str:
    """`digits` as people type them: parted anywhere, by spaces and dashes."""
    parts = [digits[0]]
    for digit in digits[1:]:
        parts += [draw(gaps) if draw(st.booleans()) else "", digit]
    return "".join(parts)
