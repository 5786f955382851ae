"""MySQL as its sole writer sees it: ledger, review cases, schema, the demonstration's users."""
