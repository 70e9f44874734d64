"""Steps of the tables of `orchestra.validation.store`. How they run: `ledger.migrations`."""
