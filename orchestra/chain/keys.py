"""Keys: load them, sign with them, check what others signed. Neurons hold a hotkey and nothing else.

Loading is where a beginner fails first, so a missing or locked file becomes one line that says what to type. Keys are
sr25519, the wallets' default scheme; whatever a signature should mean (domain tag, version, receiver) is in the bytes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias, cast

import bittensor as bt
from bittensor.keyfiles import KeyfileError, Keypair, WrongPasswordError
from bittensor.sp_core import get_password_from_environment
from bittensor.wallets import is_bittensor_address, list_wallets_detailed

from ledger.types import Signer
from orchestra.chain.errors import WalletExists, WalletLocked, WalletMissing

SIGNATURE_BYTES = 64
DEFAULT_PATH = "~/.bittensor/wallets"
DRAFT = ".new-"
Ask: TypeAlias = Callable[[str], str]
"""Shows a prompt and returns what a person typed."""


def verify_signature(ss58: str, data: bytes, signature: bytes) -> bool:
    """True when `signature` is `ss58`'s sr25519 signature over `data`; False for anything else, never an exception.

    An address of the same key under another network's prefix is another name, and False: keys are stored by address.
    """
    if len(signature) != SIGNATURE_BYTES or not is_bittensor_address(ss58):
        return False
    try:
        return bool(Keypair(ss58_address=ss58).verify(data, signature))
    except (ValueError, TypeError):
        return False


def is_address(text: str) -> bool:
    """Whether this is an SS58 address of Bittensor."""
    return bool(is_bittensor_address(text))


def dev_signer(uri: str) -> Signer:
    """The well-known development key of a URI such as `//Alice`: for tests and local networks, worthless elsewhere."""
    return cast(Signer, Keypair.create_from_uri(uri))


def open_wallet(name: str, hotkey: str, path: str = DEFAULT_PATH) -> bt.Wallet:
    """The wallet on disk under these names, nothing read yet."""
    return bt.Wallet(name=name, hotkey=hotkey, path=str(Path(path).expanduser()))


def load_signer(name: str, hotkey: str, path: str = DEFAULT_PATH) -> Signer:
    """The hotkey of a wallet, unlocked.

    Raises WalletMissing when there is no such file and WalletLocked when it is encrypted and BT_WALLET_PASSWORD does
    not open it. The coldkey is never touched.
    """
    return cast(Signer, _unlock(open_wallet(name, hotkey, path).hotkey_file, name, hotkey, path))


def load_coldkey(name: str, path: str = DEFAULT_PATH, *, ask: Ask | None = None) -> Signer:
    """The coldkey of a wallet, unlocked, for commands that spend. Raises as `load_signer`.

    `ask` gets the password from a person, where there is one and the environment has none.
    """
    return cast(Signer, _unlock(open_wallet(name, "default", path).coldkey_file, name, None, path, ask))


WalletLike: TypeAlias = Signer | bt.Wallet
"""What signs a transaction: one key, or a wallet on disk whose files are read at each use (load a key for more)."""


def signing_key(wallet: WalletLike, role: str) -> Signer:
    """The wallet's `coldkey` or `hotkey`, unlocked; a bare key is itself. Raises WalletMissing and WalletLocked."""
    if not isinstance(wallet, bt.Wallet):
        return wallet
    file = wallet.coldkey_file if role == "coldkey" else wallet.hotkey_file
    hotkey = None if role == "coldkey" else wallet.hotkey_str
    return cast(Signer, _unlock(file, wallet.name, hotkey, wallet.path))


def key_address(wallet: WalletLike, role: str) -> str:
    """The address of the wallet's `coldkey` or `hotkey`; a bare key's own. Raises WalletMissing."""
    if not isinstance(wallet, bt.Wallet):
        return wallet.ss58_address
    return wallet_address(role, wallet.name, wallet.hotkey_str, wallet.path)


def wallet_address(role: str, name: str, hotkey: str, path: str = DEFAULT_PATH) -> str:
    """The address of a wallet's `coldkey` or `hotkey`, from its public file. Raises WalletMissing."""
    wallet = open_wallet(name, hotkey, path)
    file = wallet.coldkeypub_file if role == "coldkey" else wallet.hotkeypub_file
    found = _public(file)
    if found is None:
        raise WalletMissing(_advice(role, name, hotkey, path))
    return found


@dataclass(frozen=True, slots=True)
class WalletInfo:
    """The public side of one wallet on disk; an address is None when its file is missing or unreadable."""

    name: str
    coldkey: str | None
    hotkeys: Mapping[str, str | None]


def list_wallets(path: str = DEFAULT_PATH) -> tuple[WalletInfo, ...]:
    """Every wallet below `path`, by name. Nothing is unlocked."""
    found = list_wallets_detailed(str(Path(path).expanduser()))
    return tuple(
        WalletInfo(one.name, one.ss58, {key.name: key.ss58 for key in one.hotkeys})
        for one in found
        if not one.name.startswith(DRAFT)
    )


def create_wallet(
    name: str,
    hotkey: str,
    path: str = DEFAULT_PATH,
    *,
    password: str | None,
    on_mnemonic: Callable[[str, str], None] | None = None,
) -> WalletInfo:
    """Create a coldkey and a hotkey, or only the hotkey where the coldkey exists; nothing is ever overwritten.

    `password` encrypts the coldkey (None leaves it open: for machines that hold nothing of value); hotkeys stay open,
    because a service has to use them. `on_mnemonic` receives ("coldkey" | "hotkey", words), which are kept nowhere else
    in readable form. Raises WalletExists, and OSError when the files cannot be written: then there are none.
    """
    wallet = open_wallet(name, hotkey, path)
    if wallet.hotkey_file.exists_on_device():
        raise WalletExists(
            f"Wallet {name!r} already has a hotkey {hotkey!r}: choose another --wallet.hotkey,"
            f" or see it with: orchestra wallet show --wallet.name {name}"
        )
    known = wallet.coldkey_file.exists_on_device() or wallet.coldkeypub_file.exists_on_device()
    root, tell = Path(wallet.path), on_mnemonic or _keep_quiet
    root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=DRAFT, dir=root) as draft:
        new = open_wallet(name, hotkey, draft)
        if not known:
            new.create_new_coldkey(
                use_password=password is not None, coldkey_password=password, on_mnemonic=partial(tell, "coldkey")
            )
        new.create_new_hotkey(use_password=False, on_mnemonic=partial(tell, "hotkey"))
        _read_back([new.hotkey_file, new.hotkeypub_file], None)
        _read_back([] if known else [new.coldkey_file, new.coldkeypub_file], password)
        _move(Path(draft), root)
    return WalletInfo(name, _public(wallet.coldkeypub_file), {hotkey: _public(wallet.hotkeypub_file)})


def _read_back(files: list[Any], password: str | None) -> None:
    """The SDK does not notice when a disk that fills up cuts a key off."""
    for file in files:
        try:
            file.get_keypair(password if file.is_encrypted() else None)
        except (KeyfileError, ValueError) as error:
            raise OSError(errno.EIO, f"{Path(file.path).name} was cut off: is the disk full?") from error


def _move(draft: Path, root: Path) -> None:
    """Put finished files where they belong, the coldkey first: who is stopped between two can go on."""
    files = sorted(path for path in draft.rglob("*") if path.is_file())
    targets = [root / file.relative_to(draft) for file in files]
    for target in targets:
        if target.exists():
            raise FileExistsError(errno.EEXIST, f"{target} exists")
    for file, target in zip(files, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)


def _keep_quiet(role: str, words: str) -> None:
    """Words nobody asked for are not even printed by the SDK."""


def _public(keyfile: Any) -> str | None:
    try:
        return str(keyfile.get_keypair().ss58_address)
    except FileNotFoundError:
        return None


def _unlock(keyfile: Any, name: str, hotkey: str | None, path: str, ask: Ask | None = None) -> Any:
    """The keypair in a key file; `hotkey` None means the file is the coldkey (which changes only the advice)."""
    role = "coldkey" if hotkey is None else "hotkey"
    try:
        return keyfile.get_keypair(_password(keyfile, ask and partial(ask, f"Password for the {role} of {name}")))
    except FileNotFoundError as error:
        raise WalletMissing(_advice(role, name, hotkey, path)) from error
    except (WrongPasswordError, _NoPassword) as error:
        raise WalletLocked(
            f"Cannot unlock the {role} of wallet {name!r} ({error}): set BT_WALLET_PASSWORD to its password"
        ) from error
    except (KeyfileError, ValueError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise WalletLocked(
            f"Cannot read the {role} of wallet {name!r} ({why}): put a backup in place of {keyfile.path}"
        ) from error


class _NoPassword(ValueError):
    """An encrypted key file, and nobody to ask for its password."""


def _password(keyfile: Any, ask: Callable[[], str] | None) -> str | None:
    """What opens an encrypted key file; services have nobody to ask."""
    if not keyfile.is_encrypted():
        return None
    password = os.environ.get("BT_WALLET_PASSWORD") or get_password_from_environment(keyfile.env_var_name())
    password = password or (ask() if ask else None)
    if not password:
        raise _NoPassword("it is encrypted and no password was given")
    return password


def _advice(role: str, name: str, hotkey: str | None, path: str) -> str:
    where = "" if path == DEFAULT_PATH else f" --wallet.path {path}"
    hot = "" if hotkey is None else f" --wallet.hotkey {hotkey}"
    command = f"orchestra wallet new --wallet.name {name}{hot}{where}"
    return f"No {role} in wallet {name!r}{where and f' under {path}'}: run: {command}"
