"""The commands of `scoreboard` that measure: options, one call into the engine room, exit code.

One module per subcommand, imported only when it is asked for.
"""
