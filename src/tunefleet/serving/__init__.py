"""OpenAI-compatible server of one model."""
