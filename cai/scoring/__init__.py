"""Measures, judges and statistics: rows in, numbers with their base out. Never imports cai.cleaning."""
