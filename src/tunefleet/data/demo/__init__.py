"""Demo task: spoken commands and JSON actions, generated without any download."""
