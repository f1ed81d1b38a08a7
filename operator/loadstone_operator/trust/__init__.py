"""Say who is who in a run, by certificates. Values in, values out, and random keys; Secrets are kept in `cluster`."""
