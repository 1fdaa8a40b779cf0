"""A bank whose every call a test sees, and may meddle with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from payplatform._domain.secret import Secret
from payplatform.banks.simulated import SimulatedBank
from payplatform.ports import BankCapabilities, BankNotice, BankReply, BankRequest


class WatchedBank:
    """A bank that writes down what it is asked, lets a test step in, and hands it on.

    Attributes:
        before: called with each request that is sent, before the bank sees it.
        after: called with each request, once the bank has done it.
        instead: may answer in the bank's place, which then never hears of the request.
        heard: what arrives of the bank's answer, to a request or an inquiry.
        declares: capabilities that it claims to have, whatever the bank behind it has.
    """

    def __init__(self, bank: SimulatedBank) -> None:
        self.bank = bank
        self.sent: list[BankRequest] = []
        self.codes: list[Secret | None] = []
        self.inquired: list[str] = []
        self.timeouts: list[float] = []
        self.before: Callable[[BankRequest], object] = lambda _: None
        self.after: Callable[[BankRequest], object] = lambda _: None
        self.instead: Callable[[BankRequest], BankReply | None] = lambda _: None
        self.heard: Callable[[BankReply], Any] = lambda reply: reply
        self.declares: BankCapabilities | None = None

    @property
    def calls(self) -> int:
        return len(self.sent) + len(self.inquired)

    @property
    def capabilities(self) -> BankCapabilities:
        return self.declares or self.bank.capabilities

    def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        self.sent.append(request)
        self.codes.append(request.card.security_code if request.card else None)
        self.timeouts.append(timeout_s)
        self.before(request)
        reply = self.instead(request)
        if reply is not None:
            return reply
        reply = self.bank.send(request, timeout_s=timeout_s)
        self.after(request)
        return cast("BankReply", self.heard(reply))

    def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
        self.inquired.append(operation_id)
        self.timeouts.append(timeout_s)
        reply = self.bank.inquire(merchant_id, operation_id, timeout_s=timeout_s)
        return cast("BankReply", self.heard(reply))

    def read_notice(self, raw: bytes, headers: Mapping[str, str]) -> BankNotice:
        return self.bank.read_notice(raw, headers)

    def describe(self) -> Mapping[str, str]:
        return self.bank.describe()

    def close(self) -> None:
        self.bank.close()
