"""What whoever runs the server can watch: logs, metrics, traces. None of it has content or keys."""
