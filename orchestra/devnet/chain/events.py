"""Events as the SDK decodes them, with the indices that pallets and events have in the real runtime (spec 461)."""

from __future__ import annotations

from typing import Any, Final

INDICES: Final[dict[tuple[str, str], tuple[int, int]]] = {
    ("System", "ExtrinsicSuccess"): (0, 0),
    ("System", "ExtrinsicFailed"): (0, 1),
    ("Balances", "Transfer"): (5, 2),
    ("Balances", "Withdraw"): (5, 8),
    ("TransactionPayment", "TransactionFeePaid"): (6, 0),
    ("SubtensorModule", "NetworkAdded"): (7, 0),
    ("SubtensorModule", "StakeAdded"): (7, 2),
    ("SubtensorModule", "StakeRemoved"): (7, 3),
    ("SubtensorModule", "WeightsSet"): (7, 5),
    ("SubtensorModule", "NeuronRegistered"): (7, 7),
    ("SubtensorModule", "AxonServed"): (7, 29),
    ("SubtensorModule", "PrometheusServed"): (7, 30),
    ("SubtensorModule", "ChainIdentitySet"): (7, 78),
    ("SubtensorModule", "SubnetIdentitySet"): (7, 79),
    ("SubtensorModule", "FirstEmissionBlockNumberSet"): (7, 96),
    ("SubtensorModule", "TimelockedWeightsCommitted"): (7, 108),
    ("Commitments", "Commitment"): (18, 0),
}


def record(module: str, event: str, attributes: Any, extrinsic: int) -> dict[str, Any]:
    """One `System.Events` record, raised while extrinsic number `extrinsic` was applied."""
    pallet, variant = INDICES[module, event]
    named = {"module_id": module, "event_id": event, "attributes": attributes}
    return {
        "phase": "ApplyExtrinsic",
        "extrinsic_idx": extrinsic,
        "event": {"event_index": f"{pallet:02x}{variant:02x}", **named},
        "event_index": pallet,
        **named,
        "topics": [],
    }
