"""The lab: several hosts on one machine, for faults that need more than one.

A host is a network namespace with an address of its own. `topology` and `schedule` are pure:
which hosts, processes and configuration files there are, and which faults a seed plans. The rest
is their shell. Traffic, history and checker are those of `harness.chaos`.
"""
