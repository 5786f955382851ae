"""The board in Redis and the scripts that move it. Its source is the ledger: see `database`.

Each Lua script states its keys, arguments and answer.
"""
