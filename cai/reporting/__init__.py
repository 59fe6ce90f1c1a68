"""The one-page report, its figures, and the tables that the terminal shows."""
