"""The network around `ledger.governance`: what feeds a validator's state machine, and how a miner proposes.

The state machine has neither clock nor socket. Here it gets finalised blocks from the chain, messages from the signed
transport and what probes saw of live subnets, and what it asks for is done in the order that it asks for.
"""
