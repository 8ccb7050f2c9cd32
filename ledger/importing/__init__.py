"""Reads the logs of other routers, and any table that a mapping describes, into tables of their own."""
