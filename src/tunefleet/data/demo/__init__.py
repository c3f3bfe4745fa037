"""Where does the demo's task come from? Spoken commands and JSON actions, generated without any download."""
