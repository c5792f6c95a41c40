"""Who may do what: API keys, what each opens, and how often it may ask."""
