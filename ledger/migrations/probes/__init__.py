"""Steps of the table of `ledger.probe_history`."""
