"""The subcommands of `python -m harness`: options, one call into the engine room, exit code.

One module per subcommand, imported only when it is asked for.
"""
