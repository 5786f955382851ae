"""The description of a server under test: what requests it takes, and what its answers mean.

Builds and reads bytes from a description; opens no connection. `target_file` reads a description
from a file, and only that module touches files.
"""
