"""What the network knows about subnets: entries, hashes, the store. Imports nothing from above and no network client."""
