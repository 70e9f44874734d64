"""Steps of the tables of `ledger.store`."""
