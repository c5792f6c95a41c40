"""The HTTP side of the API: parse, ask the engine, dump. One module a subject."""
