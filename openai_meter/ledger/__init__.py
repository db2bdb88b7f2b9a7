"""History that outlives the process: every call in SQLite or PostgreSQL. Needs the extra ``openai-meter[ledger]``."""
