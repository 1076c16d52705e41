"""Object stores, listing, ledger."""
