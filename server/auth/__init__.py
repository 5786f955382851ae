"""Who sent a request: bearer tokens, public keys, signed requests.

What a principal may do to the board is decided where it is done (`submit`, `routes`).
"""
