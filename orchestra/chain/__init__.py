"""The one door to Bittensor (bittensor 11): keys, reads and transactions over any chain, by network name.

Nothing else in Orchestra imports the SDK's chain classes. Code above works with these names and never learns whether it
talks to finney, to the test network, or to a chain in a process beside it.
"""

from __future__ import annotations

from ledger.types import Block, Hotkey, Netuid, Rao, Signer
from orchestra.chain.errors import (
    ChainError,
    ChainRejected,
    ChainTimeout,
    ChainUnreachable,
    NotRegistered,
    RuntimeMismatch,
    RuntimeTooOld,
    SubnetMissing,
    UnknownNetwork,
    WalletExists,
    WalletLocked,
    WalletMissing,
)
from orchestra.chain.facade import Chain
from orchestra.chain.keys import (
    WalletInfo,
    WalletLike,
    create_wallet,
    dev_signer,
    is_address,
    list_wallets,
    load_coldkey,
    load_signer,
    open_wallet,
    verify_signature,
    wallet_address,
)
from orchestra.chain.types import BlockRef, Hyperparameters, Metagraph, Neuron, TxOutcome

__all__ = [
    "Block",
    "BlockRef",
    "Chain",
    "ChainError",
    "ChainRejected",
    "ChainTimeout",
    "ChainUnreachable",
    "Hotkey",
    "Hyperparameters",
    "Metagraph",
    "Netuid",
    "Neuron",
    "NotRegistered",
    "Rao",
    "RuntimeMismatch",
    "RuntimeTooOld",
    "Signer",
    "SubnetMissing",
    "TxOutcome",
    "UnknownNetwork",
    "WalletExists",
    "WalletInfo",
    "WalletLike",
    "WalletLocked",
    "WalletMissing",
    "create_wallet",
    "dev_signer",
    "is_address",
    "list_wallets",
    "load_coldkey",
    "load_signer",
    "open_wallet",
    "verify_signature",
    "wallet_address",
]
