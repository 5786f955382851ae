"""The lab for a person: `scoreboard cluster`, and `scoreboard chaos --lab` over many seeds."""
