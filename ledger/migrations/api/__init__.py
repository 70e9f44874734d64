"""Steps of the tables of the Ledger API (`ledger.serving.tables`)."""
