"""What is measured: one module per row or group of rows of the table."""
