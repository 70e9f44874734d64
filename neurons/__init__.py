"""Who runs: the miner and the validator. Each file reads like a table of contents."""
