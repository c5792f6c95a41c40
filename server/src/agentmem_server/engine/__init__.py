"""What the server does with memories: `engine.Engine` in reading order, and what it is made of."""
