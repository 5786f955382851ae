"""What a store lost: the order of all changes that ever were, and the promise that a history ends
whole.

After a fail-over that lost changes the board goes on in another history, under numbers above all
that were ever shown. `timeline` puts both histories in one order, so that every other invariant
can ask for the board at any number; `one_history` judges the end of a history itself.
"""
