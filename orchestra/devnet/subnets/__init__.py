"""Subnets on one machine: real services that do real work, each with the wire shape of the subnet it stands for.

`desearch` (SN22) searches, crawls and extracts; `data-universe` (SN13) finds posts; `chutes` (SN64) answers chats;
`atlas` is our own subnet that signs its answers. `python -m orchestra.devnet.subnets NAME` runs one. What an outsider
can do to a running service (slow it down, break it, change its schema) goes through its control port, see `faults`.
"""
