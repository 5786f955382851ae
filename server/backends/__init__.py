"""Clients of MySQL (read only), Redis and Temporal as the API process uses them."""
