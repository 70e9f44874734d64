"""How validators agree on the Ledger: docs/ledger-governance.md as a state machine.

`machine.Governor` takes finalised blocks, messages and what probes saw; it gives messages to send, a vote to put on
chain, probes to make and changes to append. Nothing in this package has a clock, a socket or a file.
"""
