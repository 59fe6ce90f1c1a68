"""Cleaning of model-written revisions: rules, plan, edit log and the guarded editor."""
