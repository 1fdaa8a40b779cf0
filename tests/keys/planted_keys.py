"""Key services with one planted fault each, held to the contract by test_keys_contract_catches.py.

Not collected by name: the contract is to fail here. `caught_by` names the tests that must.
"""

# ruff: noqa: ARG002  # a faulty service leaves out what it should heed

import os
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payplatform.errors import ErrorCode, VaultError, VaultIntegrityError
from payplatform.ports import KeyService
from payplatform.testing.keys_contract import CONTEXT, KeyServiceContract

NONCE_BYTES = 12


class HonestKeys:
    """A small key service that keeps its promises, and has places to go wrong in."""

    def __init__(self, folder: Path) -> None:
        file = folder / "master"
        if not file.exists():
            file.write_bytes(os.urandom(32))
        self.master = file.read_bytes()

    def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
        nonce = self.nonce()
        return nonce + AESGCM(self.master).encrypt(nonce, key, self.bound(context))

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        nonce, sealed = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        problem: VaultError = VaultIntegrityError("refused")
        if len(sealed) >= 16:
            try:
                return AESGCM(self.master).decrypt(nonce, sealed, self.bound(context))
            except InvalidTag:
                problem = self.refusal(wrapped)
        raise problem

    def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        return self.wrap(self.unwrap(wrapped, context), context)

    def describe(self) -> Mapping[str, str]:
        return {"adapter": "planted", "current_master_key": sha256(self.master).hexdigest()[:8]}

    def close(self) -> None:
        pass

    def __reduce__(self) -> str:
        raise TypeError("a key service refuses pickling")

    def nonce(self) -> bytes:
        return os.urandom(NONCE_BYTES)

    def bound(self, context: Mapping[str, str]) -> bytes:
        return repr(sorted(context.items())).encode()

    def refusal(self, wrapped: bytes) -> VaultError:
        return VaultIntegrityError("refused")


class Planted(KeyServiceContract):
    service: ClassVar[type[HonestKeys]] = HonestKeys
    caught_by: ClassVar[tuple[str, ...]] = ()

    def make_keys(self, folder: Path) -> KeyService:
        return self.service(folder)

    def reopen(self, keys: KeyService, folder: Path) -> KeyService:
        keys.close()
        return self.service(folder)

    def make_strangers(self, folder: Path) -> Sequence[KeyService]:
        return [self.service(folder)]

    def master_secrets(self, folder: Path) -> Sequence[bytes]:
        return [(folder / "master").read_bytes()]


class TestNothingPlanted(Planted):
    """The control: what follows fails for what was planted, not for the service around it."""


class TestIgnoresTheContext(Planted):
    class service(HonestKeys):  # noqa: N801  # the attribute's name
        def bound(self, context: Mapping[str, str]) -> bytes:
            return b""

    caught_by = (
        "test_another_context_is_refused",
        "test_a_key_of_another_context_is_refused",
        "test_contexts_that_read_alike_in_a_row_are_told_apart",
        "test_rewrap_refuses_another_context",
        "test_rewrap_keeps_key_and_context",
    )


class TestHeedsOnlyTheContextItKnows(Planted):
    class service(HonestKeys):  # noqa: N801
        def bound(self, context: Mapping[str, str]) -> bytes:
            return repr([context.get(name, "") for name in CONTEXT]).encode()

    caught_by = ("test_another_context_is_refused", "test_a_key_of_another_context_is_refused")


class TestRunsTheContextTogether(Planted):
    class service(HonestKeys):  # noqa: N801
        def bound(self, context: Mapping[str, str]) -> bytes:
            return "".join(text for item in sorted(context.items()) for text in item).encode()

    caught_by = ("test_contexts_that_read_alike_in_a_row_are_told_apart",)


class TestHeedsTheOrderOfTheContext(Planted):
    class service(HonestKeys):  # noqa: N801
        def bound(self, context: Mapping[str, str]) -> bytes:
            return repr(list(context.items())).encode()

    caught_by = ("test_the_order_of_the_context_does_not_matter",)


class TestHasOneNonce(Planted):
    class service(HonestKeys):  # noqa: N801
        def nonce(self) -> bytes:
            return bytes(NONCE_BYTES)

    caught_by = (
        "test_wrapping_one_key_twice_gives_two_different_results",
        "test_rewrap_seals_anew",
    )


class TestEncryptsWithoutATag(Planted):
    class service(HonestKeys):  # noqa: N801
        def mask(self, nonce: bytes, context: Mapping[str, str]) -> int:
            text = self.master + nonce + self.bound(context)
            return int.from_bytes(sha256(text).digest(), "big")

        def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
            nonce = self.nonce()
            masked = int.from_bytes(key, "big") ^ self.mask(nonce, context)
            return nonce + masked.to_bytes(32, "big")

        def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
            if len(wrapped) != NONCE_BYTES + 32:
                raise VaultIntegrityError("refused")
            nonce, masked = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
            return (int.from_bytes(masked, "big") ^ self.mask(nonce, context)).to_bytes(32, "big")

    caught_by = (
        "test_every_altered_bit_is_refused",
        "test_rewrap_refuses_what_was_altered",
        "test_a_key_under_another_master_key_is_refused",
        "test_a_refusal_shows_no_key",
    )


class TestReadsOnlyAsFarAsItNeeds(Planted):
    class service(HonestKeys):  # noqa: N801
        def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
            return super().unwrap(wrapped[: NONCE_BYTES + 48], context)

    caught_by = ("test_a_wrapped_key_cut_short_or_made_longer_is_refused",)


class TestCarriesTheKeyInClear(Planted):
    class service(HonestKeys):  # noqa: N801
        def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
            sealed = super().wrap(key, context)
            return key + sealed

        def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
            key = super().unwrap(wrapped[32:], context)
            if key != wrapped[:32]:
                raise VaultIntegrityError("refused")
            return key

    caught_by = ("test_a_wrapped_key_is_bytes_and_does_not_show_the_key",)


class TestCutsKeysOff(Planted):
    class service(HonestKeys):  # noqa: N801
        def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
            return super().wrap(key.rstrip(b"\0"), context)

    caught_by = ("test_unwrap_gives_the_key_that_was_wrapped",)


class TestForgetsItsMasterKey(Planted):
    class service(HonestKeys):  # noqa: N801
        def __init__(self, folder: Path) -> None:
            super().__init__(folder)
            self.master = os.urandom(32)

    caught_by = ("test_a_later_process_unwraps_what_an_earlier_one_wrapped",)


class TestKeepsTheLastKeyOnly(Planted):
    class service(HonestKeys):  # noqa: N801
        last = b""

        def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
            self.last = super().wrap(key, context)
            return self.last

        def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
            if wrapped != self.last:
                raise VaultIntegrityError("refused")
            return super().unwrap(wrapped, context)

    caught_by = ("test_every_earlier_wrapping_goes_on_to_unwrap",)


class TestHasOneMasterKeyForAll(Planted):
    class service(HonestKeys):  # noqa: N801
        def __init__(self, folder: Path) -> None:
            (folder / "master").write_bytes(b"the same wherever it is installed"[:32])
            super().__init__(folder)

    caught_by = ("test_a_key_under_another_master_key_is_refused",)


class TestRewrapsWithoutLooking(Planted):
    class service(HonestKeys):  # noqa: N801
        def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
            return wrapped

    caught_by = (
        "test_rewrap_seals_anew",
        "test_rewrap_refuses_another_context",
        "test_rewrap_refuses_what_was_altered",
        "test_a_key_under_another_master_key_is_refused",
        "test_a_refusal_shows_no_key",
    )


class TestRewrapsAnotherKey(Planted):
    class service(HonestKeys):  # noqa: N801
        def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
            self.unwrap(wrapped, context)
            return self.wrap(os.urandom(32), context)

    caught_by = ("test_rewrap_keeps_key_and_context",)


class TestRefusesInItsOwnWay(Planted):
    class service(HonestKeys):  # noqa: N801
        def refusal(self, wrapped: bytes) -> VaultError:
            return VaultError("refused", code=ErrorCode.VAULT_INTEGRITY)

    caught_by = ("test_another_context_is_refused", "test_every_altered_bit_is_refused")


class TestRefusesAloud(Planted):
    class service(HonestKeys):  # noqa: N801
        def refusal(self, wrapped: bytes) -> VaultError:
            return VaultIntegrityError(f"could not unwrap {wrapped.hex()}")

    caught_by = ("test_a_refusal_shows_no_key",)


class TestChainsAKey(Planted):
    class service(HonestKeys):  # noqa: N801
        def refusal(self, wrapped: bytes) -> VaultError:
            problem = VaultIntegrityError("refused")
            problem.__cause__ = ValueError(f"under {self.master!r}")
            return problem

    caught_by = ("test_a_refusal_shows_no_key",)


class TestShowsItsMasterKey(Planted):
    class service(HonestKeys):  # noqa: N801
        def __repr__(self) -> str:
            return f"service(master={self.master!r})"

    caught_by = ("test_what_it_says_of_itself_shows_no_key",)


class TestDescribesItsMasterKey(Planted):
    class service(HonestKeys):  # noqa: N801
        def describe(self) -> Mapping[str, str]:
            return {"adapter": "planted", "current": self.master.hex()}

    caught_by = ("test_what_it_says_of_itself_shows_no_key",)


class LetsItselfBePickled(HonestKeys):
    def __reduce__(self) -> tuple[object, ...]:  # type: ignore[override]  # the fault
        return str, (self.master.hex(),)


class TestPicklesItsMasterKey(Planted):
    service = LetsItselfBePickled
    caught_by = ("test_what_it_says_of_itself_shows_no_key",)


class TestRemembersTheLastKey(Planted):
    class service(HonestKeys):  # noqa: N801
        last = b""

        def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
            self.last = super().unwrap(wrapped, context)
            return self.last

        def __repr__(self) -> str:
            return f"service(last={list(self.last)})"

    caught_by = ("test_what_it_says_of_itself_shows_no_key",)


class TestSharesOnePlaceAmongThreads(Planted):
    class service(HonestKeys):  # noqa: N801
        def bound(self, context: Mapping[str, str]) -> bytes:
            self.context = super().bound(context)
            time.sleep(0.001)
            return self.context

    caught_by = ("test_many_threads_at_once_each_get_their_own_key",)


class TestNamesNoMasterKey(Planted):
    class service(HonestKeys):  # noqa: N801
        def describe(self) -> Mapping[str, str]:
            return {"adapter": "planted"}

    caught_by = ("test_it_names_the_master_key_that_wraps_now",)


class TestClosesOnce(Planted):
    class service(HonestKeys):  # noqa: N801
        def close(self) -> None:
            del self.master

    caught_by = ("test_closing_twice_is_closing_once",)
