"""How the processes of a run reach each other: `grpc` between pods, `local` within one. Nothing is decided here."""
