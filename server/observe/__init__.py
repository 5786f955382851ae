"""What the API process tells about itself: counters, metrics, health, logs and traces."""
