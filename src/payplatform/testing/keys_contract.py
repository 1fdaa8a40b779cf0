"""What every key service must do: the promises of `ports.KeyService`, each as a test.

A key service proves itself by inheriting this class and saying how one is made:

    class TestMyKeys(KeyServiceContract):
        def make_keys(self, folder):
            return MyKeys(folder / "master.key")

        def reopen(self, keys, folder):
            keys.close()
            return MyKeys(folder / "master.key")

Law of this file: a test asks for what the port promises and for nothing else, and its name says the
promise. Needs the extra `testing`.
"""

# ruff: noqa: D102  # a test's name says what it shows

from __future__ import annotations

import base64
import os
import pickle  # noqa: TID251  # to see that no key comes out of it
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

import pytest

from payplatform.errors import VaultIntegrityError
from payplatform.ports import KeyService

Ask = Callable[[bytes, Mapping[str, str]], bytes]

KEY_BYTES: Final = 32
CONTEXT: Final = {"app": "payplatform", "purpose": "dek", "tenant": "mer_1", "version": "1"}

OTHER_CONTEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "none": {},
    "more": {**CONTEXT, "more": "x"},
    "swapped": {**CONTEXT, "purpose": "1", "version": "dek"},
    **{f"other {name}": {**CONTEXT, name: f"{CONTEXT[name]}0"} for name in CONTEXT},
    **{f"no {name}": {n: CONTEXT[n] for n in CONTEXT if n != name} for name in CONTEXT},
}

RUN_TOGETHER: Final = (
    ({"a": "bc"}, {"ab": "c"}),
    ({"a": "b", "c": "d"}, {"a": "bcd"}),
    ({"a": "b,c=d"}, {"a": "b", "c": "d"}),
    ({"a": "b", "c": "d"}, {"a": "c", "b": "d"}),
    ({"a": "1", "b": "2"}, {"a": "2", "b": "1"}),
)


class KeyServiceContract:
    """Inherit, and override `make_keys`; the other hooks where they apply.

    Attributes:
        most_flips: how many altered forms of one wrapped key are tried at most. All bits of a
            short one fit; lower it where every call costs.
    """

    most_flips: ClassVar[int] = 5_000

    def make_keys(self, folder: Path) -> KeyService:
        """A new key service; it may keep files in `folder`, which is its own."""
        raise NotImplementedError

    def reopen(self, keys: KeyService, folder: Path) -> KeyService:  # noqa: ARG002  # others need it
        """The service as a later process finds it. One that keeps nothing gives back `keys`."""
        return keys

    def make_strangers(self, folder: Path) -> Sequence[KeyService]:  # noqa: ARG002  # as above
        """Services of the same kind with other master keys, where a test can have some."""
        return ()

    def master_secrets(self, folder: Path) -> Sequence[bytes]:  # noqa: ARG002  # as above
        """What must never be shown, where a test can know it: master keys, credentials."""
        return ()

    @pytest.fixture
    def keys(self, tmp_path: Path) -> Iterator[KeyService]:
        keys = self.make_keys(tmp_path)
        yield keys
        keys.close()

    # -- what goes in comes out --------------------------------------------------------------------

    @pytest.mark.parametrize(
        "key", [bytes(KEY_BYTES), b"\xff" * KEY_BYTES, bytes(range(KEY_BYTES))], ids=bytes.hex
    )
    def test_unwrap_gives_the_key_that_was_wrapped(self, keys: KeyService, key: bytes) -> None:
        assert keys.unwrap(keys.wrap(key, CONTEXT), CONTEXT) == key

    def test_a_wrapped_key_is_bytes_and_does_not_show_the_key(self, keys: KeyService) -> None:
        key = a_key()
        wrapped = keys.wrap(key, CONTEXT)
        assert type(wrapped) is bytes
        assert type(keys.unwrap(wrapped, CONTEXT)) is bytes
        assert not shown(key, [wrapped])

    def test_wrapping_one_key_twice_gives_two_different_results(self, keys: KeyService) -> None:
        key = a_key()
        assert len({keys.wrap(key, CONTEXT) for _ in range(20)}) == 20

    def test_every_earlier_wrapping_goes_on_to_unwrap(self, keys: KeyService) -> None:
        wanted = [a_key() for _ in range(20)]
        wrapped = [keys.wrap(key, CONTEXT) for key in wanted]
        assert [keys.unwrap(each, CONTEXT) for each in wrapped] == wanted

    def test_a_later_process_unwraps_what_an_earlier_one_wrapped(self, tmp_path: Path) -> None:
        key, keys = a_key(), self.make_keys(tmp_path)
        wrapped = keys.wrap(key, CONTEXT)
        for _ in range(2):
            keys = self.reopen(keys, tmp_path)
            assert keys.unwrap(wrapped, CONTEXT) == key
        keys.close()

    # -- the context -------------------------------------------------------------------------------

    def test_the_order_of_the_context_does_not_matter(self, keys: KeyService) -> None:
        key = a_key()
        wrapped = keys.wrap(key, CONTEXT)
        assert keys.unwrap(wrapped, dict(reversed(CONTEXT.items()))) == key

    @pytest.mark.parametrize("other", OTHER_CONTEXTS)
    def test_another_context_is_refused(self, keys: KeyService, other: str) -> None:
        wrapped = keys.wrap(a_key(), CONTEXT)
        assert is_refused(keys.unwrap, wrapped, OTHER_CONTEXTS[other])

    @pytest.mark.parametrize("other", OTHER_CONTEXTS)
    def test_a_key_of_another_context_is_refused(self, keys: KeyService, other: str) -> None:
        wrapped = keys.wrap(a_key(), OTHER_CONTEXTS[other])
        assert is_refused(keys.unwrap, wrapped, CONTEXT)

    @pytest.mark.parametrize(("one", "other"), RUN_TOGETHER)
    def test_contexts_that_read_alike_in_a_row_are_told_apart(
        self, keys: KeyService, one: dict[str, str], other: dict[str, str]
    ) -> None:
        wrapped, wrapped_too = keys.wrap(a_key(), one), keys.wrap(a_key(), other)
        assert is_refused(keys.unwrap, wrapped, other)
        assert is_refused(keys.unwrap, wrapped_too, one)

    # -- what was altered --------------------------------------------------------------------------

    def test_every_altered_bit_is_refused(self, keys: KeyService) -> None:
        wrapped = keys.wrap(a_key(), CONTEXT)
        for altered in self._flipped(wrapped):
            assert is_refused(keys.unwrap, altered, CONTEXT)

    def test_a_wrapped_key_cut_short_or_made_longer_is_refused(self, keys: KeyService) -> None:
        wrapped = keys.wrap(a_key(), CONTEXT)
        step = max(1, len(wrapped) * 8 // self.most_flips)
        for size in range(0, len(wrapped), step):
            assert is_refused(keys.unwrap, wrapped[:size], CONTEXT)
        for longer in (wrapped + b"\0", b"\0" + wrapped, wrapped + wrapped):
            assert is_refused(keys.unwrap, longer, CONTEXT)

    def test_a_key_under_another_master_key_is_refused(
        self, keys: KeyService, tmp_path: Path
    ) -> None:
        folder = tmp_path / "strangers"
        folder.mkdir()
        for stranger in self.make_strangers(folder):
            wrapped, wrapped_too = keys.wrap(a_key(), CONTEXT), stranger.wrap(a_key(), CONTEXT)
            assert is_refused(stranger.unwrap, wrapped, CONTEXT)
            assert is_refused(stranger.rewrap, wrapped, CONTEXT)
            assert is_refused(keys.unwrap, wrapped_too, CONTEXT)
            stranger.close()

    # -- rewrap ------------------------------------------------------------------------------------

    def test_rewrap_keeps_key_and_context(self, keys: KeyService) -> None:
        key = a_key()
        wrapped = keys.wrap(key, CONTEXT)
        rewrapped = keys.rewrap(wrapped, CONTEXT)
        assert type(rewrapped) is bytes
        assert keys.unwrap(rewrapped, CONTEXT) == key
        assert keys.unwrap(wrapped, CONTEXT) == key
        assert all(is_refused(keys.unwrap, rewrapped, other) for other in OTHER_CONTEXTS.values())

    def test_rewrap_seals_anew(self, keys: KeyService) -> None:
        wrapped = keys.wrap(a_key(), CONTEXT)
        assert len({wrapped, *(keys.rewrap(wrapped, CONTEXT) for _ in range(5))}) == 6

    @pytest.mark.parametrize("other", OTHER_CONTEXTS)
    def test_rewrap_refuses_another_context(self, keys: KeyService, other: str) -> None:
        wrapped = keys.wrap(a_key(), CONTEXT)
        assert is_refused(keys.rewrap, wrapped, OTHER_CONTEXTS[other])

    def test_rewrap_refuses_what_was_altered(self, keys: KeyService) -> None:
        wrapped = keys.wrap(a_key(), CONTEXT)
        for altered in self._flipped(wrapped):
            assert is_refused(keys.rewrap, altered, CONTEXT)

    # -- what is shown -----------------------------------------------------------------------------

    def test_it_names_the_master_key_that_wraps_now(self, keys: KeyService) -> None:
        """A rotation of the master key knows by it what is still to be wrapped anew."""
        name = keys.describe().get("current_master_key")
        assert name
        keys.rewrap(keys.wrap(a_key(), CONTEXT), CONTEXT)
        assert keys.describe().get("current_master_key") == name

    def test_what_it_says_of_itself_shows_no_key(self, keys: KeyService, tmp_path: Path) -> None:
        key = a_key()
        keys.unwrap(keys.wrap(key, CONTEXT), CONTEXT)
        told = dict(keys.describe())
        assert told
        assert all(type(text) is str for item in told.items() for text in item)
        shows: list[str | bytes] = [repr(keys), str(keys), repr(told), *_pickles(keys)]
        for secret in (key, *self.master_secrets(tmp_path)):
            assert not shown(secret, shows)

    def test_a_refusal_shows_no_key(self, keys: KeyService, tmp_path: Path) -> None:
        key = a_key()
        wrapped = keys.wrap(key, CONTEXT)
        last_bit_flipped = wrapped[:-1] + bytes((wrapped[-1] ^ 1,))
        shows = [
            *_told_by(refusal(keys.unwrap, wrapped, {})),
            *_told_by(refusal(keys.unwrap, last_bit_flipped, CONTEXT)),
            *_told_by(refusal(keys.rewrap, last_bit_flipped, CONTEXT)),
        ]
        for secret in (key, wrapped, *self.master_secrets(tmp_path)):
            assert not shown(secret, shows)

    # -- many at once, and the end -----------------------------------------------------------------

    def test_many_threads_at_once_each_get_their_own_key(self, keys: KeyService) -> None:
        def work(number: int) -> None:
            context = {**CONTEXT, "tenant": f"mer_{number}"}
            for _ in range(20):
                key = a_key()
                wrapped = keys.wrap(key, context)
                assert keys.unwrap(wrapped, context) == key
                assert keys.unwrap(keys.rewrap(wrapped, context), context) == key

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))

    def test_closing_twice_is_closing_once(self, tmp_path: Path) -> None:
        keys = self.make_keys(tmp_path)
        keys.close()
        keys.close()

    def _flipped(self, wrapped: bytes) -> Iterator[bytes]:
        """The wrapped key with one bit altered, for every bit or as many as are wanted."""
        bits = len(wrapped) * 8
        number = int.from_bytes(wrapped, "big")
        for bit in range(0, bits, max(1, bits // self.most_flips)):
            yield (number ^ 1 << bit).to_bytes(len(wrapped), "big")


def a_key() -> bytes:
    """A new key to wrap."""
    return os.urandom(KEY_BYTES)


def is_refused(ask: Ask, wrapped: bytes, context: Mapping[str, str]) -> bool:
    """Whether it is refused as the port says; any other error is passed on."""
    try:
        ask(wrapped, context)
    except VaultIntegrityError:
        return True
    return False


def refusal(ask: Ask, wrapped: bytes, context: Mapping[str, str]) -> BaseException:
    """The error that refuses it."""
    with pytest.raises(VaultIntegrityError) as caught:
        ask(wrapped, context)
    return caught.value


def shown(secret: bytes, places: Iterable[str | bytes]) -> bool:
    """Whether the secret stands in one of the places: as it is, in hexadecimal, base64 or repr."""
    forms = [
        secret.decode("latin-1"),
        secret.hex(),
        secret.hex().upper(),
        repr(secret)[2:-1],
        repr(list(secret))[1:-1],
        base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
    ]
    texts = [place.decode("latin-1") if isinstance(place, bytes) else place for place in places]
    return any(form in text for form in forms for text in texts)


def _pickles(keys: KeyService) -> Iterator[bytes]:
    """The service as every pickle protocol writes it, if it lets itself be pickled at all."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with suppress(Exception):
            yield pickle.dumps(keys, protocol)


def _told_by(error: BaseException | None) -> Iterator[str]:
    """What a log would hold of an error and of those that led to it."""
    while error is not None:
        yield repr(error)
        yield repr(error.args)
        yield repr(vars(error))
        yield "".join(traceback.format_exception_only(error))
        error = error.__cause__ or error.__context__
