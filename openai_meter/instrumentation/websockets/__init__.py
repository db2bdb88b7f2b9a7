"""WebSocket sessions of the SDK."""
