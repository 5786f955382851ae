"""`scoreboard target`: a first target file, and what a target file makes of a server."""
