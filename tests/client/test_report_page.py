"""The page of a month: whole in itself, the same each time, and without anybody's markup."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET  # what is parsed here we have just made
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from months import a_month, a_till
from till import Till

from payplatform import ErrorCode, InvalidRequest
from payplatform.reports import report_html


class Seen(HTMLParser):
    """What a browser would find: tags, ids, the text, and everything that leads somewhere."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.leads: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href", "action", "data"):
                self.leads.add(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def till() -> Iterator[Till]:
    till = a_till()
    a_month(till)
    yield till
    till.close()


def test_a_page_needs_nothing_from_elsewhere_and_runs_nothing(till: Till) -> None:
    page = report_html(till.shop, month="2030-02")
    seen = Seen(page)

    assert not seen.tags & {"script", "link", "iframe", "object", "img", "image", "form"}
    assert all(lead.startswith("#") for lead in seen.leads)
    assert set(re.findall(r"url\((.)", page)) <= {"#"}
    assert "default-src 'none'" in page
    assert len(seen.ids) == len(set(seen.ids))


def test_its_charts_are_one_well_formed_svg_with_text_that_is_text(till: Till) -> None:
    (svg,) = re.findall(r"<svg.*?</svg>", report_html(till.shop, month="2030-02"), re.DOTALL)

    drawn = {text.strip() for text in ET.fromstring(svg).itertext()}  # noqa: S314  # as above
    assert {"Taken each day, EUR", "Taken each day, JPY", "Payments each day"} <= drawn
    assert {"Approved of what was decided, 60.0% in all", "Why payments were declined"} <= drawn
    assert {"insufficient funds", "stolen card", "Fri 1", "Mon 25"} <= drawn


def test_it_says_what_the_statement_says(till: Till) -> None:
    told = till.shop.ledger.statement(month="2030-02")
    seen = Seen(report_html(till.shop, month="2030-02")).text

    assert "Acme: February 2030" in seen
    for part in told.currencies:
        for money in (part.opening, part.captured, part.closing):
            assert f"{money.amount:,} {money.currency}" in seen
    assert "3 approved, 2 declined" in seen
    assert "\N{MINUS SIGN}2.38 EUR" in seen


def test_the_same_books_make_the_same_page(till: Till) -> None:
    assert report_html(till.shop, month="2030-02") == report_html(till.shop, month="2030-02")


def test_a_month_in_which_nothing_happened_has_a_page_too(till: Till) -> None:
    seen = Seen(report_html(till.shop, month="2029-06"))

    assert "no payments" in seen.text
    assert "Why payments were declined" not in seen.text


def test_a_merchants_name_stays_text(till: Till) -> None:
    name = '<script>alert("x")</script>{title}'
    merchant = till.pay.merchants.create(name=name)
    seen = Seen(report_html(till.pay.merchant(merchant.id), month="2030-02"))

    assert "script" not in seen.tags
    assert f"{name}: February 2030" in seen.text


def test_what_is_no_month_has_no_page(till: Till) -> None:
    with pytest.raises(InvalidRequest) as caught:
        report_html(till.shop, month="2030-00")

    assert caught.value.code == ErrorCode.VALUE_INVALID
