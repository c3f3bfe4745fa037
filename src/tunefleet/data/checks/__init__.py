"""May these rows be trained on? Their masks, their prompts, their files are looked at."""
