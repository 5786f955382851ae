"""Versioned schema changes, `NNNN_name.sql`, applied in order by `worker.database.migrate`."""
