"""Rows: one set of named statements, one contract, a driver per database."""
