"""What can go wrong between Orchestra and Bittensor, as few types as callers can act on differently.

Each message is one line: what happened, then what to type next. The SDK's own exceptions stop at this package's
border, so nothing above it needs bittensor to catch them. A refusal by the chain of one transaction is not here: it
comes back as a `TxOutcome`, because it is an expected answer and carries the chain's own code.
"""

from __future__ import annotations


class ChainError(Exception):
    """Base class: something about the chain, the connection to it, or the keys it needs."""


class UnknownNetwork(ChainError):
    """The network name means nothing; the message lists the names that do."""

    def __init__(self, network: str) -> None:
        super().__init__(
            f"Unknown network {network!r}: pass --network finney, test, local, orchestra-local[:PORT] or a ws:// URL"
        )


class ChainUnreachable(ChainError):
    """The endpoint refused, vanished, or does not speak the chain's protocol."""

    def __init__(self, network: str, reason: str) -> None:
        local = network.startswith("orchestra-local")
        hint = "start it with: orchestra up" if local else "check --network and the connection, then try again"
        super().__init__(f"Chain {network} is unreachable ({reason.partition('; start it with')[0]}): {hint}")


class ChainTimeout(ChainUnreachable):
    """The endpoint took longer than the call's deadline; `seconds` says how long we waited."""

    def __init__(self, network: str, what: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(network, f"{what}: no answer in {seconds:g} s")


class RuntimeTooOld(ChainError):
    """The chain's runtime lacks something this SDK needs; `spec_version` is the runtime that was seen."""

    def __init__(self, network: str, spec_version: int, missing: str) -> None:
        self.spec_version = spec_version
        super().__init__(
            f"Runtime too old for this SDK: {network} runs spec {spec_version}, which has no {missing};"
            " use another endpoint, or install the Orchestra release for that runtime"
        )


class RuntimeMismatch(ChainError):
    """The chain's runtime takes other arguments than the calls we send: an upgrade we do not know yet."""

    def __init__(self, network: str, spec_version: int, difference: str) -> None:
        self.spec_version = spec_version
        super().__init__(
            f"{network} (spec {spec_version}) does not take our calls: {difference};"
            " upgrade with: pip install -U orchestra-subnet"
        )


class ChainRejected(ChainError):
    """The chain answered a read with an error of its own; `code` is the SDK's semantic code."""

    def __init__(self, message: str, code: str) -> None:
        self.code = code
        super().__init__(f"The chain refused ({code}): {message}")


class SubnetMissing(ChainError):
    """No subnet has this netuid on this network."""

    def __init__(self, network: str, netuid: int) -> None:
        super().__init__(
            f"Subnet {netuid} does not exist on {network}: check --netuid, or create it with: scripts/subnet create"
        )


class NotRegistered(ChainError):
    """The hotkey holds no uid on this subnet. `wallet_flags` name its wallet in the advice, each after a blank."""

    def __init__(self, network: str, netuid: int, hotkey: str, wallet_flags: str = "") -> None:
        super().__init__(
            f"Hotkey {hotkey} is not registered on subnet {netuid} of {network}:"
            f" run: orchestra register --netuid {netuid} --network {network}{wallet_flags}"
        )


class WalletMissing(ChainError):
    """A key file that is needed is not there."""


class WalletLocked(ChainError):
    """A key file does not open: encrypted and without the right password, damaged, or not ours to read."""


class WalletExists(ChainError):
    """Creating a wallet would overwrite a key file."""
