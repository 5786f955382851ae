"""Managing players: what an operator may order, and what an order does to users and ledger."""
