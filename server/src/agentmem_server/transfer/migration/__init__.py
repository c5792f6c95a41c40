"""From a SQLite file to a PostgreSQL schema: all that there is, as it is."""
