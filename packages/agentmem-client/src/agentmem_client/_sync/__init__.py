# Generated from src/agentmem_client/_async/__init__.py by scripts/generate_sync.py: do not edit.
"""The sync client: generated."""
