"""The local chain: one process that keeps Bittensor's rules, as far as a subnet's own software can tell.

Names, types, errors and orders of checks are the real runtime's (spec 461). What is left out, and would be missed
elsewhere: there is no alpha pool (one alpha costs one TAO), no root dividends, no proxies, multisigs or sudo, no MEV
shield, no drand (timelocked weights are accepted and never opened) and no dissolving of subnets. Signed bytes are this
chain's own (`extrinsic.py`), so a signature made here is worthless on any other chain.

`runtime.py` is the pure state machine, `store.py` keeps it in SQLite, `node.py` makes blocks, `server.py` answers HTTP;
`orchestra.chain.local.LocalSubstrate` is the client.
"""
