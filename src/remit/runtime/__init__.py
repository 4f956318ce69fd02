"""The asyncio shell: the only layer that waits."""
