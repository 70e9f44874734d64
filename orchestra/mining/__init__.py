"""What a miner serves: answers to challenges, the evidence behind them, and its view of the Ledger."""
