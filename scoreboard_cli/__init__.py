"""The command `scoreboard`: which subcommands there are, and what all of them have in common.

A table, a group that imports a command only when somebody runs it, and the way errors and exit
codes look. What the commands do is in `stack`, `harness` and `scoreboard_client`.
"""
