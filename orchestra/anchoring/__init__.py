"""What a hotkey fixes on chain so that it cannot be changed later: its log, and the slot that names the log's state."""

from ledger.envelope import Envelope, read_envelope
from orchestra.anchoring.own_log import OwnLog, Place
from orchestra.anchoring.slot import ChainSlot

__all__ = ["ChainSlot", "Envelope", "OwnLog", "Place", "read_envelope"]
