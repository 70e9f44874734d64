"""Parts of the Ledger API: tiers, limits, the door, the pages of one edition, problems. `ledger.api` joins them."""
