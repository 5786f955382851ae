"""Servers written word for word from the specification, in several languages, each able to lie.

They know nothing of Scoreboard's richer contract: no event ids, no submission ids, no sequence
numbers, no problem documents. `README.md` has the contract and the table of lies.
"""
