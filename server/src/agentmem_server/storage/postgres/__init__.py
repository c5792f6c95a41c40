"""The store in a PostgreSQL database that several servers may share."""
