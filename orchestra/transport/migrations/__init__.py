"""Steps of the table of `orchestra.transport.shared_nonces`. How they run: `ledger.migrations`."""
