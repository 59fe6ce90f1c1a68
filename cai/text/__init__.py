"""Text in, text or numbers or reasons out; standard library, regex and ftfy only."""
