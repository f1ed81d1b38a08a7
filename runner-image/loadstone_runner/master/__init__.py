"""One run's master: gathers the workers, configures them, merges what they measure, says what it means.

Decisions stand in pure tables (`run`, `roster`, `grants`, `account`, `judge`); `conductor` and `service` are the shell
that joins them to the wire. Nothing of an agent, of an engine or of Kubernetes is known here.
"""
