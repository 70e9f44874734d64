"""Steps of the table of `orchestra.anchoring.own_log`. How they run: `ledger.migrations`."""
