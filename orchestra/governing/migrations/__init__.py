"""Steps of the stores of `orchestra.governing`. How they run: `ledger.migrations`."""
