"""Puts the engine together, once for each platform."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING

from payplatform._engine.auditing import Auditing
from payplatform._engine.disputes import Disputes
from payplatform._engine.due import Due
from payplatform._engine.exchange import Exchange
from payplatform._engine.flow import Flow
from payplatform._engine.inbox import Inbox
from payplatform._engine.limits import Limits
from payplatform._engine.notices import Notices
from payplatform._engine.pages import all_records
from payplatform._engine.payouts import Payouts
from payplatform._engine.pricing import Pricing
from payplatform._engine.reconciling import Reconciling
from payplatform._engine.recovery import Recovery
from payplatform._engine.registry import Registry
from payplatform._engine.revealing import Revealing
from payplatform._engine.rotation import Rotation
from payplatform._engine.settings import Settings
from payplatform._engine.vault import Vault
from payplatform.ports import Bank, Filter, KeyService, Limiter, R, Storage

if TYPE_CHECKING:
    from payplatform._engine.portability import Portability


class Engine:
    """The rooms that call a port, each built on the one before."""

    def __init__(
        self,
        *,
        storage: Storage,
        bank: Bank,
        keys: KeyService,
        limiter: Limiter | None,
        now: Callable[[], datetime],
        new_id: Callable[[str], str],
        settings: Settings,
    ) -> None:
        self.storage = storage
        self.bank = bank
        self.keys = keys
        self.limiter = limiter
        self.now = now
        vault = Vault(keys=keys, storage=storage, now=now)
        exchange = Exchange(storage=storage, bank=bank, now=now, new_id=new_id, settings=settings)
        limits = Limits(storage=storage, limiter=limiter, vault=vault, now=now, settings=settings)
        self.auditing = Auditing(storage=storage, now=now, new_id=new_id)
        self.registry = Registry(
            storage=storage,
            vault=vault,
            limits=limits,
            auditing=self.auditing,
            now=now,
            new_id=new_id,
        )
        self.pricing = Pricing(storage=storage, registry=self.registry, now=now, new_id=new_id)
        self.revealing = Revealing(
            registry=self.registry,
            vault=vault,
            auditing=self.auditing,
            is_allowed=settings.may_reveal,
        )
        self.disputes = Disputes(exchange, self.auditing)
        self.notices = Notices(exchange, self.disputes)
        self.inbox = Inbox(exchange, self.notices)
        self.recovery = Recovery(exchange, self.inbox)
        self.reconciling = Reconciling(storage=storage, now=now, new_id=new_id)
        self.flow = Flow(
            exchange=exchange,
            recovery=self.recovery,
            registry=self.registry,
            vault=vault,
            limits=limits,
            auditing=self.auditing,
        )
        self.payouts = Payouts(storage=storage, bank=bank, run=self.flow.run, now=now)
        self.due = Due(self.recovery, self.disputes, self.payouts)
        self.rotation = Rotation(
            storage=storage,
            vault=vault,
            auditing=self.auditing,
            now=now,
            new_id=new_id,
            settings=settings,
        )
        self._vault = vault

    def records(self, merchant_id: str, kind: type[R], where: Filter) -> Iterator[R]:
        """A merchant's records that match, newest first, page by page."""
        return all_records(self.storage, merchant_id, kind, where)

    @property
    def portability(self) -> Portability:
        """Cards on their way to another installation, or from one."""
        from payplatform._engine.portability import Portability  # noqa: PLC0415  # seldom needed

        return Portability(
            storage=self.storage,
            vault=self._vault,
            registry=self.registry,
            auditing=self.auditing,
            now=self.now,
        )

    def close(self) -> None:
        """Let go of the keys in memory, then of the ports; of all of them, though one fails."""
        with ExitStack() as closing:
            for port in (self.storage, self.keys, self.bank, self.limiter):
                if port is not None:
                    closing.callback(port.close)
            closing.callback(self._vault.close)
