"""What comes back from Temporal when MySQL lost it, and from MySQL when Temporal did."""
