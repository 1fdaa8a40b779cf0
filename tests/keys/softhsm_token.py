"""A token of SoftHSM in a folder, and what its owner does there.

The module reads where its tokens are once, so one process has one folder.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass

PLACES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
PIN, OWNERS_PIN = "a-pin-that-nobody-may-see", "the-owners-pin"


def module() -> str:
    """The path of SoftHSM's library.

    Raises:
        AssertionError: it is not installed.
    """
    found = [place for place in PLACES if Path(place).exists()]
    assert found, "SoftHSM is not installed. On Debian and Ubuntu: apt install softhsm2"
    return found[0]


def use_folder(folder: Path) -> None:
    """Has SoftHSM keep its tokens in the folder."""
    (folder / "tokens").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(config)


class Token:
    """A token with a label that no other has."""

    def __init__(self) -> None:
        self.label = f"token-{os.urandom(6).hex()}"
        self.util("--init-token", "--free", "--label", self.label)
        pkcs11.lib(module()).reinitialize()  # it looks for tokens when it is initialised

    def util(self, *options: str) -> None:
        pins = ["--pin", PIN, "--so-pin", OWNERS_PIN]
        subprocess.run(
            ["softhsm2-util", *options, *pins], capture_output=True, timeout=60, check=True
        )

    def new_master(self, label: str) -> None:
        with self._logged_in() as session:
            session.generate_key(KeyType.AES, 256, label=label, store=True)

    def destroy_master(self, label: str) -> None:
        with self._logged_in() as session:
            session.get_key(object_class=ObjectClass.SECRET_KEY, label=label).destroy()

    def may_leave(self, label: str) -> bool:
        with self._logged_in() as session:
            master = session.get_key(object_class=ObjectClass.SECRET_KEY, label=label)
            return bool(master[Attribute.EXTRACTABLE])

    def pull_and_put_back(self) -> None:
        """Ends every session and every login of this process."""
        pkcs11.lib(module()).reinitialize()

    def _logged_in(self) -> Any:
        token = pkcs11.lib(module()).get_token(token_label=self.label)
        try:
            return token.open(rw=True, user_pin=PIN)
        except pkcs11.UserAlreadyLoggedIn:
            return token.open(rw=True)
