"""Stay connected to the masters of all runs and turn their reports into values. No decision is made here."""
