"""The lab's faults, each applied, healed and proven; `inject` finds the one of a kind."""
